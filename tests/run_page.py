"""Runs the blocks of a documentation page in order, as a reader would: ``python run_page.py PAGE``.

The blocks of a page share their names, files and folder. What is shown beneath a command must be what it says; numbers
may be others (:func:`form`).
"""

from __future__ import annotations

import doctest
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from inspect import getsource
from pathlib import Path

from relume.doctor import causes
from relume.doctor.rules import words as rule_words

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w:.])[-−+±×]?\.?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?%?|(?<!\S)·(?!\S)")
LEFT_OUT = "…"
"""In what is shown: any text."""

SHELL = r"""
sbatch() {  # where there is no Slurm: the parts of the array side by side, here
    local parts part waits=()
    parts=$(sed -n 's/^#SBATCH --array=1-\([0-9]*\)$/\1/p' "$1")
    test -n "$parts"
    for part in $(seq "$parts"); do
        SLURM_ARRAY_TASK_ID=$part SLURM_ARRAY_TASK_COUNT=$parts bash -e "$1" &
        waits+=($!)
    done
    for part in "${waits[@]}"; do wait "$part"; done
}
"""


def do(page: Path, names: dict[str, object]) -> None:
    """Do each block of a page, or end with what is wrong."""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind not in KINDS:
            sys.exit(f"Nobody runs a block of {kind!r}:\n{text}")
        KINDS[kind](text, names)


def python(text: str, names: dict[str, object]) -> None:
    """Run it; one that begins with the name of a file becomes that file."""
    if named := re.match(r"# ([\w/]+\.py)\n", text):
        Path(named[1]).write_text(text, encoding="utf-8")
    else:
        exec(compile(text, "block", "exec"), names)


def pycon(text: str, names: dict[str, object]) -> None:
    """Run it, and compare its output."""
    test = doctest.DocTestParser().get_doctest(text, {}, "block", "block", 0)
    test.globs = names
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, clear_globs=False)
    if runner.failures:
        sys.exit(1)


def shell(text: str, names: dict[str, object]) -> None:
    """Run it."""
    typed(text)


def console(text: str, names: dict[str, object]) -> None:
    """Run each line behind a ``$``, and compare with what is shown beneath it."""
    for session in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = session.partition("\n")
        while command.endswith("\\"):
            more, _, shown = shown.partition("\n")
            command += f"\n{more}"
        out, err = typed(command)
        if unknown := words(" ".join(CAUSE.findall(shown))) - words(getsource(causes) + getsource(rule_words)):
            sys.exit(f"$ {command}\nis shown to give causes in words that relume does not have: {sorted(unknown)}")
        if shown.strip() and not any(agrees(shown, said) for said in (out, err, out + err, err + out)):
            sys.exit(f"$ {command}\nis shown to say\n\n{form(shown)}\n\nand says\n\n{form(out)}\n\n{form(err)}")


def typed(command: str) -> tuple[str, str]:
    """Type it into a shell that stops at the first failure; its stdout and stderr."""
    done = subprocess.run(["bash", "-ec", SHELL + command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}\nended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout, done.stderr


def settings(text: str, names: dict[str, object]) -> None:
    """The project's settings from here on."""
    tomllib.loads(text)
    Path("pyproject.toml").write_text(text, encoding="utf-8")


def workflow(text: str, names: dict[str, object]) -> None:
    """Run the steps of a workflow; what it uploads must be there."""
    import yaml

    for step in yaml.safe_load(text):
        if "run" in step:
            typed(step["run"])
        elif not Path(step["with"]["path"]).exists():
            sys.exit(f"The workflow uploads {step['with']['path']}, which none of its steps wrote.")


def sql(text: str, names: dict[str, object]) -> None:
    """Make its tables."""
    sqlite3.connect(":memory:").executescript(text)


def drawing(text: str, names: dict[str, object]) -> None:
    """Nothing to do, where nothing is typed."""
    if re.search(r"^\$ ", text, re.MULTILINE):
        sys.exit(f"What is typed belongs into a block of console:\n{text}")


KINDS = {
    "python": python,
    "pycon": pycon,
    "sh": shell,
    "console": console,
    "toml": settings,
    "yaml": workflow,
    "sql": sql,
    "text": drawing,
}


CAUSE = re.compile(r"cause: .*?\.(?=\s+units )", re.DOTALL)
"""Which causes a finding has, and the evidence of its first: as much a matter of the run as its numbers, but told in
words that relume has."""


COLUMNS = re.compile(r"(?<=units dead )[a-z -]*(?=fires examples)|(?<= dead )(?:[a-z-]+ )+(?=healthy)")
"""Of the table of sites, and of its key: those in which there is nothing are left out."""


def form(text: str) -> str:
    """A text without its numbers, causes, rules and line breaks: ``# of # units dead: #``."""
    text = re.sub("─+", "─", NUMBER.sub("#", CAUSE.sub("cause: #.", text)))
    text = re.sub("[×█▓▒━░▁▂▃▄▅▆▇]+", "", text)  # bars and sparklines
    return re.sub(r"#(?:(?:, | |–)#)+", "#", COLUMNS.sub("", " ".join(text.split())))


def words(text: str) -> set[str]:
    """All of them, without numbers."""
    return set(re.findall(r"[a-z]+", text.lower()))


def agrees(shown: str, said: str) -> bool:
    """Whether a command's output has the form that is shown: the same words, in the same order, to the last."""
    parts = [re.escape(part.strip()) for part in form(shown).split(LEFT_OUT)]
    return re.fullmatch(r"\s*.*?\s*".join(parts), form(said), re.DOTALL) is not None


if __name__ == "__main__":
    os.environ |= {"COLUMNS": "100", "RELUME_EVERY": "10", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    os.environ["GITHUB_STEP_SUMMARY"] = str(Path("summary.md").resolve())
    known: dict[str, object] = {"__name__": "__main__"}
    exec(sys.argv[2], known)
    do(Path(sys.argv[1]), known)

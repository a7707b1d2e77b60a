"""``relume run``: run a script as python does, and watch it."""

from __future__ import annotations

import contextlib
import functools
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from relume.cli._cures import WithRevive
from relume.cli._share import Number, Share

if TYPE_CHECKING:
    from relume.cli._status import Status


@click.command("run", cls=WithRevive, context_settings={"allow_interspersed_args": False})
@click.option("-m", "is_module", is_flag=True, help="SCRIPT is a module, as in python -m.")
@click.option(
    "--out",
    default="run.relume",
    show_default=True,
    metavar="FILE",
    envvar="RELUME_OUT",
    help="The recording to write.",
)
@click.option(
    "--budget",
    type=Share("the step time", "2% or 0.02"),
    default="2%",
    show_default=True,
    envvar="RELUME_BUDGET",
    help="Share of step time that watching may cost.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="N",
    envvar="RELUME_WINDOW",
    help="Steps in a window; default: 1,000 examples.",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    metavar="K",
    envvar="RELUME_EVERY",
    help="Look at every K-th step instead of keeping to the budget.",
)
@click.option(
    "--dead-after",
    type=Number(),
    metavar="N",
    envvar="RELUME_DEAD_AFTER",
    help="Examples (tokens of a sparse code) without a firing that make a unit dead, such as 10M.",
)
@click.option(
    "--swap",
    "swaps",
    multiple=True,
    metavar="A=B",
    help="Replace activation A, or the one at site A, by B: relu=leaky_relu:0.1.",
)
@click.option(
    "--revive",
    metavar="[RULE]",
    help="Revive dead units during the run; RULE is gaps (the default), redo[:TAU] or cbp[:RATE].",
)
@click.option("--plan", metavar="PLAN", help="Apply a plan made by `relume plan`.")
@click.option("-q", "--quiet", is_flag=True, help="Write the recording, print nothing.")
@click.argument("script")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(
    is_module: bool,
    out: str,
    budget: float,
    window: int | None,
    every: int | None,
    dead_after: int | None,
    swaps: tuple[str, ...],
    revive: str | None,
    plan: str | None,
    quiet: bool,
    script: str,
    args: tuple[str, ...],
) -> None:
    """Run SCRIPT unchanged, watch its activations, and write a recording.

    Everything after SCRIPT is passed to it. relume prints to stderr only; the exit status is the script's. The options
    may be set in pyproject.toml, as budget = "1%" under [tool.relume] or [tool.relume.run], and by RELUME_BUDGET,
    RELUME_WINDOW, RELUME_EVERY, RELUME_DEAD_AFTER and RELUME_OUT in the environment, which override it.

    --swap, --revive and --plan change the training while it runs, and the report says what was done. The script is not
    edited.
    """
    import os

    from relume.cli import _cures

    cures = _cures.read(swaps, revive, plan, script) if swaps or plan or revive is not None else ([], [])
    from relume.artifacts import beginning  # noqa: F401 - imported now: the script may have a json.py
    from relume.artifacts.subject import without_folder
    from relume.observe import observer  # noqa: F401
    from relume.observe.processes import Post, Process
    from relume.runner.ranks import launched
    from relume.runner.script import before_hard_exit, leave, load_module, load_script, run

    path = Path(out).absolute()  # the script may change directory
    places = [*sys.path[1:], sys.path[0]]
    program = load_module(script, args) if is_module else load_script(script, args)
    launch = launched(os.environ)
    quiet = quiet or launch.rank > 0
    status_line = _status_line(quiet, literal=window is not None)
    facts: dict[str, Any] = {
        "script": without_folder(script),
        "argv": [without_folder(arg) for arg in args],
        "run_id": launch.run_id,
    }
    roles = (f"rank{launch.rank}",) if launch.rank else ()
    options = {"budget": budget, "window": window, "every": every, "dead_after": dead_after}
    if is_module:
        facts["module"] = True
    if any(cures):
        named = {"--revive": revive, "--plan": without_folder(plan) if plan else None}
        asked = [*(f"--swap {swap}" for swap in swaps), *(f"{name} {value}" for name, value in named.items() if value)]
        facts["asked"] = asked
    process = Process(Post(str(path), roles, options, facts, cures), functools.partial(_complain, status_line))
    process.begin(launch.ranks, progress=status_line)
    ended = _Ending(process, status_line, path, out, quiet, places)
    before_hard_exit(ended)
    status = run(program)
    ended(status)
    leave(status)


class _Ending:
    """Ends the watching: once, in the process that began it, however the script ends."""

    def __init__(
        self, process: Any, status_line: Status | None, path: Path, shown: str, quiet: bool, places: list[str]
    ) -> None:
        self._process = process
        self._status_line = status_line
        self._path = path
        self._shown = shown
        self._quiet = quiet
        self._places = places
        self._ended = False

    def __call__(self, status: int) -> None:
        from relume.runner.script import own_imports

        if self._ended or not self._process.is_first:
            return
        self._ended = True
        if self._status_line is not None:
            self._status_line.close()
        try:
            self._process.end(status if status <= 256 else 256 - status)
            if not self._quiet and sys.__stderr__ is not None:
                if status == 0:
                    _wait_for_ranks(self._path)
                with own_imports(self._places):
                    self._summary(sys.__stderr__)
        except Exception as error:  # noqa: BLE001 - the script's exit status must not change
            text = f"{type(error).__name__}: {error}"
            _say(f"relume: the report failed ({text}); the script is not affected. [own-fault]")

    def _summary(self, to: TextIO) -> None:
        from rich.console import Console

        from relume.cli._reading import findings_of
        from relume.cli._terminal import show
        from relume.reports.run import terminal, wording

        findings = findings_of(str(self._path))
        looking = f"relume report {shlex.quote(self._shown)} --open" if findings.sites else None
        console = Console(file=to)
        with console.capture() as said:  # rich itself would close stdout if stderr has no reader
            console.print()
            console.rule(f"relume → {self._shown}", align="left", style="dim")
            show(terminal.render(findings), looking, wording.proving(findings), console=console)
        _say(said.get(), end="")


def _status_line(quiet: bool, *, literal: bool) -> Status | None:
    """The status line, if a person is there to read it."""
    import os

    from relume.cli._status import Status, wanted

    if quiet or sys.__stderr__ is None or not wanted(sys.__stderr__, os.environ):
        return None
    return Status(sys.__stderr__.fileno(), literal=literal)


def _complain(status_line: Status | None, text: str) -> None:
    """Say that the watching has ended; nothing more will be drawn."""
    if status_line is not None:
        status_line.close()
    _say(text)


_LONGEST_WAIT = 5.0
"""Seconds for which the first rank waits for the others' recordings, after its script has ended well."""


def _wait_for_ranks(first: Path) -> None:
    """Let the other ranks finish writing, so that the summary includes them; ranks that still run are not waited for.

    Only their files are checked: asking the ranks would be a collective operation.
    """
    import time

    from relume.artifacts.beginning import is_being_written
    from relume.artifacts.parts import others, roles

    with contextlib.suppress(KeyboardInterrupt):
        latest = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < latest:
            if not any(is_being_written(file) for file in others(first) if not roles(file)[1]):
                return
            time.sleep(0.02)


def _say(text: str, end: str = "\n") -> None:
    """Write to the process's stderr past its buffer: text left in the buffer would change the exit status."""
    stream = sys.__stderr__
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):  # closed, or no reader
            stream.flush()
            with open(stream.fileno(), "w", encoding=stream.encoding, errors="backslashreplace", closefd=False) as past:
                past.write(text + end)

"""Run the demo, and put what it says into the README: as text between its markers, and as a picture."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.text import Text

from relume.artifacts.reader import read
from relume.cli._terminal import show
from relume.doctor.diagnosis import diagnose
from relume.reports.run import terminal, wording

ROOT = Path(__file__).parents[2]
COMMAND = ["run", "examples/digits_mlp.py", "--lr", "0.25"]


def main() -> None:
    """Run, and draw."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "run.relume"
        command = [sys.executable, "-m", "relume", COMMAND[0], "-q", "--out", str(recording), *COMMAND[1:]]
        out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        findings = diagnose(read(recording))
    console = Console(record=True, width=96, file=io.StringIO(), force_terminal=True)
    for part in before(out):
        console.print(part)
    looking = "relume report run.relume --open"
    show(terminal.render(findings), looking, wording.proving(findings), console=console)
    text = "\n".join(line.rstrip() for line in console.export_text(clear=False).splitlines())
    first = r"(\n +→ [^\n]*\n).*?(?=\nNext: )"  # what follows the first finding is in the picture
    text = re.sub(first, r"\1…\n", text, count=1, flags=re.DOTALL)
    svg = console.export_svg(title="relume")
    (ROOT / "docs/images/report.svg").write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))
    readme = ROOT / "README.md"
    block = f"<!-- session -->\n```console\n{text}\n```\n<!-- end -->"
    readme.write_text(re.sub(r"<!-- session -->.*?<!-- end -->", lambda _: block, readme.read_text(), flags=re.DOTALL))


def before(out: str) -> list[RenderableType]:
    """What a person sees before the report: the command, and the end of the script's own output."""
    return [
        Text(f"$ relume {' '.join(COMMAND)}", style="bold"),
        Text("\n".join(["…", *out.splitlines()[-2:], ""]), style="dim"),
        Rule("relume → run.relume", align="left", style="dim"),
    ]


if __name__ == "__main__":
    main()

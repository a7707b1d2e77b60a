"""Study → a sentence and two tables for the terminal: what each contender buys, and what it costs."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from relume.artifacts.study_findings import StudyFindings
from relume.reports.study import wording

_STYLES = {"better": "bold green", "worse": "bold red", "equivalent": "cyan", "undecided": "yellow"}
_WIDTH = 110  # of text that no terminal shows


def render(studies: Sequence[StudyFindings]) -> RenderableType:
    """Each study, one under the other."""
    parts: list[RenderableType] = []
    for findings in studies:
        if len(studies) > 1:
            parts.append(Text(wording.short(f"{findings.name}: {findings.subject.script}"), style="bold underline"))
        parts += [_study(findings), Text()]
    if parts:
        parts.pop()
    return Group(*parts)


def to_text(studies: Sequence[StudyFindings]) -> str:
    """The report as plain text."""
    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(render(studies))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).rstrip("\n")


def _study(findings: StudyFindings) -> RenderableType:
    parts: list[RenderableType] = [Text(wording.sentence(findings), style="bold"), Text()]
    for title, columns in wording.tables(findings):
        parts += [_table(title, wording.names(findings), columns, wording.calls(findings)), Text()]
    parts += _listed("Note", wording.notes(findings), "yellow")
    parts += [Text(line, style="dim") for line in (wording.rests_on(findings), wording.looks(findings)) if line]
    left = [f"{what} at {where}: {why}" for what, where, why in wording.left_alone(findings)]
    parts += _listed("Not replaced", left, "dim")
    return Group(*parts)


def _table(title: str, names: Sequence[str], columns: Sequence[wording.Column], calls: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column(title, overflow="fold", min_width=12, vertical="bottom")
    for heading, _ in columns:  # headings break, numbers do not: 80 columns are enough
        lines = heading.replace(" [", "\n[").replace(" (", "\n(").replace(" ±", "\n±")
        justify: JustifyMethod = "left" if heading == "verdict" else "right"
        table.add_column(lines, justify=justify, no_wrap=True, vertical="bottom")
    for row, name in enumerate(names):
        cells = [Text(cells[row], style=_style(heading, cells[row], calls[row])) for heading, cells in columns]
        table.add_row(Text(name, style="" if calls[row] else "dim"), *cells)
    return table


def _style(heading: str, cell: str, call: str) -> str:
    if cell == wording.NONE:
        return "dim"
    return _STYLES.get(call, "") if heading == "verdict" else ""


def _listed(what: str, lines: Sequence[str], style: str) -> list[Text]:
    told = [Text(f"{what}: {line}", style=style) for line in lines[: wording.MOST_NOTES]]
    if len(lines) > wording.MOST_NOTES:
        told.append(Text(f"… and {len(lines) - wording.MOST_NOTES} more; --json has all.", style="dim"))
    return told

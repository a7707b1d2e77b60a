"""Findings → a table for the terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from relume.artifacts.findings import Finding, Findings, Judged
from relume.reports import cured, wording

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_WIDTH = 100  # of text that no terminal shows: notebooks, files


def render(findings: Findings) -> RenderableType:
    """The whole report: headline, a line a site, the findings, what it cost, what was not seen."""
    names = wording.names([judged.site for judged in findings.sites])
    parts: list[RenderableType] = [_headline(findings)]
    if findings.sites:
        parts += [Text(), _table(findings.sites, names), Text()]
        parts += _findings(findings.findings, findings.sites, names)
    parts += _foot(findings)
    return Group(*parts)


def to_text(findings: Findings) -> str:
    """The report as plain text."""
    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(render(findings))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n")


def _headline(findings: Findings) -> Text:
    first, rest = wording.headline(findings)
    if not findings.sites:
        return Text().append(f"{first} ", style="bold").append(rest)
    dead, broken = (any(getattr(judged, units) for judged in findings.sites) for units in ("dead", "non_finite"))
    style = "bold red" if broken else "bold yellow" if dead else "bold green"
    line = Text().append(first, style=style).append(f"; {rest}")
    if wording.unfinished(findings):
        line.append("; the run is not finished, or it was cut off", style="yellow")
    if any(judged.provisional for judged in findings.sites):
        line.append("; provisional where marked ~ (fewer than 300 examples)")
    return line


def _table(sites: Sequence[Judged], names: dict[str, str]) -> Table:
    """A line a site; a column that would be empty is left out."""
    columns = wording.columns(sites)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("site", overflow="fold", min_width=16)
    table.add_column("source", overflow="fold", style="dim", min_width=12)
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    for row, judged in enumerate(sites):
        where = Text(names[judged.site.key]).append(f" {judged.site.call}", style="dim")
        cells = [Text(cells[row], style="dim" if cells[row] == wording.NONE else style) for _, style, cells in columns]
        table.add_row(where, Text(wording.short_source(judged.site)), *cells)
    return table


def _findings(findings: Sequence[Finding], sites: Sequence[Judged], names: dict[str, str]) -> list[RenderableType]:
    """The findings in full; information of which the table shows all is left to ``--json``."""
    told = wording.told(findings)
    by_key = {judged.site.key: judged.site for judged in sites}
    parts: list[RenderableType] = []
    shown: set[str] = set()  # cures whose evidence was told
    for f in told[: wording.MOST_FINDINGS]:
        site = by_key[f.site]
        line = Text()
        line.append(f"{f.rule} {f.slug}", style=_STYLES[f.severity])
        line.append(f"  {names[f.site]}", style="bold")
        line.append(f" at {wording.source(site)}: {f.evidence}.\n")
        if f.units:
            line.append(f"    units {wording.some(f.units)}\n", style="dim")
        parts.append(line.append(f"    → {f.advice}") if not f.cures else _with_cures(line, f, shown))
    if len(told) > wording.MOST_FINDINGS:
        parts.append(Text(f"… and {len(told) - wording.MOST_FINDINGS} more findings; --json has all.", style="dim"))
    for f, others in wording.noted(findings):
        site, more = by_key[f.site], f" (and {others} more site{'s' * (others > 1)}; --json has all)" if others else ""
        parts.append(
            Text(f"{f.rule} {f.slug}", style=_STYLES["info"])
            .append(f"  {names[f.site]}", style="not bold")
            .append(f" at {wording.source(site)}: {f.evidence}{more}.", style="dim")
        )
    return [*parts, Text()] if parts else []


def _with_cures(line: Text, f: Finding, told: set[str]) -> Text:
    """Each cure with what speaks for it elsewhere, once a report; this run's evidence is above, with the causes."""
    for number, cure in enumerate(f.cures):
        line.append(f"{chr(10) * (number > 0)}    → {cure.changes}")
        line.append(f" ({cure.units} unit{'s' * (cure.units != 1)})", style="dim")
        for text in cure.evidence[1:] if cure.cure not in told else ():
            line.append(f"\n      {text}", style="dim")
        told.add(cure.cure)
    return line


def _foot(findings: Findings) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"{told}.") for told in cured.sentences(findings.run)]
    if findings.run.get("parts"):
        parts.append(Text(f"Recordings of this run: {', '.join(findings.run['parts'])}.", style="dim"))
    assumed = [f"{judged.site.file}:{judged.site.line}" for judged in findings.sites if judged.site.axis_assumed]
    if assumed:
        parts.append(
            Text(f"Unit axis assumed, because the layer before it is not known: {', '.join(assumed)}.", style="dim")
        )
    if findings.sites and (overhead := wording.overhead(findings.run)):
        parts.append(Text(f"{overhead}.", style="dim"))
    if findings.run.get("fault"):
        parts.append(Text(f"An error of relume's own ended the watching early: {findings.run['fault']}", style="red"))
    if findings.not_observed:
        parts.append(Text("Not observed:", style="dim"))
        rows = findings.not_observed
        shown = rows[: wording.MOST_FINDINGS]
        parts += [Text(f"  {what} at {where}: {why}.", style="dim") for what, where, why in shown]
        if len(rows) > wording.MOST_FINDINGS:
            parts.append(Text(f"  … and {len(rows) - wording.MOST_FINDINGS} more; --json has all.", style="dim"))
    return parts

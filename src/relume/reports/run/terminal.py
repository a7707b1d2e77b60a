"""Findings → a table for the terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from relume.artifacts.findings import Finding, Findings, Judged, too_few
from relume.reports.run import cured, states, wording
from relume.reports.run.unit_bars import bar, legend, sparkline

WIDE = 100
"""A terminal with at least this many columns has bars of 20 cells; a smaller one has 8."""

MOST_ROWS = 15
"""Sites in the table, the worst; more would push the headline out of sight."""

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_GLUE = "\ue000"  # Rich breaks a line at every space, the no-break space too
_WIDTH = 100  # of text that no terminal shows: notebooks, files


def render(findings: Findings) -> RenderableType:
    """The whole report: headline, sites, findings, overhead, what was not observed."""
    names = wording.names([judged.site for judged in findings.sites])
    parts: list[RenderableType] = [_headline(findings)]
    if findings.sites:
        parts += [Text(), _Sites(findings, names), *_below_the_table(findings), Text()]
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
    if failed := wording.failed(findings):
        line.append(f"; {failed}", style="yellow")
    if why := too_few(findings.sites):
        line.append(f"; provisional where marked ~ ({why})")
    return line


@dataclass(frozen=True)
class _Sites:
    """The table of sites: a line for each site; empty columns are omitted."""

    findings: Findings
    names: dict[str, str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _table(self.findings, self.names, 20 if options.max_width >= WIDE else 8)


def _table(findings: Findings, names: dict[str, str], cells_of_bar: int) -> Table:
    places = range(len(findings.sites)) if len(findings.sites) <= MOST_ROWS else states.worst_first(findings)
    sites = [findings.sites[place] for place in places[:MOST_ROWS]]
    columns = wording.columns(sites)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("site", overflow="fold", min_width=14)
    table.add_column("")
    for heading, _, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row, judged in enumerate(sites):
        where = Text(names[judged.site.key])
        where.append(f" {judged.site.call} {wording.short_source(judged.site)}", style="dim")
        cells = [Text(cells[row], style="dim" if cells[row] == wording.NONE else style) for _, style, cells in columns]
        if spark := sparkline(judged, findings.run["steps"]):
            cells[1] = Text(f"{spark} ", style="red").append(cells[1])
        table.add_row(where, bar(states.counts(states.codes(judged)), cells_of_bar), *cells)
    return table


def _below_the_table(findings: Findings) -> list[RenderableType]:
    left = len(findings.sites) - MOST_ROWS
    more = [Text(f"… and {left:,} more sites; --json has all.", style="dim")] if left > 0 else []
    return [*more, legend(findings.sites)]


def _findings(findings: Sequence[Finding], sites: Sequence[Judged], names: dict[str, str]) -> list[RenderableType]:
    """The findings in full; information of which the table shows all is left to ``--json``."""
    told = wording.told(findings)
    by_key = {judged.site.key: judged.site for judged in sites}
    parts: list[RenderableType] = []
    shown, evident = told[: wording.MOST_FINDINGS], set[str]()
    for f, after in zip_longest(shown, shown[1:]):
        where = Text(names[f.site], style="bold")
        where.append(f" at {wording.source(by_key[f.site])}", style="not bold dim")
        parts += [_titled(f, where), _indented(Text(f"{f.evidence[:1].upper()}{f.evidence[1:]}."))]
        if f.units:
            parts.append(_indented(Text(f"unit{'s' * (len(f.units) > 1)} {wording.some(f.units)}", style="dim")))
        if after is None or _advised(after) != _advised(f):  # once for all sites
            parts += [_advice(f, evident), Text()]
    if len(told) > wording.MOST_FINDINGS:
        left = len(told) - wording.MOST_FINDINGS
        parts += [Text(f"… and {left} more findings; --json has all.", style="dim"), Text()]
    noted = wording.noted(findings)
    for f, others in noted:
        more = f" (and {others} more site{'s' * (others > 1)}; --json has all)" if others else ""
        said = f" at {wording.source(by_key[f.site])}: {f.evidence}{more}."
        parts.append(_titled(f, Text(names[f.site]).append(said, style="dim")))
    return [*parts, Text()] if noted else parts


@dataclass(frozen=True)
class _Unbroken:
    """A text in which no line ends between a number and its %."""

    text: Text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        held = self.text.copy()
        held.plain = held.plain.replace(" %", f"{_GLUE}%")
        for text, style, control in console.render(held, options):
            yield Segment(text.replace(_GLUE, " "), style, control)


def _titled(f: Finding, where: Text) -> Table:
    """The rule, and where it found something in a column of its own."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(Text(f"{f.rule} {f.slug}", style=_STYLES[f.severity], no_wrap=True), _Unbroken(where))
    return grid


def _indented(text: Text) -> Padding:
    return Padding(_Unbroken(text), (0, 0, 0, 4))


def _advised(f: Finding) -> tuple[str, ...]:
    """The identity of a piece of advice."""
    return (f.rule, *(cure.changes for cure in f.cures)) if f.cures else (f.rule, f.advice)


def _advice(f: Finding, evident: set[str]) -> RenderableType:
    """An arrow and the advice next to it at any width; of cures each, with what speaks for it elsewhere.

    ``evident``: the cures whose evidence was printed above. This run's evidence is above, with the causes.
    """
    grid = Table.grid(padding=(0, 1, 0, 0))
    for cure in f.cures:
        told = Text(cure.changes, style="bold")
        for text in cure.evidence[1:] if cure.cure not in evident else ():
            told.append(f"\n{text}", style="not bold dim")
        evident.add(cure.cure)
        grid.add_row(Text("  →", style="bold"), told)
    if not f.cures:
        grid.add_row(Text("  →", style="bold"), Text(f.advice, style="bold"))
    return grid


def _foot(findings: Findings) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(f"{told}.") for told in cured.sentences(findings.run)]
    if findings.run.get("parts"):
        parts.append(Text(f"Recordings of this run: {', '.join(findings.run['parts'])}.", style="dim"))
    assumed = [f"{judged.site.file}:{judged.site.line}" for judged in findings.sites if judged.site.axis_assumed]
    if assumed:
        parts.append(
            Text(
                f"Unit axis assumed, because the layer before the activation is unknown: {', '.join(assumed)}.",
                style="dim",
            )
        )
    if findings.sites and (overhead := wording.overhead(findings.run)):
        parts.append(Text(f"{overhead}.", style="dim"))
    if findings.run.get("fault"):
        parts.append(Text(f"The watching ended early: {findings.run['fault']}", style="red"))
    if findings.not_observed:
        parts.append(Text("Not observed:", style="dim"))
        rows = findings.not_observed
        shown = rows[: wording.MOST_FINDINGS]
        parts += [Padding(Text(f"{what} at {where}: {why}.", style="dim"), (0, 0, 0, 2)) for what, where, why in shown]
        if len(rows) > wording.MOST_FINDINGS:
            parts.append(Text(f"  … and {len(rows) - wording.MOST_FINDINGS} more; --json has all.", style="dim"))
    return parts

"""Findings → a table for the terminal."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import PurePath

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from relume.artifacts.findings import Finding, Findings, Judged

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_MOST_FINDINGS = 12  # findings and places printed in full; the rest are counted
_NONE = "·"
_WIDTH = 100  # of text that no terminal shows: notebooks, files


def render(findings: Findings, next_command: str | None = None) -> RenderableType:
    """The whole report: headline, a line a site, the findings, what it cost, what was not seen, what to type next."""
    several = len({judged.site.model for judged in findings.sites}) > 1
    names = {judged.site.key: _name(judged, several) for judged in findings.sites}
    parts: list[RenderableType] = [_headline(findings)]
    if findings.sites:
        parts += [Text(), _table(findings.sites, names), Text()]
        parts += _findings(findings.findings, findings.sites, names)
    parts += _foot(findings, next_command)
    return Group(*parts)


def to_text(findings: Findings) -> str:
    """The report as plain text."""
    console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(render(findings))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n")


def to_html(findings: Findings) -> str:
    """The report as a block of HTML without scripts, for notebooks."""
    return f'<pre style="line-height:1.3">{html.escape(to_text(findings))}</pre>'


def _headline(findings: Findings) -> Text:
    run, sites = findings.run, findings.sites
    units = sum(judged.site.units for judged in sites)
    dead = sum(len(judged.dead) for judged in sites)
    line = Text()
    if not sites:
        line.append("No activation was watched. ", style="bold")
        line.append(_why_nothing(findings))
        return line
    line.append(f"{dead:,} of {units:,} units dead", style="bold yellow" if dead else "bold green")
    line.append(
        f" at {len(sites)} site{'s' * (len(sites) > 1)}; looked at {run['looked']:,} of {run['steps']:,} steps, "
    )
    line.append(f"{run['samples']:,} samples")
    if findings.run["script"] and not findings.run.get("finished"):
        line.append("; the run goes on, or was cut off", style="yellow")
    if any(judged.provisional for judged in sites):
        line.append("; provisional where marked ~ (fewer than 300 examples)")
    return line


def _why_nothing(findings: Findings) -> str:
    run = findings.run
    if run["script"] and not run.get("finished"):
        return "The run goes on, or was cut off before anything of it was written."
    unwatched = run.get("unwatched")
    if unwatched:
        return f"The script trains with {unwatched}, which is not watched yet; PyTorch is."
    if "torch" not in run:
        return "The script did not import PyTorch."
    if not run["steps"]:
        return (
            "The script took no training step (no optimiser, no backward pass). "
            "A trained model is watched by relume.watch(model, phase='all')."
        )
    return "It trained, but no activation of the family was applied in a training pass."


def _table(sites: Sequence[Judged], names: dict[str, str]) -> Table:
    """A line a site; a column that would be empty is left out."""
    columns: list[tuple[str, list[str | Text]]] = [
        ("units", [f"{judged.site.units:,}" for judged in sites]),
        ("dead", [_count(len(judged.dead), "bold yellow", judged.provisional) for judged in sites]),
        ("rare", [_count(len(judged.rare)) for judged in sites]),
        ("always on", [_count(len(judged.always_on)) for judged in sites]),
        ("one-sided", [_count(len(judged.one_sided)) for judged in sites]),
        ("stuck high", [_count(len(judged.stuck_high), "yellow") for judged in sites]),
        ("saturated", [_count(len(judged.saturated), "yellow") for judged in sites]),
        ("not finite", [_count(len(judged.non_finite), "bold red") for judged in sites]),
        ("fires", [_fires(judged) for judged in sites]),
        ("examples", [f"{judged.examples:,}" for judged in sites]),
    ]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("site", overflow="fold", min_width=16)
    table.add_column("source", overflow="fold", style="dim", min_width=12)
    told = [
        (heading, cells)
        for heading, cells in columns
        if heading in ("units", "dead", "fires", "examples") or any(str(cell) != _NONE for cell in cells)
    ]
    for heading, _ in told:
        table.add_column(heading, justify="right")
    for row, judged in enumerate(sites):
        source = f"{PurePath(judged.site.file).name}:{judged.site.line}"
        where = Text(names[judged.site.key]).append(f" {judged.site.call}", style="dim")
        table.add_row(where, Text(source), *(cells[row] for _, cells in told))
    return table


def _count(number: int, style: str = "", provisional: bool = False) -> Text:
    if not number:
        return Text(_NONE, style="dim")
    return Text(f"{'~' * provisional}{number:,}", style=style)


def _fires(judged: Judged) -> str:
    """The median unit's firing rate."""
    rates = sorted(rate for rate in judged.firing_rate if rate is not None)
    return f"{rates[len(rates) // 2]:.0%}" if rates else ""


def _findings(findings: Sequence[Finding], sites: Sequence[Judged], names: dict[str, str]) -> list[RenderableType]:
    """The findings in full; information of which the table shows all is left to ``--json``."""
    told = [f for f in findings if f.severity != "info" or f.slug in ("dead_unit", "born_dead")]
    by_key = {judged.site.key: judged.site for judged in sites}
    parts: list[RenderableType] = []
    for f in told[:_MOST_FINDINGS]:
        site = by_key[f.site]
        line = Text()
        line.append(f"{f.rule} {f.slug}", style=_STYLES[f.severity])
        line.append(f"  {names[f.site]}", style="bold")
        line.append(f" at {site.file}:{site.line}: {f.evidence}.\n")
        line.append(f"    units {_some(f.units)}\n", style="dim")
        line.append(f"    → {f.advice}")
        parts.append(line)
    if len(told) > _MOST_FINDINGS:
        parts.append(Text(f"… and {len(told) - _MOST_FINDINGS} more findings; --json has all.", style="dim"))
    return [*parts, Text()] if parts else []


def _some(units: Sequence[int], most: int = 16) -> str:
    shown = ", ".join(str(unit) for unit in units[:most])
    return shown if len(units) <= most else f"{shown}, … ({len(units)} in all)"


def _foot(findings: Findings, next_command: str | None) -> list[RenderableType]:
    parts: list[RenderableType] = []
    assumed = [f"{judged.site.file}:{judged.site.line}" for judged in findings.sites if judged.site.axis_assumed]
    if assumed:
        parts.append(
            Text(f"Unit axis assumed, since the layer before is not known: {', '.join(assumed)}.", style="dim")
        )
    overhead = findings.run.get("overhead")
    if findings.sites and overhead is not None:
        parts.append(Text(f"Watching took {overhead:.1%} of the steps' own time.", style="dim"))
    if findings.run.get("fault"):
        parts.append(
            Text(f"The watching ended early by an error of relume's own: {findings.run['fault']}", style="red")
        )
    if findings.not_observed:
        parts.append(Text("Not observed:", style="dim"))
        rows = findings.not_observed
        parts += [Text(f"  {what} at {where}: {why}.", style="dim") for what, where, why in rows[:_MOST_FINDINGS]]
        if len(rows) > _MOST_FINDINGS:
            parts.append(Text(f"  … and {len(rows) - _MOST_FINDINGS} more; --json has all.", style="dim"))
    if next_command:
        line = Text("Next: ", style="dim")
        line.append(next_command, style="bold")
        parts.append(line)
    return parts


def _name(judged: Judged, several: bool) -> str:
    """The site's module, behind its model's name where there are several models or it is the model itself."""
    site = judged.site
    if site.model and (several or not site.module):
        return f"{site.model}.{site.module}" if site.module else site.model
    return site.module

"""What the HTML report of a run shows: findings, sorted and cut to what a page can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from relume.artifacts.findings import Finding, Findings, Judged, Timeline
from relume.reports.run import states, wording
from relume.reports.run.html import charts, drawing, story, unit_story
from relume.reports.run.html.source import SourceFile, Sources
from relume.reports.run.html.spread import SpreadRow, spread
from relume.reports.run.html.story import shown
from relume.reports.run.states import STATES
from relume.theme import Chart

MOST_DRAWN = 12
"""Sites with their own section."""

MOST_BARS = 24
"""Sites with a bar and a name in the strip; more become columns."""

MOST_COLUMNS = 120
"""Columns of the strip; if there are more sites, neighbors share one."""

MOST_CLOCKS = 3
"""Optimizers whose steps are drawn."""

MOST_UNSEEN = 100
"""Places that were not observed, in full."""

MOST_COMMAND = 1000
"""Most letters of a command shown in full."""

PAGE = 25
"""Rows of the table at a time."""


@dataclass(frozen=True)
class Row:
    """A site in the strip and in the table; ``number`` is its place in the network, from 1."""

    number: int
    name: str
    call: str
    file: str
    line: int
    units: int
    counts: tuple[int, ...]
    fires: float | None
    examples: int
    provisional: bool
    drawn: bool
    parts: tuple[drawing.Segment, ...]

    @property
    def source(self) -> str:
        """``src/train.py:8``."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def cells(self) -> list[Any]:
        """Its cells in the table, in the order of ``StripColumn.place``, then provisional, drawn, and the line."""
        lost = self.counts[:-1]
        return [
            self.number, self.name, self.call, self.file, self.units, *lost, self.fires, self.examples,
            int(self.provisional), int(self.drawn), self.line,
        ]  # fmt: skip


@dataclass(frozen=True)
class StripColumn:
    """A column of the strip of a large network: the sites from one number to another."""

    first: int
    last: int
    start: float
    length: float
    parts: tuple[drawing.Segment, ...]


@dataclass(frozen=True)
class Detail:
    """The section of one site."""

    row: Row
    judged: Judged
    grid: drawing.Grid
    lists: tuple[tuple[states.UnitState, int, str], ...]
    chart: Chart
    causes: tuple[tuple[str, int, str, str], ...]
    findings: tuple[Finding, ...]
    facts: tuple[tuple[str, str], ...]
    opened: bool
    story: dict[str, Any] | None


@dataclass(frozen=True)
class RunReport:
    """The report as its template takes it."""

    title: str
    summary: story.Summary
    files: tuple[SourceFile, ...]
    rows: tuple[Row, ...]
    worst: tuple[Row, ...]
    columns: tuple[StripColumn, ...]
    timelines: tuple[tuple[str, tuple[Chart, ...], tuple[SpreadRow, ...]], ...]
    details: tuple[Detail, ...]
    advice: tuple[story.Advice, ...]
    unseen: tuple[tuple[str, str, str], ...]
    unseen_more: int
    facts: tuple[tuple[str, str], ...]
    totals: tuple[int, ...]
    audited: bool = False


def report(findings: Findings, sources: Sources, most_drawn: int = MOST_DRAWN) -> RunReport:
    """Sort a run's findings into the sections of its report; the ``most_drawn`` worst sites have one of their own."""
    sites = [judged.site for judged in findings.sites]
    names = wording.names(sites)
    clocks = {timeline.clock: timeline for timeline in findings.timelines}
    told = _by_site(findings.findings)
    order = states.worst_first(findings)
    drawn = set(order[:most_drawn])
    rows = [_row(i, judged, names, i in drawn) for i, judged in enumerate(findings.sites)]
    worst = [rows[i] for i in order]
    unseen = [(shown(what), shown(where), shown(why, 400)) for what, where, why in findings.not_observed[:MOST_UNSEEN]]
    return RunReport(
        title=story.title(findings),
        summary=story.summary(findings, names),
        files=tuple(sources.files(findings.sites)),
        rows=tuple(rows),
        worst=tuple(worst),
        columns=tuple(_columns(rows)) if len(rows) > MOST_BARS else (),
        timelines=tuple(_timelines(findings, names)),
        details=tuple(
            _detail(rows[i], findings.sites[i], told.get(sites[i].key, []), clocks.get(sites[i].clock))
            for i in order[:most_drawn]
        ),
        advice=tuple(story.advice(findings, names)),
        unseen=tuple(unseen),
        unseen_more=len(findings.not_observed) - len(unseen),
        facts=tuple(_facts(findings)),
        totals=tuple(np.sum([row.counts for row in rows], axis=0).tolist()) if rows else (0,) * len(STATES),
        audited=wording.audited(findings),
    )


def _by_site(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.site, []).append(finding)
    return found


def _row(place: int, judged: Judged, names: Mapping[str, str], drawn: bool) -> Row:
    site, counts = judged.site, states.counts(states.codes(judged))
    return Row(
        number=place + 1,
        name=shown(names[site.key], 96),
        call=shown(site.call, 40),
        file=shown(site.file, 80),
        line=site.line,
        units=site.units,
        counts=counts,
        fires=None if judged.fires is None else round(judged.fires, 4),
        examples=judged.examples,
        provisional=judged.provisional,
        drawn=drawn,
        parts=drawing.bar(counts),
    )


def _columns(rows: Sequence[Row]) -> list[StripColumn]:
    wide = min(len(rows), MOST_COLUMNS)
    edges = np.linspace(0, len(rows), wide + 1).round().astype(int).tolist()
    made = []
    for i, (first, last) in enumerate(pairwise(edges)):
        counts = np.sum([row.counts for row in rows[first:last]], axis=0).tolist()
        start, length = 100 * i / wide, 100 / wide
        made.append(StripColumn(first + 1, last, round(start, 3), round(length * 0.86, 3), drawing.bar(counts)))
    return made


def _timelines(
    findings: Findings, names: Mapping[str, str]
) -> list[tuple[str, tuple[Chart, ...], tuple[SpreadRow, ...]]]:
    """For each optimizer that steps a site, the words above its charts, the charts, and where trouble spread."""
    found = []
    for clock in findings.timelines:
        own = [judged for judged in findings.sites if judged.site.clock == clock.clock]
        if not own:
            continue
        models = dict.fromkeys(judged.site.model for judged in own if judged.site.model)
        stepped = shown(wording.listed(list(models)), 80) if len(findings.timelines) > 1 else ""
        said = [
            f"{shown(clock.name, 80)}{f' of {stepped}' if stepped else ''}",
            f"{clock.steps:,} steps",
            f"looked at {clock.looked:,}",
        ]
        if rate := charts.constant_rates(clock):
            said.append(f"learning rate {rate} throughout")
        if not any(judged.events for judged in own):
            said.append("no unit died during the run")
        if drawn := charts.timeline(clock, own, names, stepped):
            found.append((", ".join(said), tuple(drawn), spread(clock, findings.sites)))
    return found[:MOST_CLOCKS]


def _detail(row: Row, judged: Judged, findings: Sequence[Finding], clock: Timeline | None) -> Detail:
    codes = states.codes(judged)
    lists = tuple(
        (state, row.counts[place], states.ranges(np.flatnonzero(codes == place).tolist()))
        for place, state in enumerate(STATES)
        if row.counts[place] and state.key != "healthy"
    )
    return Detail(
        row=row,
        judged=judged,
        grid=drawing.grid(codes, judged.firing_rate),
        lists=lists,
        chart=charts.distribution(f"rates-of-{row.number}", row.name, judged),
        causes=tuple(_causes(judged)),
        findings=tuple(findings),
        facts=tuple(_site_facts(judged)),
        story=unit_story.story(judged, clock),
        opened=bool(lists or any(found.severity != "info" for found in findings)),
    )


def _causes(judged: Judged) -> list[tuple[str, int, str, str]]:
    """(cause, how many units, which, what shows it on the first of them), the most frequent first."""
    units: dict[str, list[int]] = {}
    for unit, cause in judged.cause.items():
        units.setdefault(cause.kind, []).append(unit)
    ranked = sorted(units.items(), key=lambda item: -len(item[1]))
    if list(units) == ["unknown"]:
        return []
    return [
        (kind, len(hit), states.ranges(sorted(hit), 12), f"unit {hit[0]}: {shown(judged.cause[hit[0]].says, 400)}")
        for kind, hit in ranked
    ]


def _site_facts(judged: Judged) -> list[tuple[str, str]]:
    site = judged.site
    parameters = ", ".join(f"{shown(name, 40)} = {value:g}" for name, value in site.parameters.items())
    if not judged.examples:  # a checkpoint's
        return [("layer", shown(site.layer)), ("axis of the units", str(site.unit_axis))]
    facts = [
        ("activation", f"{site.activation} ({parameters})" if parameters else site.activation),
        ("layer before", shown(site.layer) or "not known"),
        ("axis of the units", f"{site.unit_axis}{', assumed' if judged.site.axis_assumed else ''}"),
        ("judged on", f"{judged.examples:,} examples, {judged.samples:,} samples"),
    ]
    words = (
        ("init_gain", "gain of its initial weights"),
        ("offset", "γ of its input, ‖mean‖ / ‖std‖"),
        ("rms_first", "RMS of its output, first"),
        ("rms", "RMS of its output, last"),
        ("peak", "largest output"),
        ("gradient_first", "RMS of its gradient, first"),
        ("gradient", "RMS of its gradient, last"),
        ("noise", "noise in its gradient"),
    )
    return facts + [(label, f"{judged.statistics[name]:.3g}") for name, label in words if name in judged.statistics]


def _facts(findings: Findings) -> list[tuple[str, str]]:
    run = findings.run
    if wording.audited(findings):
        step = f"{run['steps']:,}" if run["steps"] else "not in it"
        return [("read from", shown(", ".join(run["audited"]), 400)), ("step", step)]
    said = []
    if run.get("script"):
        status = "none yet" if run.get("exit") is None else str(run["exit"])
        said += [("command", story.title(findings, MOST_COMMAND)), ("exit status", status)]
    said += [("steps", f"{run['steps']:,}, of which {run['looked']:,} were looked at")]
    said += [("samples", f"{run['samples']:,}")]
    if overhead := wording.overhead(run):
        said.append(("overhead", overhead.removeprefix("Overhead: ")))
    if asked := _told(run, ("budget", "every", "window", "phase")):
        said.append(("asked for", asked))
    said += [(shown(c["name"], 60), f"{c['kind']}, {c['steps']:,} steps") for c in run.get("clocks", [])[:8]]
    if versions := _told(run, ("torch", "keras", "tensorflow", "jax", "python")):
        said.append(("versions", versions))
    if run.get("parts"):
        said.append(("recordings", shown(", ".join(run["parts"]), 400)))
    return said


def _told(run: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {shown(run[name], 40)}" for name in names if run.get(name) is not None)

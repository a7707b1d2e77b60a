"""The content of the HTML report of studies: the verdict first, then its evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.trial import Verdict
from relume.reports.study import wording
from relume.reports.study.html import charts, curves
from relume.reports.study.methods import paragraph
from relume.theme import Chart

MOST_FAILED = 200
"""Failed runs in full; `relume report --json` has all."""


@dataclass(frozen=True)
class StudyTable:
    """A table of a report of studies; ``calls``: the verdict of each row, "" of the baseline's."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    calls: tuple[str, ...]


@dataclass(frozen=True)
class StudyReport:
    """One study as its template takes it; ``prefix`` makes its ids its own."""

    prefix: str
    name: str
    command: str
    tone: str
    headline: str
    sentence: str
    rests_on: tuple[str, ...]
    notes: tuple[str, ...]
    tables: tuple[StudyTable, ...]
    charts: dict[str, list[Chart]]
    seeds: tuple[tuple[str, ...], list[tuple[str, ...]]]
    edges: tuple[str, ...]
    delta: float | None
    failed: tuple[tuple[str, ...], ...]
    failed_more: int
    left_alone: tuple[tuple[str, str, str], ...]
    methods: str
    facts: tuple[tuple[str, str], ...]


def report(findings: StudyFindings, number: int, of: int) -> StudyReport:
    """Sort the findings of a study into the sections of its report; it is study ``number`` of several."""
    lost = [trial for trial in findings.trials if trial.status != "finished"]
    prefix = f"study-{number}-"
    return StudyReport(
        prefix=prefix,
        name=wording.short(findings.name),
        command=wording.command(findings),
        tone=_tone(findings),
        headline=headline(findings),
        sentence=wording.sentence(findings),
        rests_on=tuple(line for line in (wording.rests_on(findings), wording.looks(findings)) if line),
        notes=tuple(wording.notes(findings)),
        tables=tuple(_tables(findings)),
        charts=_charts(findings, prefix, f": {wording.short(findings.name, 30)}" if of > 1 else ""),
        seeds=charts.seed_table(findings),
        edges=tuple(wording.short(verdict.activation) for verdict in wording.rows(findings) if verdict.at_edge),
        delta=findings.design.delta,
        failed=tuple(
            (
                wording.short(trial.key.activation), str(trial.key.seed),
                wording.learning_rate(findings, trial.key.lr_factor),
                trial.key.stage, trial.status, wording.short(trial.error, 300),
            )
            for trial in lost[:MOST_FAILED]
        ),
        failed_more=max(0, len(lost) - MOST_FAILED),
        left_alone=tuple(wording.left_alone(findings)),
        methods=paragraph(findings),
        facts=tuple(_facts(findings)),
    )  # fmt: skip


def headline(findings: StudyFindings) -> str:
    """The verdict in a few words."""
    if not findings.verdicts:
        return "Nothing was compared"
    if not findings.confirmed:
        return "No verdict yet"
    calls: dict[str, list[str]] = {}
    for verdict in wording.rows(findings):
        calls.setdefault(verdict.verdict, []).append(wording.short(verdict.activation))
    base = wording.baseline(findings)
    for call, says in (("better", "better than"), ("worse", "worse than"), ("equivalent", "equivalent to")):
        if names := calls.get(call):
            if call == "worse" and len(calls) > 1:
                return f"No contender is shown to be better than {base}"
            return f"{_some(names)} {'is' if len(names) == 1 else 'are'} {says} {base}"
    return f"No difference from {base} is shown"


def _some(names: Sequence[str], most: int = 3) -> str:
    if len(names) <= most:
        return wording.listed(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def _tone(findings: StudyFindings) -> str:
    return "good" if any(verdict.verdict == "better" for verdict in findings.verdicts) else "none"


def _tables(findings: StudyFindings) -> list[StudyTable]:
    names = wording.names(findings)
    calls = tuple(wording.calls(findings))
    found = []
    for title, columns in wording.tables(findings):
        rows = tuple((name, *(cells[row] for _, cells in columns)) for row, name in enumerate(names))
        found.append(StudyTable(title, (title, *(heading for heading, _ in columns)), rows, calls))
    return found


def _charts(findings: StudyFindings, prefix: str, of: str) -> dict[str, list[Chart]]:
    """The charts of each section; ``of``: the end of their titles, which identifies the study."""
    single = {
        "differences": charts.differences(findings, prefix),
        "rates": curves.rates(findings, prefix),
        "cost": charts.cost(findings, prefix),
    }
    found = {section: [] if chart is None else [chart] for section, chart in single.items()}
    found["curves"] = curves.curves(findings, prefix)
    return {
        section: [replace(chart, title=f"{chart.title}{of}") for chart in drawn] for section, drawn in found.items()
    }


def _facts(findings: StudyFindings) -> list[tuple[str, str]]:
    asked, of = findings.design, findings.subject
    facts = [
        ("metric", f"{wording.short(asked.metric)}, {'less' if asked.mode == 'min' else 'more'} is better, {asked.at}"),
        ("seeds", f"{findings.seeds} for the verdict, {len(asked.tuning_seeds)} to choose learning rates"),
        ("α", f"{asked.alpha:g}, over all contenders and verdicts"),
        ("δ", "not said" if asked.delta is None else f"±{asked.delta:g}: differences within it do not matter"),
    ]
    facts += [(_power(verdict), _power_says(verdict)) for verdict in wording.rows(findings) if verdict.n > 1][:12]
    facts += [(wording.short(name, 30), wording.short(version, 40)) for name, version in of.versions.items()]
    return [*facts, ("threads", f"{of.threads} per run")]


def _power(verdict: Verdict) -> str:
    return f"power, {wording.short(verdict.activation, 30)}"


def _power_says(verdict: Verdict) -> str:
    said = f"{verdict.n} pairs detect ±{wording.number(verdict.mdd)} with 80 %"
    if math.isfinite(verdict.correlation):
        said += f"; correlation of the pairs {verdict.correlation:.2f}"
    return said

"""The curves of a study: learning, run by run, and what each learning rate led to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeVar

from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.trial import BASELINE, Trial
from relume.reports.study import wording
from relume.reports.study.html.charts import MOST_ROWS, TITLE, Rows, cell, metric, name_of
from relume.theme import Chart, color, dash

MOST_CURVES = 12
"""Charts of learning curves, one for each of the best contenders, in the order of the table."""

MOST_SEEDS = 20
"""Thin lines of a contender; the thick one is the mean of all."""

MOST_TICKS = 6
"""Epochs up to which each has its tick."""

MOST_POINTS = 6000
"""Points of all thin lines together: a report should be small enough to mail."""


_STEPS = {"": "value, in the order of logging", "global_step": "step", "globalstep": "step", "iter": "iteration"}
"""Words for what a curve's steps count; others are taken as the script prints them."""

Curve = list[tuple[float, float]]
T = TypeVar("T")


def curves(findings: StudyFindings, prefix: str) -> list[Chart]:
    """Each contender with the baseline: all seeds thin, their mean thick."""
    names = [verdict.activation for verdict in wording.rows(findings)][:MOST_CURVES] or [BASELINE]
    runs = {name: _curves(findings, findings.runs(name)) for name in (BASELINE, *names)}
    if not any(len(curve) > 1 for told in runs.values() for curve in told):
        return []
    lines = sum(min(len(runs[name]), MOST_SEEDS) + min(len(runs[BASELINE]), MOST_SEEDS) for name in names)
    most = max(8, min(60, MOST_POINTS // max(lines, 1)))
    values = [y for told in runs.values() for curve in told for _, y in curve]
    domain = [min(values), max(values)]
    return [
        _curve_chart(findings, name, runs, most, domain, f"{prefix}curve-{place}")
        for place, name in enumerate(names)
        if runs[name] or runs[BASELINE]
    ]


def _curves(findings: StudyFindings, trials: Sequence[Trial]) -> list[Curve]:
    """The finite points of each run's metric."""
    told = [trial.metrics.get(findings.design.metric, ()) for trial in trials]
    return [[(step, value) for step, value in curve if math.isfinite(value)] for curve in told if curve]


def _curve_chart(
    findings: StudyFindings, name: str, runs: dict[str, list[Curve]], most: int, domain: list[float], key: str
) -> Chart:
    told = [(BASELINE, 0)] if name == BASELINE else [(BASELINE, 0), (name, 1)]
    thin: Rows = []
    thick: Rows = []
    for who, place in told:
        for number, curve in enumerate(runs[who][:MOST_SEEDS]):
            thin += [{"s": s, "v": v, "w": place, "r": f"{place}.{number}"} for s, v in thinned(curve, most)]
        thick += [{"s": s, "v": v, "w": place} for s, v in thinned(mean_curve(runs[who]), most)]
    means = {who: dict(mean_curve(runs[who])) for who, _ in told}
    steps = thinned([(step, 0.0) for step in sorted({step for known in means.values() for step in known})], 60)
    return Chart(
        name=key,
        title="baseline" if name == BASELINE else f"{name_of(name)} and the baseline",
        description=f"{len(runs[name])} runs of {name_of(name)} thin, their mean thick.",
        spec=_curve_spec(findings, thin, thick, domain),
        columns=(_STEPS.get(findings.counter, findings.counter), *(f"mean of {name_of(who)}" for who, _ in told)),
        rows=[
            (f"{step:g}", *(cell(means[who][step]) if step in means[who] else "" for who, _ in told))
            for step, _ in steps
        ],
        height=240,
        width=400,
    )


def _curve_spec(findings: StudyFindings, thin: Rows, thick: Rows, domain: list[float]) -> dict[str, Any]:
    """Thin lines of the seeds and thick ones of the means, in the colors of baseline and contender."""
    counted = sorted({point["s"] for point in thick})
    few: dict[str, Any] = (
        {"values": counted} if 0 < len(counted) <= MOST_TICKS else {"tickCount": 5}
    )  # epochs, not halves of them
    ticks = {**few, "format": "~s"}
    x = {"field": "s", "type": "quantitative", "title": _STEPS.get(findings.counter, findings.counter), "axis": ticks}
    y = {
        "field": "v", "type": "quantitative", "title": metric(findings),
        "axis": {"tickCount": 5, "format": ".3~g", "titleLimit": TITLE},
        "scale": {"domain": domain, "nice": True, "zero": False},
    }  # fmt: skip
    scale = {"domain": [0, 1], "range": [color(0), color(1)]}
    shade = {"field": "w", "type": "nominal", "scale": scale, "legend": None}
    dashes = {"field": "w", "type": "nominal", "scale": {"domain": [0, 1], "range": [dash(0), dash(1)]}, "legend": None}
    return {
        "layer": [
            {
                "data": {"values": thin},
                "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.35},
                "encoding": {"x": x, "y": y, "color": shade, "detail": {"field": "r", "type": "nominal"}},
            },
            {
                "data": {"values": thick},
                "mark": {"type": "line", "strokeWidth": 3},
                "encoding": {"x": x, "y": y, "color": shade, "strokeDash": dashes},
            },
        ]
    }


def mean_curve(told: Sequence[Curve]) -> Curve:
    """The mean at each step that all runs logged.

    Example:
        >>> mean_curve([[(0, 1.0), (1, 2.0)], [(0, 3.0)]])
        [(0, 2.0)]
    """
    known = [dict(curve) for curve in told]
    steps = sorted(set.intersection(*(set(curve) for curve in known))) if known else []
    return [(step, fmean(curve[step] for curve in known)) for step in steps]


def thinned(curve: Sequence[T], most: int) -> list[T]:
    """At most this many points, including the first and the last."""
    if len(curve) <= most:
        return list(curve)
    return [curve[round(i * (len(curve) - 1) / (most - 1))] for i in range(most)]


# ---- learning rates ------------------------------------------------------------------------------------------------


def rates(findings: StudyFindings, prefix: str) -> Chart | None:
    """The metric of each contender at each learning rate, on the seeds used only for this choice."""
    found = _means(findings)
    factors = sorted({factor for _, factor in found})
    if len(factors) < 2:
        return None
    order = [BASELINE, *(verdict.activation for verdict in wording.rows(findings))]
    tuned = {name for name, _ in found}
    names = [name for name in order if name in tuned][:MOST_ROWS]
    chosen = {verdict.activation: verdict.lr_factor for verdict in findings.verdicts}
    chosen[BASELINE] = next((verdict.baseline_lr_factor for verdict in findings.verdicts), math.nan)
    rows: Rows = [
        {"name": name_of(name), "factor": factor, "value": value, "chosen": int(chosen.get(name) == factor)}
        for (name, factor), value in sorted(found.items())
        if name in names
    ]
    return Chart(
        name=f"{prefix}rates",
        title="Learning rates that were tried",
        description="The chosen rate of each has a dot.",
        spec=_rates_spec(
            rows,
            [name_of(name) for name in names],
            {f: wording.learning_rate(findings, f) for f in factors},
            _tuned_by(findings),
        ),
        columns=("contender", *(wording.learning_rate(findings, factor) for factor in factors), "chosen"),
        rows=[
            (
                name_of(name),
                *(cell(found[name, factor]) if (name, factor) in found else wording.NONE for factor in factors),
                wording.learning_rate(findings, chosen.get(name, math.nan)),
            )
            for name in names
        ],
        height=320,
        width=760,
    )


def _rates_spec(rows: Rows, names: Sequence[str], labels: Mapping[float, str], title: str) -> dict[str, Any]:
    """A line a contender over the factors, with a dot at the one that was chosen."""
    x: dict[str, Any] = {
        "field": "factor", "type": "quantitative", "title": "learning rate, times the script's own",
        "scale": {"type": "log", "domain": [min(labels), max(labels)]},
        "axis": {"values": list(labels), "labelExpr": f"{_text(labels)}[datum.value]", "labelOverlap": True},
    }  # fmt: skip
    axis = {"tickCount": 5, "format": ".3~g", "titleLimit": TITLE}
    y = {"field": "value", "type": "quantitative", "title": title, "scale": {"zero": False}, "axis": axis}
    legend: dict[str, Any] = {"title": None, "orient": "top", "columns": 3, "labelLimit": 160, "symbolType": "stroke"}
    legend |= {"symbolSize": 400, "symbolStrokeWidth": 2.5}

    def by_name(shades: Sequence[Any]) -> dict[str, Any]:
        scale = {"domain": list(names), "range": list(shades)}
        return {"field": "name", "type": "nominal", "scale": scale, "legend": legend}

    shade = by_name([color(i) for i in range(len(names))])
    tips: Rows = [
        {"field": "name", "title": "contender"}, {"field": "factor", "format": "~g"},
        {"field": "value", "format": ".4~g"},
    ]  # fmt: skip
    stroke = by_name([dash(i) for i in range(len(names))])
    line = {
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {"x": x, "y": y, "color": shade, "strokeDash": stroke},
    }
    dot = {
        "transform": [{"filter": "datum.chosen == 1"}],
        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
        "encoding": {"x": x, "y": y, "color": shade, "tooltip": tips},
    }
    return {"data": {"values": rows}, "layer": [line, dot]}


def _text(labels: Mapping[float, str]) -> str:
    """Labels by their values, as an expression of Vega."""
    return json.dumps({repr(value).removesuffix(".0"): label for value, label in labels.items()}, ensure_ascii=False)


def _tuned_by(findings: StudyFindings) -> str:
    return wording.short(findings.design.tune_metric or findings.design.metric, 40)


def _means(findings: StudyFindings) -> dict[tuple[str, float], float]:
    """The mean over the tuning runs, by contender and factor."""
    found: dict[tuple[str, float], list[float]] = {}
    for name, factor, value in _tried(findings):
        found.setdefault((name, factor), []).append(value)
    return {key: fmean(values) for key, values in found.items()}


def _tried(findings: StudyFindings) -> Iterator[tuple[str, float, float]]:
    """(contender, factor, value) of the runs that tuned."""
    metric = findings.design.tune_metric
    for trial in findings.trials:
        if trial.key.stage != "tune":
            continue
        value = findings.values.get(trial.key, math.nan)
        if metric not in ("", findings.design.metric):
            curve = trial.metrics.get(metric, ())
            value = curve[-1][1] if curve else math.nan
        if trial.status == "finished" and math.isfinite(value):
            yield trial.key.activation, trial.key.lr_factor, value

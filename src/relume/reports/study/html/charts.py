"""The charts of a study: differences with their intervals, paired seeds, cost and quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from relume.artifacts.numbers import percent
from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.trial import BASELINE, Verdict
from relume.reports.study import wording
from relume.theme import Chart
from relume.theme.palette import token

CALLS = {
    "better": (token("healthy"), "triangle-up"),
    "equivalent": (token("always-on"), "square"),
    "undecided": (token("unknown"), "circle"),
    "worse": (token("dead"), "triangle-down"),
}
"""Color and shape of a verdict."""

ROW, REST = 34, 90
"""Height of a contender's row in a chart, and of everything around the rows."""

TITLE = 280
"""Length of an axis title in points: a narrow window has no more."""

MOST_ROWS = 40
"""Contenders in a chart; the table has all."""

Rows = list[dict[str, Any]]


def name_of(activation: str, most: int = 28) -> str:
    """A contender's name if there is little room."""
    return wording.short(activation, most)


def metric(findings: StudyFindings) -> str:
    """The metric's name if there is little room."""
    return wording.short(findings.design.metric, 40)


def _known(findings: StudyFindings) -> list[Verdict]:
    """The verdicts with a difference, the best first."""
    return [verdict for verdict in wording.rows(findings) if math.isfinite(verdict.difference)][:MOST_ROWS]


# ---- differences ---------------------------------------------------------------------------------------------------


def differences(findings: StudyFindings, prefix: str) -> Chart | None:
    """Each contender's difference from the baseline with both of its intervals."""
    told = _known(findings)
    if not told or not findings.confirmed:
        return None
    return Chart(
        name=f"{prefix}differences",
        title=f"Difference from {wording.baseline(findings)}",
        description="; ".join(f"{name_of(v.activation)} {v.verdict} by {v.difference:.3g}" for v in told[:12]),
        spec=_difference_spec(findings, told),
        columns=(
            "contender", "verdict", "difference", "95 % interval, one contender", "95 % interval, all together",
            "p (Holm)", "p (sign flips)", "better in", "n",
        ),
        rows=[_difference_cells(v, wording.spread(findings)) for v in told],
        height=ROW * len(told) + REST,
        width=760,
    )  # fmt: skip


def _difference_spec(findings: StudyFindings, told: Sequence[Verdict]) -> dict[str, Any]:
    digits = wording.spread(findings)
    rows: Rows = [
        {
            "name": name_of(v.activation), "difference": v.difference, "low": v.ci[0], "high": v.ci[1],
            "wide_low": v.ci_simultaneous[0], "wide_high": v.ci_simultaneous[1], "verdict": v.verdict,
            "alone": wording.interval(v.ci, digits), "all": wording.interval(v.ci_simultaneous, digits),
        }
        for v in told
    ]  # fmt: skip
    less = " (less is better)" if findings.design.mode == "min" else ""
    x = _x("difference", f"difference in {metric(findings)}{less}")
    y, shade = _y([name_of(v.activation) for v in told]), _verdicts()
    tips = [
        {"field": "name", "title": "contender"},
        {"field": "difference", "type": "quantitative", "format": ".4~g"},
        {"field": "alone", "title": "95 % interval, one contender"},
        {"field": "all", "title": "95 % interval, all together"},
        {"field": "verdict"},
    ]
    point = {"type": "point", "filled": True, "size": 170, "opacity": 1, "stroke": token("paper")}
    layers: list[dict[str, Any]] = [
        *_delta(findings),
        _zero("x"),
        _bar(x, y, shade, "wide_low", "wide_high", 1.5),
        _bar(x, y, shade, "low", "high", 5),
        _seeds(x, y, _paired(findings, told)),
        {"mark": point, "encoding": {"x": x, "y": y, "tooltip": tips, **shade, "shape": _shapes()}},
    ]
    return {"data": {"values": rows}, "layer": layers}


def _difference_cells(v: Verdict, digits: float) -> tuple[Any, ...]:
    return (
        name_of(v.activation), v.verdict, wording.signed(v.difference, digits), wording.interval(v.ci, digits),
        wording.interval(v.ci_simultaneous, digits), wording.p_value(v.p_holm), wording.p_value(v.p_sign_flip),
        _share(v.p_better), v.n,
    )  # fmt: skip


def _share(value: float) -> str:
    return f"{percent(value, 0)} of pairs" if math.isfinite(value) else wording.NONE


def _bar(
    x: dict[str, Any], y: dict[str, Any], shade: dict[str, Any], low: str, high: str, wide: float
) -> dict[str, Any]:
    return {
        "mark": {"type": "rule", "strokeWidth": wide, "strokeCap": "butt", "opacity": 0.9},
        "encoding": {"x": x | {"field": low}, "x2": {"field": high}, "y": y, "color": shade["color"]},
    }


def _delta(findings: StudyFindings) -> list[dict[str, Any]]:
    """The band in which a difference would not matter."""
    delta = findings.design.delta
    if delta is None:
        return []
    return [
        {
            "data": {"values": [{"from": -delta, "to": delta}]},
            "mark": {"type": "rect", "color": token("edge"), "opacity": 0.13},
            "encoding": {"x": {"field": "from", "type": "quantitative"}, "x2": {"field": "to"}},
        }
    ]


def _zero(axis: str) -> dict[str, Any]:
    return {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "color": token("edge"), "strokeWidth": 1.5},
        "encoding": {axis: {"field": "zero", "type": "quantitative"}},
    }


def _x(field: str, title: str) -> dict[str, Any]:
    axis = {"tickCount": 6, "format": ".4~g", "titleLimit": TITLE}
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": {"zero": True}}


def _y(names: Sequence[str]) -> dict[str, Any]:
    axis = {"labelLimit": 150, "title": None, "ticks": False, "grid": True, "labelPadding": 10}
    return {"field": "name", "type": "nominal", "sort": list(dict.fromkeys(names)), "axis": axis}


def _verdicts() -> dict[str, Any]:
    scale = {"domain": list(CALLS), "range": [shade for shade, _ in CALLS.values()]}
    return {"color": {"field": "verdict", "type": "nominal", "scale": scale, "legend": None}}


def _shapes() -> dict[str, Any]:
    scale = {"domain": list(CALLS), "range": [shape for _, shape in CALLS.values()]}
    return {"field": "verdict", "type": "nominal", "scale": scale, "legend": None}


# ---- paired seeds --------------------------------------------------------------------------------------------------


def seed_table(findings: StudyFindings) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and rows: on each seed the metric of the baseline and of each contender; no rows before a verdict."""
    found = [(v.activation, {pair.seed: pair for pair in findings.pairs(v.activation)}) for v in _known(findings)]
    base = {seed: pair.baseline for _, pairs in found for seed, pair in pairs.items()}
    heads = ("seed", BASELINE, *(name_of(name) for name, _ in found))
    if not findings.confirmed:
        return heads, []
    return heads, [
        (str(seed), cell(base[seed]), *(cell(pairs[seed].activation) if seed in pairs else "" for _, pairs in found))
        for seed in sorted(base)
    ]


def _paired(findings: StudyFindings, told: Sequence[Verdict]) -> Rows:
    """Each contender's difference from the baseline on each seed."""
    return [
        {
            "name": name_of(verdict.activation), "verdict": verdict.verdict, "seed": pair.seed,
            "difference": pair.activation - pair.baseline,
        }
        for verdict in told
        for pair in findings.pairs(verdict.activation)
    ]  # fmt: skip


def _seeds(x: dict[str, Any], y: dict[str, Any], rows: Rows) -> dict[str, Any]:
    """A ring for each seed."""
    tips = [{"field": "name", "title": "contender"}, {"field": "seed"}, {"field": "difference", "format": ".4~g"}]
    mark = {"type": "point", "size": 26, "fill": token("paper"), "strokeWidth": 1.2, "opacity": 0.8}
    encoding = {"x": x, "y": y, "tooltip": tips, "stroke": _verdicts()["color"]}
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def cell(value: float) -> str:
    """A number in the data table of a chart."""
    return wording.number(value)


# ---- cost ----------------------------------------------------------------------------------------------------------


def cost(findings: StudyFindings, prefix: str) -> Chart | None:
    """Time of a run against quality."""
    if not findings.confirmed:
        return None
    found = []
    for verdict in _known(findings):
        mine, theirs = (verdict.cost.get(who, {}).get("seconds") for who in ("activation", "baseline"))
        if mine and theirs:
            found.append((verdict, mine / theirs))
    if not found:
        return None
    rows: Rows = [
        {"name": name_of(v.activation, 18), "time": time, "difference": v.difference, "low": v.ci[0], "high": v.ci[1],
         "verdict": v.verdict}
        for v, time in found
    ]  # fmt: skip
    base: Rows = [{"name": BASELINE, "time": 1.0, "difference": 0.0}]
    low, high = min(1.0, *(time for _, time in found)), max(1.0, *(time for _, time in found))
    wide = max(high - low, 0.05)
    x = {
        "field": "time", "type": "quantitative", "title": "time of a run, times the baseline's",
        "scale": {"domain": [low - 0.2 * wide, high + 0.2 * wide], "nice": False},
        "axis": {"tickCount": 6, "format": ".3~g"},
    }  # fmt: skip
    y = _x("difference", f"difference in {metric(findings)}") | {
        "axis": {"tickCount": 5, "format": ".3~g", "titleLimit": TITLE}
    }
    shade, shape = _verdicts()["color"], _shapes()
    below: dict[str, Any] = {"align": "center", "dx": 0, "dy": 20}
    right = f"datum.time > {(low + high) / 2}"  # there a name is to the left of its dot, or it would be cut
    label: dict[str, Any] = {"type": "text", "dy": -9, "fontSize": 13, "color": token("ink")}
    label |= {"align": {"expr": f"{right} ? 'right' : 'left'"}, "dx": {"expr": f"{right} ? -9 : 9"}}
    point: dict[str, Any] = {"type": "point", "filled": True, "size": 110, "opacity": 1}
    whole = {"x": x, "y": y}
    spec = {
        "data": {"values": rows},
        "layer": [
            _zero("y"),
            {"mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6},
             "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": shade}},
            {"mark": point, "encoding": {**whole, "color": shade, "shape": shape}},
            {"mark": label, "encoding": {**whole, "text": {"field": "name"}}},
            {"data": {"values": base}, "mark": {**point, "color": token("ink"), "shape": "diamond"}, "encoding": whole},
            {"data": {"values": base}, "mark": label | below, "encoding": {**whole, "text": {"field": "name"}}},
        ],
    }  # fmt: skip
    return Chart(
        name=f"{prefix}cost",
        title="Time and quality",
        description=f"A run of the baseline took {_seconds(findings)}. Right: costs more. Up: has more of the metric.",
        spec=spec,
        columns=("contender", "time, times the baseline's", "difference"),
        rows=[(name_of(v.activation), f"×{time:.2f}", wording.signed(v.difference)) for v, time in found],
        height=340,
        width=760,
    )


def _seconds(findings: StudyFindings) -> str:
    told = [v.cost["baseline"]["seconds"] for v in findings.verdicts if v.cost.get("baseline", {}).get("seconds")]
    return f"{median(told):.3g} s" if told else "an unknown time"

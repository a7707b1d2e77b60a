"""The charts of a run, as Vega-Lite specifications: what died when, learning rates, loss, firing rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relume.artifacts.findings import Change, Findings, Judged, Timeline
from relume.artifacts.numbers import percent
from relume.reports.run.html.story import shown
from relume.reports.run.states import BINS, histogram
from relume.theme import Chart, color, dash
from relume.theme.palette import token

MOST_LINES = 5
"""Sites with their own line in addition to the total: more could not be distinguished."""

MOST_POINTS = 200
"""Points of a line: more would not show."""

MOST_DOTS = 60
"""Points of a line that are marked, and say their numbers when pointed at."""

FEW = 6
"""Up to this many, an axis has a mark for each number."""

WIDE = 1_000
"""Losses that differ by more than this factor are drawn on a log scale; otherwise the curve would lie on the axis."""

EXTENT = 64
"""Width of the left axes in points, so that the steps of all charts line up."""

Rows = list[dict[str, Any]]


def timeline(clock: Timeline, sites: Sequence[Judged], names: Mapping[str, str], of: str = "") -> list[Chart]:
    """The charts over the steps of a clock: dead units of its sites, learning rates that change, loss.

    ``of``: what the clock steps, for the titles, if there are several.
    """
    found = [_deaths(clock, sites, names), _rates(clock), _loss(clock)]
    told = f" of {of}" if of else ""
    return [replace(chart, title=f"{chart.title}{told}") for chart in found if chart is not None]


def _deaths(clock: Timeline, sites: Sequence[Judged], names: Mapping[str, str]) -> Chart | None:
    hit = sorted((judged for judged in sites if judged.events), key=lambda j: -len({unit for unit, _, _ in j.events}))
    if not hit:
        return None
    steps = _thinned(sorted({0, clock.steps, *(step for judged in hit for _, step, _ in judged.events)}))
    total = _dead_at(hit, steps)
    if not any(total):
        return None  # what died is NaN now
    drawn = [("all sites", total)] if len(hit) > 1 else []
    drawn += [(shown(names[judged.site.key], 40), _dead_at([judged], steps)) for judged in hit[:MOST_LINES]]
    rows = [
        {"step": step, "dead": number, "site": name}
        for name, numbers in drawn
        for step, number in zip(steps, numbers, strict=True)
    ]
    area = [{"step": step, "dead": number} for step, number in zip(steps, total, strict=True)]
    spec = {
        "layer": [
            {
                "data": {"values": area},
                "mark": {"type": "area", "interpolate": "step-after", "color": token("dead"), "opacity": 0.14},
                "encoding": {"x": steps_axis(clock.steps), "y": _quantity("dead", "dead units", top=max(total))},
            },
            lines(
                rows, "dead", "site", [name for name, _ in drawn], steps_axis(clock.steps), "dead units", top=max(total)
            ),
        ]
    }
    return Chart(
        name=f"deaths-{clock.clock}",
        title="Dead units",
        description=f"{total[-1]} units were dead at the end, after {clock.steps:,} steps; "
        f"{max(total)} at most at any time.",
        spec=spec,
        columns=("step", *(name for name, _ in drawn)),
        rows=[(step, *(numbers[i] for _, numbers in drawn)) for i, step in enumerate(steps)],
        height=300,
        width=760,
    )


def _dead_at(sites: Sequence[Judged], steps: Sequence[int]) -> list[int]:
    """How many units of these sites were dead at each step, by their events; at the last one as they are judged now."""
    changes = sorted(
        (step, 1 if kind == "died" else -1)
        for judged in sites
        for unit, step, kind in judged.events
        if not judged.mortal or judged.mortal[unit]
    )
    count = np.cumsum([0, *(change for _, change in changes)])
    places = np.searchsorted([step for step, _ in changes], steps[:-1], side="right")
    return [*count[places].tolist(), sum(len(judged.dead) for judged in sites)]


def dead_over_steps(findings: Findings) -> list[tuple[int, int]]:
    """(step, dead units of all sites from that step) of a run; the sites of several optimizers by their own steps."""
    hit = [judged for judged in findings.sites if judged.events]
    last = max([findings.run["steps"], *(step for judged in hit for _, step, _ in judged.events)])
    steps = _thinned(sorted({0, last, *(step for judged in hit for _, step, _ in judged.events)}))
    numbers = _dead_at(hit, steps) if hit else [0] * len(steps)
    numbers[-1] = sum(len(judged.dead) for judged in findings.sites)
    return list(zip(steps, numbers, strict=True))


def _thinned(steps: Sequence[int]) -> list[int]:
    """At most one step per point of the chart's width; the first and the last stay."""
    if len(steps) <= MOST_POINTS:
        return list(steps)
    return [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int))]


def _rates(clock: Timeline) -> Chart | None:
    groups = _groups(clock.rates)
    if len(clock.rates) < 2 or not groups:
        return None  # constant: the words say so
    names = [f"group {group}" if len(groups) > 1 else "learning rate" for group in groups]
    ends = [*clock.rates, (clock.steps, clock.rates[-1][1])]  # the last ones stay to the end
    rows: Rows = [
        {"step": step, "rate": rates[group], "group": name}
        for group, name in zip(groups, names, strict=True)
        for step, rates in ends
        if group < len(rates) and np.isfinite(rates[group])
    ]
    first, last = ([rates[groups[0]] for _, rates in ends if groups[0] < len(rates)][place] for place in (0, -1))
    return Chart(
        name=f"rates-{clock.clock}",
        title="Learning rate",
        description=f"From {first:.3g} to {last:.3g}, in {len(clock.rates) - 1:,} changes.",
        spec=lines(rows, "rate", "group", names, steps_axis(clock.steps), "learning rate", steps=True),
        columns=("from step", *names),
        rows=[
            (step, *(_number(rates[group] if group < len(rates) else None) for group in groups))
            for step, rates in clock.rates
        ],
        height=150,
        width=760,
    )


def _groups(changes: Sequence[Change]) -> list[int]:
    """The parameter groups whose rates differ from the earlier groups, at most four."""
    width = max((len(rates) for _, rates in changes), default=0)
    different: dict[tuple[float, ...], int] = {}
    for group in range(width):
        different.setdefault(tuple(rates[group] for _, rates in changes if group < len(rates)), group)
    return list(different.values())[:4]


def constant_rates(clock: Timeline) -> str:
    """The learning rates if none of them ever changed, in words; else ""."""
    if len(clock.rates) != 1:
        return ""
    return " and ".join(f"{clock.rates[0][1][group]:.3g}" for group in _groups(clock.rates))


def _loss(clock: Timeline) -> Chart | None:
    known = [point for point in clock.losses if point.finite]
    if len(known) < 2:
        return None
    description = (
        f"{known[0].mean:.3g} at first, {known[-1].mean:.3g} at the end, {min(p.low for p in known):.3g} at the lowest"
    )
    if clock.loss_non_finite_since is not None:
        description += f"; first NaN or infinite at step {clock.loss_non_finite_since:,}"
    return Chart(
        name=f"loss-{clock.clock}",
        title="Loss",
        description=f"{description}.",
        spec=_curve(clock),
        columns=("from step", "to step", "losses", "mean", "lowest", "highest", "NaN or infinite"),
        rows=[
            (p.first_step, p.last_step, p.number, *map(_number, (p.mean, p.low, p.high)), p.non_finite)
            for p in clock.losses
        ],
        height=170,
        width=760,
    )


def _curve(clock: Timeline) -> dict[str, Any]:
    """The loss as it was: a line with a gap at each loss that is not finite, and a band from the lowest to the highest.

    A mark shows the first step whose loss was not finite.
    """
    rows: Rows = []
    piece = 0
    for point in clock.losses:
        if point.finite:
            rows.append(
                {"step": point.last_step, "loss": point.mean, "low": point.low, "high": point.high, "piece": piece}
            )
        piece += bool(point.non_finite)
    x, detail = steps_axis(clock.steps), {"field": "piece", "type": "nominal"}
    wide = _is_wide(rows)
    y, low = (_quantity(field, "loss", wide=wide) for field in ("loss", "low"))
    alone = [row for place, row in enumerate(rows) if _is_alone(rows, place)]
    shade = color(0)
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "area", "color": shade, "opacity": 0.2, "clip": True},
         "encoding": {"x": x, "y": low, "y2": {"field": "high"}, "detail": detail}},
        {"mark": {"type": "line", "color": shade, "clip": True}, "encoding": {"x": x, "y": y, "detail": detail}},
        {"data": {"values": alone}, "mark": {"type": "point", "filled": True, "size": 20, "opacity": 1, "color": shade},
         "encoding": {"x": x, "y": y}},
    ]  # fmt: skip
    if clock.loss_non_finite_since is not None:
        layers.append(
            {
                "data": {"values": [{"step": clock.loss_non_finite_since}]},
                "mark": {"type": "rule", "color": token("dead"), "strokeWidth": 2, "strokeDash": [4, 3]},
                "encoding": {"x": x},
            }
        )
    return {"data": {"values": rows}, "layer": layers}


def _is_wide(rows: Rows) -> bool:
    """Whether the losses need a scale of logarithms: they are positive and differ a thousandfold."""
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    return bool(0 < low and high > WIDE * low)


def _is_alone(rows: Rows, place: int) -> bool:
    """Whether a point has no neighbor to draw a line to."""
    near = [rows[n]["piece"] for n in (place - 1, place + 1) if 0 <= n < len(rows)]
    return rows[place]["piece"] not in near


def distribution(name: str, title: str, judged: Judged) -> Chart:
    """How often the units of a site fire; ``title``: the site's name."""
    bins, never, x = _densities(judged.firing_rate) if judged.site.code else _shares(judged.firing_rate)
    silent, span = never[0]["units"], "run" if judged.site.code else "latest window"
    tips: Rows = [{"field": "rate", "title": "fires"}, {"field": "units", "title": "units"}]
    top = max(row["units"] for row in [*never, *bins])

    def bars(rows: Rows, shade: str) -> dict[str, Any]:
        return {
            "data": {"values": rows},
            "mark": {"type": "bar", "color": shade, "binSpacing": 1},
            "encoding": {
                "x": {"field": "low", **x},
                "x2": {"field": "high"},
                "y": _quantity("units", "units", top=top),
                "y2": {"datum": 0},
                "tooltip": tips,
            },
        }

    return Chart(
        name=name,
        title=f"How often the units of {shown(title, 60)} fire",
        description=f"{silent:,} of {judged.site.units:,} units never fired in the {span}.",
        spec={"layer": [bars(bins, token("always-on")), bars(never, token("dead"))]},
        columns=("fires on", "units"),
        rows=[("never", silent), *((row["rate"], row["units"]) for row in bins)],
        height=220,
        width=420,
    )


def _shares(rates: Sequence[float | None]) -> tuple[Rows, Rows, dict[str, Any]]:
    """The bars of units by the share of samples they fire on, the bar of units that never fire, and the axis."""
    silent, *above = histogram(rates)
    bins: Rows = [{"low": i / BINS, "high": (i + 1) / BINS, "units": number} for i, number in enumerate(above)]
    for row in bins:
        row["rate"] = f"{percent(row['low'], 0)} to {percent(row['high'], 0)}"
    x: dict[str, Any] = {"type": "quantitative", "title": "share of the samples", "scale": {"domain": [-0.05, 1]}}
    x["axis"] = {
        "labelExpr": "format(100 * datum.value, '~g') + ' %'",
        "values": [0, 0.25, 0.5, 0.75, 1],
        "grid": False,
    }
    return bins, [{"low": -0.045, "high": -0.005, "units": silent, "rate": "never"}], x


def _densities(rates: Sequence[float | None]) -> tuple[Rows, Rows, dict[str, Any]]:
    """The same for a sparse code: its firing densities by their log10, in quarters of a decade."""
    known = np.array([rate for rate in rates if rate is not None], float)
    logs = np.log10(known[known > 0])
    lowest = min(int(np.floor(logs.min(initial=0.0))), -1)
    edges = np.linspace(lowest, 0, -4 * lowest + 1)
    numbers = np.histogram(logs, bins=edges)[0].tolist()
    bins: Rows = [
        {"low": low, "high": high, "units": number, "rate": f"{10**low:.2g} to {10**high:.2g} of the tokens"}
        for low, high, number in zip(edges[:-1].tolist(), edges[1:].tolist(), numbers, strict=True)
    ]
    never = [{"low": lowest - 0.4, "high": lowest - 0.1, "units": int((known == 0).sum()), "rate": "never"}]
    x: dict[str, Any] = {"type": "quantitative", "title": "log10 of the share of the tokens"}
    x |= {"scale": {"domain": [lowest - 0.5, 0]}, "axis": {"values": list(range(lowest, 1)), "grid": False}}
    return bins, never, x


def lines(
    rows: Rows,
    field: str,
    by: str,
    names: Sequence[str],
    x: dict[str, Any],
    title: str,
    *,
    top: int | None = None,
    steps: bool = False,
) -> dict[str, Any]:
    """Lines with their own color and dash, a legend if there are several, and points with tooltips.

    ``steps``: draw steps. ``top``: draw counts as steps from 0 to this largest one.
    """
    legend: dict[str, Any] | None = None
    if len(names) > 1:
        legend = {"title": None, "orient": "top", "columns": 2, "labelLimit": 260}
        legend |= {"symbolType": "stroke", "symbolSize": 500, "symbolStrokeWidth": 2.5}
    scales = {
        "color": {
            "field": by, "type": "nominal", "legend": legend,
            "scale": {"domain": list(names), "range": [color(i) for i in range(len(names))]},
        },
        "strokeDash": {
            "field": by, "type": "nominal", "legend": legend,
            "scale": {"domain": list(names), "range": [dash(i) for i in range(len(names))]},
        },
    }  # fmt: skip
    tips = [{"field": by, "type": "nominal"}, {"field": "step"}, {"field": field, "title": title, "format": ".4~g"}]
    y = _quantity(field, title, top=top)
    mark = {"type": "line", "interpolate": "step-after" if steps or top is not None else "linear", "clip": True}
    layers: list[dict[str, Any]] = [{"mark": mark, "encoding": {"x": x, "y": y, **scales}}]
    if top is None and len(rows) <= MOST_DOTS:
        points = {"type": "point", "filled": True, "size": 30, "opacity": 1}
        layers.append({"mark": points, "encoding": {"x": x, "y": y, "tooltip": tips, "color": scales["color"]}})
    return {"data": {"values": rows}, "layer": layers}


def steps_axis(last: int) -> dict[str, Any]:
    """The axis of the steps, from 0 to the last one."""
    scale = {"domain": [0, max(last, 1)], "nice": False}
    axis = {"format": ",d", "tickCount": 6}
    return {"field": "step", "type": "quantitative", "title": "step", "scale": scale, "axis": axis}


def _quantity(field: str, title: str, *, top: int | None = None, wide: bool = False) -> dict[str, Any]:
    """The axis at the left; ``top``: of something that is counted from 0. ``wide``: a scale of logarithms."""
    axis: dict[str, Any] = {"minExtent": EXTENT, "maxExtent": EXTENT, "tickCount": 4, "format": ".4~g"}
    scale: dict[str, Any] = {"type": "log"} if wide else {"zero": False}
    if top is not None:
        axis |= {"format": ",d", "tickMinStep": 1}
        scale = {"domain": [0, max(top, 1) * 1.06], "nice": False}
        if top <= FEW:
            axis["values"] = list(range(max(top, 1) + 1))
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": scale}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"

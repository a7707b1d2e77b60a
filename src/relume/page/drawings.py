"""The charts of the page as it opens; its scripts give them new rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from relume.activations import ACTIVATIONS, NUMPY, Activation
from relume.artifacts.numbers import percent
from relume.page import depth
from relume.page.contents import CHOSEN, SHOWN, SPAN, in_layers, signed
from relume.page.normal import shares
from relume.theme import Chart, altair, color, dash
from relume.theme.palette import token

SAMPLES = 261
"""One per 0.05 of x."""

JUMP = 1e-3
"""Two sides of a kink whose slopes differ by less are drawn as one line."""

TABLED = 10
"""Every n-th sample is in the table."""


def points(a: Activation, part: str) -> list[dict[str, Any]]:
    """Sample ``value`` or ``slope`` as rows of x, y, low, high, curve, piece and dot, as the scripts do.

    A random slope spreads from ``low`` to ``high``; otherwise both are y. A new ``piece`` starts after a jump; the
    value at the jump itself is a row with ``dot`` true.
    """
    settled = a.defaults()
    kinks = [float(kink.at) for kink in a.kinks]
    sides = [np.nextafter(k, toward) for k in kinks for toward in (-np.inf, np.inf)]
    x = np.unique(np.concatenate([np.linspace(*SPAN, SAMPLES), kinks, sides]))
    function = getattr(a, part)
    y = function(x, NUMPY, **settled)
    jumps = [k for k in kinks if abs(np.diff(function(np.nextafter(k, [-np.inf, np.inf]), NUMPY, **settled))[0]) > JUMP]
    ends = (
        [function(x, NUMPY, **settled, slopes=settled[bound]) for bound in ("lower", "upper")] if a.random else [y, y]
    )
    return [
        {
            "x": float(x[i]),
            "y": float(y[i]),
            "low": float(min(ends[0][i], ends[1][i])),
            "high": float(max(ends[0][i], ends[1][i])),
            "curve": a.name,
            "piece": int(sum(x[i] > k for k in jumps)),
            "dot": bool(x[i] in jumps),
        }
        for i in range(x.size)
    ]


def scales(alt: Any) -> dict[str, Any]:
    """Color and dash by activation, the same in every chart."""
    names = [a.name for a in SHOWN]
    places = range(len(names))
    return {
        "color": alt.Color("curve:N", scale=alt.Scale(domain=names, range=[color(i) for i in places]), legend=None),
        "strokeDash": alt.StrokeDash(
            "curve:N", scale=alt.Scale(domain=names, range=[dash(i) for i in places]), legend=None
        ),
    }


def curve(part: str) -> Chart:
    """The values, or the slopes, over x."""
    alt = altair()
    title = {"value": "f(x)", "slope": "f′(x)"}[part]
    rows = [row for name in in_layers(CHOSEN) for row in points(ACTIVATIONS[name], part)]
    x = alt.X("x:Q", title="x", scale=alt.Scale(domain=list(SPAN), nice=False))
    y = alt.Y("y:Q", title=title)
    base = alt.Chart()
    zero = [
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color=token("edge")).encode(**{axis: "zero:Q"})
        for axis in "xy"
    ]
    band = base.mark_area(opacity=0.25, clip=True).encode(
        x=x, y=alt.Y("low:Q", title=title), y2="high:Q", detail="piece:N", color=scales(alt)["color"]
    )
    line = base.mark_line(clip=True).encode(x=x, y=y, detail="piece:N", **scales(alt))
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y, color=scales(alt)["color"])
    probe = alt.Chart(alt.Data(name="probe", values=[]))
    reading = probe.mark_rule(color=token("accent"), strokeWidth=1.5).encode(x="x:Q")
    marks = probe.mark_point(filled=True, size=90, opacity=1).encode(x="x:Q", y="y:Q", color=scales(alt)["color"])
    drawing = alt.layer(
        *zero,
        band.transform_filter("datum.low < datum.high"),
        line.transform_filter("!datum.dot"),
        dots.transform_filter("datum.dot"),
        reading,
        marks,
        data=alt.Data(name="curves", values=rows),
    )
    return Chart(
        part,
        {"value": "Value, f(x)", "slope": "Slope, f′(x)"}[part],
        "A line for each chosen activation over x from −5 to 8; a band if the slope is random.",
        drawing.to_dict(),
        *_tabled(part),
        height=340,
        fed=True,
    )


def _tabled(part: str) -> tuple[list[str], list[list[str]]]:
    x = np.linspace(*SPAN, SAMPLES)[::TABLED]
    chosen = [ACTIVATIONS[name] for name in CHOSEN]
    columns = [getattr(a, part)(x, NUMPY, **a.defaults()) for a in chosen]
    rows = [[signed(v), *(signed(float(column[i])) for column in columns)] for i, v in enumerate(x.tolist())]
    return ["x", *(a.title for a in chosen)], rows


SHOWN_WITHIN = (1e-12, 1e12)
"""The depth view's figures; beyond, a line ends at the edge."""


POWER = "replace(replace(format(datum.value, '.0e'), '+', ''), '-', '−')"
"""1e4 and 1e−8, in Vega's language."""


def outputs() -> Chart:
    """The shares of outputs, for an input of N(0, 1)."""
    alt = altair()
    rows = [row for name in in_layers(CHOSEN) for row in shares(ACTIVATIONS[name])]
    base = alt.Chart(alt.Data(name="outputs", values=rows))
    line = base.mark_line(interpolate="step", clip=True).encode(
        x=alt.X(
            "y:Q",
            title="output f(x), in bins of 0.25",
            scale=alt.Scale(domain=[-3, 5], nice=False),
            axis=alt.Axis(tickCount=8),
        ),
        y=alt.Y("share:Q", title="share of outputs", axis=alt.Axis(labelExpr="format(100 * datum.value, '~g') + ' %'")),
        **scales(alt),
    )
    by = {name: shares(ACTIVATIONS[name]) for name in CHOSEN}
    bins = [row["y"] for row in by[CHOSEN[0]]]
    table = [[signed(y), *(percent(by[name][i]["share"], 1) for name in CHOSEN)] for i, y in enumerate(bins)]
    return Chart(
        "outputs",
        "Outputs for a normal input",
        "For each chosen activation, the share of outputs in each bin; ReLU and similar ones have a spike at 0.",
        line.to_dict(),
        ["output", *(ACTIVATIONS[name].title for name in CHOSEN)],
        table,
        height=300,
        fed=True,
    )


def travelled(part: str) -> Chart:
    """How far the signal, or the gradient, carries: mean squares over the layers."""
    alt = altair()
    side = ("forward", "backward").index(part)
    by = {name: depth.travel(ACTIVATIONS[name])[side] for name in CHOSEN}
    rows = [
        {"layer": i + 1, "size": min(max(size, SHOWN_WITHIN[0]), SHOWN_WITHIN[1]), "curve": name}
        for name in in_layers(by)
        for i, size in enumerate(by[name])
    ]
    title = {"forward": "Signal: E[z²] of each layer", "backward": "Gradient: E[(∂L/∂z)²] of each layer"}[part]
    base = alt.Chart(alt.Data(name="sizes", values=rows))
    even = alt.Chart(alt.Data(values=[{"one": 1}])).mark_rule(color=token("edge")).encode(y="one:Q")
    line = base.mark_line(clip=True).encode(
        x=alt.X("layer:Q", title="layer", scale=alt.Scale(domain=[1, depth.LAYERS], nice=False)),
        y=alt.Y(
            "size:Q",
            title=None,
            scale=alt.Scale(type="log", domain=alt.DomainUnionWith(unionWith=[1e-2, 1e2]), nice=True),
            axis=alt.Axis(tickCount=7, labelExpr=POWER),
        ),
        **scales(alt),
    )
    table = [[str(i + 1), *(f"{by[name][i]:.3g}" for name in CHOSEN)] for i in range(depth.LAYERS)]
    return Chart(
        part,
        title,
        {
            "forward": "From the first layer to the last: a falling line is a vanishing signal.",
            "backward": "From the last layer back to the first: a line that falls to the left is a vanishing gradient.",
        }[part],
        alt.layer(even, line).to_dict(),
        ["layer", *(ACTIVATIONS[name].title for name in CHOSEN)],
        table,
        height=300,
        fed=True,
    )

"""Activations as pictures for a paper: SVG, PNG or PDF, by altair."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from relume import activations
from relume.activations import NUMPY, Activation, Parameter
from relume.errors import ParameterError, RelumeError
from relume.theme import COLORS, DASHES, altair

ENDINGS = (".svg", ".png", ".pdf")

SPAN = (-4.0, 4.0)
"""x, if nothing else is asked for; a kink further out gets 2 beyond it."""

WIDTH, HEIGHT = 300, 230
"""Width of a panel in points: two of them fill the text width of a one-column paper."""

AXIS = {
    "labelFontSize": 11,
    "titleFontSize": 13,
    "titleFontWeight": "normal",
    "labelFlush": False,
    "gridColor": "#E6E6E6",
    "domain": False,
    "tickColor": "#999999",
}

MARGIN = 0.05
"""Room above and below the curves, as a share of their height."""

LETTER = 6.5
"""Mean width of a letter in the legend, in points."""

SAMPLES = 401
"""More than a panel has points: finer would not show."""

JUMP = 1e-3
"""Two sides of a kink that differ by less are drawn as one line."""

CM_PER_INCH = 2.54

PPI = 300
"""Resolution of a PNG with a given width: journals ask for it in line art."""

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""Metric-compatible; the first is inside vl-convert, so that the picture is the same on every machine."""


@dataclass(frozen=True)
class Curve:
    """An activation at given parameters."""

    activation: Activation
    parameters: dict[str, Any]

    @property
    def label(self) -> str:
        """For the legend: ``ELU (alpha = 2)``."""
        numbers = ", ".join(f"{name} = {exact(value)}" for name, value in self.parameters.items())
        return f"{self.activation.title} ({numbers})" if numbers else self.activation.title

    def at(self, part: str, x: Any, **override: Any) -> Any:
        """``value`` or ``slope`` on a float64 array of shape (samples,)."""
        return getattr(self.activation, part)(x, NUMPY, **(self.parameters | override))


def parse(text: str) -> Curve:
    """Read ``elu``, ``elu:2``, ``elu:alpha=2`` or ``rrelu:0.1,0.3`` as a curve.

    Raises:
        UnknownName: no such activation.
        ParameterError: no such parameter, a value that is no number, or one outside its bounds.

    Example:
        >>> parse("leaky_relu:0.2").label
        'LeakyReLU (negative_slope = 0.2)'
        >>> parse("rrelu").label
        'RReLU (lower = 0.125, upper = 1/3)'
    """
    name, _, rest = text.partition(":")
    activation = activations.get(name)
    if not activation.elementwise:
        raise RelumeError(
            f"{activation.title} has no curve: it maps a vector to a vector. Plot another activation.",
            slug="no-curve",
        )
    given: dict[str, Any] = {}
    for position, item in enumerate(rest.split(",") if rest else []):
        key, equals, value = item.partition("=")
        if not equals:
            key, value = _by_position(activation, position), item
        given[key] = _number(activation, key, value)
    return Curve(activation, activation.check(**given))


def _by_position(activation: Activation, position: int) -> str:
    if position < len(activation.parameters):
        return activation.parameters[position].name
    names = ", ".join(p.name for p in activation.parameters) or "none"
    raise ParameterError(
        f"{activation.title} has fewer parameters than you gave; its parameters: {names}.",
        slug="unknown-parameter",
    )


def _number(activation: Activation, key: str, value: str) -> float | str:
    known: dict[str, Parameter] = {p.name: p for p in activation.parameters}
    if key in known and known[key].choices:
        return value
    try:
        return float(Fraction(value)) if "/" in value else float(value)
    except (ValueError, ZeroDivisionError):
        raise ParameterError(
            f"{activation.title}: {key} = {value!r} is not a number. Write it like {activation.name}:0.1.",
            slug="not-a-number",
        ) from None


def exact(value: float | str) -> str:
    """As few characters as are exact: 0.01, 1/3; else 4 digits after ≈."""
    if isinstance(value, str):
        return value
    if float(f"{value:.4g}") == value:
        return f"{value:.4g}"
    fraction = Fraction(value).limit_denominator(99)
    return str(fraction) if float(fraction) == value else f"≈ {value:.4g}"


def span(curves: list[Curve]) -> tuple[float, float]:
    """Where all of the curves show what they are."""
    kinks = [kink for curve in curves for kink in _kinks(curve)]
    return SPAN[0], max([SPAN[1], *(kink + 2 for kink in kinks if kink > 0)])


def _kinks(curve: Curve) -> list[float]:
    return [float(kink.at) for kink in curve.activation.kinks]


def points(curve: Curve, part: str, between: tuple[float, float]) -> list[dict[str, Any]]:
    """Sample ``value`` or ``slope`` as rows of x, y, low, high, curve, piece and dot.

    From ``low`` to ``high`` a random slope spreads; elsewhere both are y. A new ``piece`` starts after a
    jump; the value at the jump itself is a row with ``dot`` True.
    """
    kinks = [k for k in _kinks(curve) if between[0] < k < between[1]]
    near = [np.nextafter(k, toward) for k in kinks for toward in (-np.inf, np.inf)]
    x = np.unique(np.concatenate([np.linspace(*between, SAMPLES), kinks, near]))
    y = curve.at(part, x)
    jumps = [k for k in kinks if abs(np.diff(curve.at(part, np.nextafter(k, [-np.inf, np.inf])))[0]) > JUMP]
    low, high = _band(curve, part, x)
    return [
        {
            "x": float(x[i]),
            "y": float(y[i]),
            "low": float(low[i]),
            "high": float(high[i]),
            "curve": curve.label,
            "piece": int(sum(x[i] > k for k in jumps)),
            "dot": bool(x[i] in jumps),
        }
        for i in range(x.size)
    ]


def _band(curve: Curve, part: str, x: Any) -> tuple[Any, Any]:
    """Least and greatest y where the slope is random; twice y for the others."""
    if not curve.activation.random:
        y = curve.at(part, x)
        return y, y
    ends = [curve.at(part, x, slopes=curve.parameters[bound]) for bound in ("lower", "upper")]
    return np.minimum(*ends), np.maximum(*ends)


def chart(curves: list[Curve], *, slope: bool = False, between: tuple[float, float] | None = None) -> Any:
    """Draw the curves, and with ``slope`` their slopes in a second panel, as an altair chart.

    Raises: MissingExtra: altair or vl-convert-python is not installed.
    """
    alt = altair()
    curves = list({curve.label: curve for curve in curves}.values())
    x_span = between or span(curves)
    scales = _scales(alt, [curve.label for curve in curves], WIDTH * (2 if slope else 1))
    panels = [_panel(alt, curves, part, x_span, scales) for part in ("value", "slope")[: 2 if slope else 1]]
    picture = alt.hconcat(*panels, spacing=28) if slope else panels[0]
    return (
        picture.configure(font=FONT, background="white", padding=8).configure_view(stroke=None).configure_axis(**AXIS)
    )


def _panel(alt: Any, curves: list[Curve], part: str, x_span: tuple[float, float], scales: dict[str, Any]) -> Any:
    rows = [row for curve in curves for row in points(curve, part, x_span)]
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    margin = (high - low or 1) * MARGIN
    y_scale = alt.Scale(domain=[low - margin, high + margin], nice=False, zero=False)
    title = "f(x)" if part == "value" else "f′(x)"
    x = alt.X("x:Q", title="x", scale=alt.Scale(domain=list(x_span), nice=False))
    y = alt.Y("y:Q", title=title, scale=y_scale)
    base = alt.Chart(alt.Data(values=rows), width=WIDTH, height=HEIGHT)
    layers = [_zero(alt, axis, span) for axis, span in (("x", x_span), ("y", y_scale.domain))]
    if any(row["low"] < row["high"] for row in rows):
        floor = alt.Y("low:Q", title=title, scale=y_scale)
        band = base.mark_area(opacity=0.18, clip=True)
        band = band.encode(x=x, y=floor, y2="high:Q", color=scales["color"], detail="piece:N")
        layers.append(band.transform_filter("datum.low < datum.high"))
    line = base.mark_line(strokeWidth=2, clip=True).encode(x=x, y=y, detail="piece:N", **scales)
    layers.append(line.transform_filter("!datum.dot"))
    if any(row["dot"] for row in rows):
        dots = base.mark_point(filled=True, size=45, opacity=1).encode(x=x, y=y, color=scales["color"])
        layers.append(dots.transform_filter("datum.dot"))
    return alt.layer(*layers)


def _zero(alt: Any, axis: str, within: Any) -> Any:
    """Draw the line where x or y is 0, if it is in the picture."""
    values = [{"zero": 0}] if within[0] < 0 < within[1] else []
    return alt.Chart(alt.Data(values=values)).mark_rule(color="#999999").encode(**{axis: "zero:Q"})


def _scales(alt: Any, labels: list[str], width: int) -> dict[str, Any]:
    """Color and dash by curve, in one legend below, in as many columns as fit ``width``."""
    longest = max(len(label) for label in labels) * LETTER + 70
    legend = alt.Legend(
        orient="bottom",
        columns=max(1, min(len(labels), int(width // longest))),
        title=None,
        symbolType="stroke",
        symbolSize=900,
        symbolStrokeWidth=2,
        symbolOpacity=1,
        labelFontSize=12,
        labelLimit=0,
        offset=6,
        columnPadding=20,
    )
    colors = [COLORS[i % len(COLORS)] for i in range(len(labels))]
    dashes = [list(DASHES[i % len(DASHES)]) for i in range(len(labels))]
    return {
        "color": alt.Color("curve:N", scale=alt.Scale(domain=labels, range=colors), legend=legend),
        "strokeDash": alt.StrokeDash("curve:N", scale=alt.Scale(domain=labels, range=dashes), legend=legend),
    }


def save(picture: Any, path: Path, width: float | None = None) -> None:
    """Write a chart to a file whose ending says how; an existing file is replaced.

    Args:
        picture: from :func:`chart`.
        path: of the file.
        width: of the whole picture in centimeters, as printed in a column; letters grow and shrink with it, and
            a PNG has 300 points an inch. None: 1 cm for each 28.3 points, and a PNG of three times the points.

    Raises: RelumeError: an ending that is not in :data:`ENDINGS`, or a file that cannot be written.
    """
    check_ending(path)
    try:
        ending = path.suffix.lower()
        if width is None:
            picture.save(str(path), format=ending[1:], scale_factor=3 if ending == ".png" else 1)
        else:
            path.write_bytes(_sized(picture, ending, width))
    except OSError as error:
        raise RelumeError(
            f"Cannot write {path}: {error.strerror or error}. Give another -o.", slug="cannot-write"
        ) from error


def _sized(picture: Any, ending: str, width: float) -> bytes:
    """The chart in a format, with this width in centimeters."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(picture.to_dict())
    wide, high = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)"', svg)[:2])

    def scaled(unit: str, across: float) -> str:
        sizes = f'width="{across:g}{unit}" height="{across * high / wide:.6g}{unit}"'
        return re.sub(r'width="[\d.]+" height="[\d.]+"', sizes, svg, count=1)

    if ending == ".svg":
        return scaled("cm", width).encode()
    if ending == ".pdf":
        return bytes(vl_convert.svg_to_pdf(scaled("", width / CM_PER_INCH * 72)))
    return bytes(vl_convert.svg_to_png(svg, scale=width / CM_PER_INCH * 72 / wide, ppi=PPI))


def check_ending(path: Path) -> None:
    """Refuse a file name whose ending is not a kind of picture."""
    if path.suffix.lower() not in ENDINGS:
        raise RelumeError(
            f"{path.name!r} does not end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}: the ending selects the format.",
            slug="file-ending",
        )

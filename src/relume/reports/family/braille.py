"""A curve in a terminal, by the dots of Unicode's braille patterns: 2 × 4 of them in a character."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.text import Text

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot in a braille pattern, by column, then by row from the top (Unicode 15, U+2800 to
U+28FF)."""

SAMPLES_PER_DOT = 16
"""The family's slopes stay under 2 and panels are about as high as wide: with 16 samples no gap shows."""

MINIATURE = 8
"""Characters of a curve in one line."""

LABEL = 7
"""Characters to the left of a panel, for the labels of the y axis."""


def signed(number: float) -> str:
    """Four digits, with the minus sign that the formulas have."""
    return f"{number:.4g}".replace("-", "−")


def panel(
    function: Callable[[Any], Any], x_span: tuple[float, float], width: int, height: int, style: str
) -> list[Text]:
    """Draw a function over its axes, and the x labels: ``height`` + 1 lines of ``width`` characters.

    Args:
        function: from a float64 array of shape (samples,) to one of the same shape.
        x_span: least and greatest x.
        width: in characters, the labels included.
        height: in characters, without the line of x labels.
        style: of the curve; the axes are dim.
    """
    columns = width - LABEL
    x = np.linspace(*x_span, columns * 2 * SAMPLES_PER_DOT)
    y = np.asarray(function(x))
    low, high = min(float(y.min()), 0.0), max(float(y.max()), 0.0)
    cells = _cells(_place(x, *x_span, columns * 2), _place(-y, -high, -low, height * 4), columns, height)
    zero = (int(_place(np.zeros(1), *x_span, columns)[0]), int(_place(np.zeros(1), -high, -low, height)[0]))
    labels = {0: signed(high), height - 1: signed(low)}
    labels[zero[1]] = "0"
    lines = [_line(row, cells[row], zero, labels.get(row, ""), style) for row in range(height)]
    left, right = signed(x_span[0]), signed(x_span[1])
    middle = " " * max(zero[0] - len(left), 0) + "0"
    lines.append(Text(" " * LABEL + (left + middle).ljust(columns - len(right)) + right, style="dim"))
    return lines


def miniature(function: Callable[[Any], Any], x_span: tuple[float, float], y_span: tuple[float, float]) -> str:
    """Draw a function in one line of :data:`MINIATURE` characters; values outside ``y_span`` are drawn on its edge."""
    x = np.linspace(*x_span, MINIATURE * 2 * SAMPLES_PER_DOT)
    y = np.clip(np.asarray(function(x)), *y_span)
    cells = _cells(_place(x, *x_span, MINIATURE * 2), _place(-y, -y_span[1], -y_span[0], 4), MINIATURE, 1)
    return "".join(chr(0x2800 + dots) for dots in cells[0].tolist())


def _place(values: Any, low: float, high: float, dots: int) -> Any:
    """Find the dot on which each value falls, of ``dots`` between ``low`` and ``high``."""
    return np.clip(((values - low) / (high - low) * dots).astype(int), 0, dots - 1)


def _cells(across: Any, down: Any, columns: int, height: int) -> Any:
    cells = np.zeros((height, columns), dtype=np.int32)
    np.bitwise_or.at(cells, (down // 4, across // 2), np.asarray(DOTS)[across % 2, down % 4])
    return cells


def _line(row: int, cells: Any, zero: tuple[int, int], label: str, style: str) -> Text:
    line = Text(label.rjust(LABEL - 1) + " ", style="dim")
    for column, dots in enumerate(cells.tolist()):
        if dots:
            line.append(chr(0x2800 + dots), style=f"not dim {style}")
        elif row == zero[1]:
            line.append("┼" if column == zero[0] else "─")
        else:
            line.append("│" if column == zero[0] else " ")
    return line

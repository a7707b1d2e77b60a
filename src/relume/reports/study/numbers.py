"""Numbers and names of a study as text: with the digits that a spread allows, and as papers write p."""

from __future__ import annotations

import math

NONE = "·"
LONGEST = 60
"""Letters of a name of the user's that are shown."""


def short(name: str, most: int = LONGEST) -> str:
    """A name on one line, cut if it is long, without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def number(value: float, spread: float = math.nan) -> str:
    """A number with the digits that its spread allows: two of the spread's own; four of its own without one.

    Example:
        >>> number(67.1234, 1.21), number(0.93456, 0.0021), number(1234.5), number(float("nan"))
        ('67.1', '0.9346', '1234', '·')
    """
    if not math.isfinite(value):
        return NONE
    value += 0.0  # no negative zero
    if not (math.isfinite(spread) and spread > 0):
        return f"{value:.4g}".replace("-", "−")
    digits = min(max(0, 1 - math.floor(math.log10(spread))), 12)
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def signed(value: float, spread: float = math.nan) -> str:
    """A difference: always with its sign."""
    text = number(value, spread)
    return f"+{text}" if math.isfinite(value) and value > 0 else text


def p_value(p: float) -> str:
    """``0.029``, ``< 0.001``."""
    if not math.isfinite(p):
        return NONE
    if p < 0.001:
        return "< 0.001"
    return (f"{p:.3f}" if p < 0.1 else f"{p:.2f}").replace("1.00", "1")


def p_says(p: float) -> str:
    """``p = 0.029``, ``p < 0.001``."""
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def interval(bounds: tuple[float, float], spread: float) -> str:
    """``0.96 to 3.96``."""
    return f"{number(bounds[0], spread)} to {number(bounds[1], spread)}"

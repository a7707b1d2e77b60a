"""Colors and dashes that distinguish lines and states of units.

Hues after Okabe & Ito 2008, Color Universal Design, https://jfly.uni-koeln.de/color/, without their yellow. Each has
two shades, so that lines keep a contrast of 3 : 1 on light and on dark paper (WCAG 2.2, 1.4.11). Color is never
alone: lines differ by their dashes too, states by their shape.
"""

from __future__ import annotations

COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""As published: for pictures on white, with thick lines."""

LIGHT = ("#14181D", "#C95700", "#0072B2", "#00845F", "#B0548A", "#A87200", "#2382BC")
DARK = ("#F2F4F7", "#FF8A3D", "#5AA9F0", "#2CC295", "#E79BC8", "#F2B134", "#8CD3FF")
"""The same hues, as the lines of a page in its light and in its dark theme."""

DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (12, 4), (5, 2, 1, 2, 1, 2), (1, 3), (14, 3, 4, 3))
"""One more than there are colors, so that pairs of both are distinct for 56 lines, and dashes for eight."""

TOKENS = {
    "paper": ("#FFFFFF", "#12161C"),
    "panel": ("#F5F7FA", "#1B212A"),
    "raised": ("#FFFFFF", "#242C37"),
    "ink": ("#14181D", "#F2F4F7"),
    "muted": ("#4C5663", "#B3BECB"),
    "rule": ("#DCE1E8", "#37414F"),
    "edge": ("#77828F", "#8894A3"),
    "accent": ("#005A9C", "#7CC0FF"),
    "on-accent": ("#FFFFFF", "#0B1016"),
    "healthy": ("#00845F", "#2CC295"),
    "rare": ("#A87200", "#F2B134"),
    "dead": ("#C2410C", "#FF8A3D"),
    "always-on": ("#0072B2", "#5AA9F0"),
    "unknown": ("#77828F", "#8894A3"),
}
"""Each color of the theme: on light paper, on dark paper."""


def color(place: int) -> str:
    """The color of line ``place``, for a page: a CSS variable, and the light shade if no style sheet is read.

    Example:
        >>> color(2)
        'var(--c2, #0072B2)'
    """
    place %= len(LIGHT)
    return f"var(--c{place}, {LIGHT[place]})"


def dash(place: int) -> list[int]:
    """The dashes of line ``place``, in points on and off."""
    return list(DASHES[place % len(DASHES)])


def token(name: str) -> str:
    """A color of the theme by name; :func:`color` has the colors of lines.

    Example:
        >>> token("ink")
        'var(--ink, #14181D)'
    """
    return f"var(--{name}, {TOKENS[name][0]})"


def variables() -> str:
    """All of them as CSS declarations, which follow ``color-scheme``."""
    shades = TOKENS | {f"c{place}": pair for place, pair in enumerate(zip(LIGHT, DARK, strict=True))}
    return " ".join(f"--{name}: light-dark({light}, {dark});" for name, (light, dark) in shades.items())

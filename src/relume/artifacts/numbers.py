"""Numbers as text, in the one way in which every report, message and page writes them."""

from __future__ import annotations

import math


def percent(share: float, digits: int | None = None) -> str:
    """A share in percent: two digits, from 10 % one after the point; ``digits`` of them after the point if given.

    Example:
        >>> percent(0.0553), percent(0.18749), percent(0.02), percent(0.00004), percent(0.471, 0)
        ('5.5 %', '18.7 %', '2 %', '0.004 %', '47 %')
    """
    value = 100 * share + 0.0  # no negative zero
    if digits is None:
        digits = 1 - math.floor(math.log10(abs(value))) if 0 < abs(value) < 10 else 1
    text = f"{value:,.{digits}f}".replace("-", "−")
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def figures(value: float, most: int = 3) -> str:
    """A number of any size with this many significant digits, and a power of ten only if it is very large or small.

    Example:
        >>> figures(1886.3), figures(0.3712, 2), figures(-5.2), figures(0.000031), figures(4.2e9, 2)
        ('1,890', '0.37', '−5.2', '3.1e−05', '4.2e+09')
    """
    rounded = float(f"{value:.{most}g}")
    text = f"{rounded:,.0f}" if 10 ** (most - 1) <= abs(rounded) < 1e6 else f"{rounded:.{most}g}"
    return text.replace("-", "−")

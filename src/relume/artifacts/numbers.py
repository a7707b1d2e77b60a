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

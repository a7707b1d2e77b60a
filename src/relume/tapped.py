"""``relume.tap``: the firings of a sparse code that nobody can see, such as a fused kernel's.

It imports nothing, so that a script may keep the line at no cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Taker = Callable[[str, Any, Any, Any], None]
"""Takes what :func:`tap` was given. It raises no ``Exception``."""

takers: list[Taker] = []
"""The watchings that run."""


def tap(name: str, values: Any, indices: Any = None, units: int | None = None) -> None:
    """Count the firings of a sparse code at a site of this name, in a watched run of PyTorch; elsewhere do nothing.

    For a code that relume cannot see: one that a fused kernel gives, or whose indices do not come from ``torch.topk``.
    Call it where the code is computed, outside of ``torch.compile``. It never raises: a call whose shapes do not fit is
    listed in the report as not observed.

    Args:
        name: of the site; the same code has the same name.
        values: a tensor, any shape (..., k); a unit fires where its value is not 0. Leave out the rows of tokens that
            do not count, such as padding.
        indices: the unit of each value, integers of the same shape in [0, units); a negative one is not counted. None:
            ``values`` has the shape (..., units).
        units: how many units the code has.

    Example:
        >>> values, indices = [[0.5, 2.0]], [[7, 1]]
        >>> tap("sae", values, indices, units=64)
    """
    for take in takers:
        take(name, values, indices, units)

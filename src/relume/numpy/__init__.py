"""The family on NumPy arrays: the reference against which every other framework's ops are tested.

Example:
    >>> import relume.numpy as rn
    >>> rn.elu([-1.0, 0.0, 2.0]).round(4).tolist()
    [-0.6321, 0.0, 2.0]
    >>> rn.slope("elu", [-1.0, 0.0, 2.0]).round(4).tolist()
    [0.3679, 1.0, 1.0]
"""

from __future__ import annotations

from typing import Any

from relume.numpy import functional

__all__ = [*functional.FUNCTIONS, "slope"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(functional, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The family for JAX: pure functions; as layers in :mod:`relume.jax.flax` and :mod:`relume.jax.equinox`.

Example:
    >>> import jax
    >>> from relume.jax import elu
    >>> jax.grad(elu)(-20.0)  # jax.nn.elu gives 0
    Array(2.0611537e-09, dtype=float32, weak_type=True)
"""

from __future__ import annotations

import importlib
from typing import Any

from relume.jax.family import FAMILY

__all__ = [*FAMILY]


def __getattr__(name: str) -> Any:
    if name in FAMILY:
        return FAMILY[name].function
    if name == "watch":  # it needs relume's verbs, which the functions need not load
        return importlib.import_module("relume.integrations.jax").watch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The family for JAX: pure functions; as layers in :mod:`relume.jax.flax` and :mod:`relume.jax.equinox`.

Example:
    >>> import jax
    >>> from relume.jax import elu
    >>> jax.grad(elu)(-20.0)  # jax.nn.elu gives 0
    Array(2.0611537e-09, dtype=float32, weak_type=True)
"""

from __future__ import annotations

from relume.jax.functional import (
    celu,
    elu,
    gelu,
    leaky_relu,
    prelu,
    relu,
    relu6,
    rrelu,
    selu,
    sigmoid,
    silu,
    softmax,
    tanh,
)

__all__ = [
    "celu",
    "elu",
    "gelu",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]

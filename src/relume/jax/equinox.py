"""The family as modules for Equinox; each is a call of :mod:`relume.jax.functional`.

As Equinox's own layers they take one example, and are called under ``jax.vmap`` on a batch; they take (and most
ignore) a ``key``, so that they fit into ``eqx.nn.Sequential``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from relume.activations import ACTIVATIONS
from relume.activations._edge import axes_of
from relume.jax import functional

__all__ = ["CELU", "ELU", "SELU", "LeakyReLU", "PReLU", "RReLU", "ReLU", "ReLU6"]


class ReLU(eqx.Module):
    """``max(0, x)``: :func:`relume.jax.relu`."""

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return functional.relu(x)


class ReLU6(eqx.Module):
    """``min(max(0, x), 6)``: :func:`relume.jax.relu6`."""

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return functional.relu6(x)


class LeakyReLU(eqx.Module):
    """``x if x > 0 else negative_slope * x``: :func:`relume.jax.leaky_relu`."""

    negative_slope: float = eqx.field(static=True, default=0.01)

    def __check_init__(self) -> None:
        ACTIVATIONS["leaky_relu"].check(negative_slope=self.negative_slope)

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return functional.leaky_relu(x, self.negative_slope)


class PReLU(eqx.Module):
    """LeakyReLU whose slopes are learned: :func:`relume.jax.prelu`. The slopes are the leaf ``weight``.

    Args:
        shape: of the slopes: () for one that all share, (C,) for one per unit of ``axis``, (C, H, W) with a tuple of
            three axes for one per unit.
        init: their start value.
        axis: the axis of one example that they run along (0 for the channels of an image), or a tuple of them.
        dtype: of the slopes; the output keeps the input's.
    """

    weight: jax.Array
    axis: int | tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: int | tuple[int, ...] = (),
        init: float = 0.25,
        axis: int | Sequence[int] = -1,
        *,
        dtype: Any = jnp.float32,
    ) -> None:
        ACTIVATIONS["prelu"].check(weight=init)
        self.weight = jnp.full(shape, init, dtype)
        self.axis = axis if isinstance(axis, int) else axes_of(axis)

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return functional.prelu(x, self.weight, self.axis)


class RReLU(eqx.Module):
    """LeakyReLU whose slopes are drawn in training: :func:`relume.jax.rrelu`.

    As Equinox's Dropout: ``eqx.nn.inference_mode(model)`` sets ``inference`` and takes the mean slope.

    Args:
        lower: least slope.
        upper: greatest slope.
        inference: take the mean slope, and need no key.
    """

    lower: float = eqx.field(static=True, default=1 / 8)
    upper: float = eqx.field(static=True, default=1 / 3)
    inference: bool = False

    def __check_init__(self) -> None:
        ACTIVATIONS["rrelu"].check(lower=self.lower, upper=self.upper)

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return functional.rrelu(x, self.lower, self.upper, training=not self.inference, key=key)


class ELU(eqx.Module):
    """``x if x > 0 else alpha * (exp(x) - 1)``: :func:`relume.jax.elu`."""

    alpha: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        ACTIVATIONS["elu"].check(alpha=self.alpha)

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return functional.elu(x, self.alpha)


class CELU(eqx.Module):
    """``x if x > 0 else alpha * (exp(x / alpha) - 1)``: :func:`relume.jax.celu`."""

    alpha: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        ACTIVATIONS["celu"].check(alpha=self.alpha)

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return functional.celu(x, self.alpha)


class SELU(eqx.Module):
    """ELU with the constants that keep mean 0 and variance 1: :func:`relume.jax.selu`."""

    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return functional.selu(x)

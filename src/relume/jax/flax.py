"""The family as modules for Flax nnx; each is a call of :mod:`relume.jax.functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from relume.activations import ACTIVATIONS
from relume.activations._edge import axes_of
from relume.jax import functional

__all__ = ["CELU", "ELU", "SELU", "LeakyReLU", "PReLU", "RReLU", "ReLU", "ReLU6"]


class ReLU(nnx.Module):
    """``max(0, x)``: :func:`relume.jax.relu`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return functional.relu(x)


class ReLU6(nnx.Module):
    """``min(max(0, x), 6)``: :func:`relume.jax.relu6`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return functional.relu6(x)


class LeakyReLU(nnx.Module):
    """``x if x > 0 else negative_slope * x``: :func:`relume.jax.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        ACTIVATIONS["leaky_relu"].check(negative_slope=negative_slope)
        self.negative_slope = negative_slope

    def __call__(self, x: jax.Array) -> jax.Array:
        return functional.leaky_relu(x, self.negative_slope)


class PReLU(nnx.Module):
    """LeakyReLU whose slopes are learned: :func:`relume.jax.prelu`. The slopes are the Param ``weight``.

    Args:
        shape: of the slopes: () for one that all share, (C,) for one per unit of ``axis``, (H, W, C) with a tuple of
            three axes for one per unit.
        init: their start value; Flax's own PReLU starts at 0.01.
        axis: the axis of the input that they run along, or a tuple of them.
        param_dtype: of the slopes; the output keeps the input's.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...] = (),
        init: float = 0.25,
        axis: int | Sequence[int] = -1,
        *,
        param_dtype: Any = jnp.float32,
    ) -> None:
        ACTIVATIONS["prelu"].check(weight=init)
        self.weight = nnx.Param(jnp.full(shape, init, param_dtype))
        self.axis = axis if isinstance(axis, int) else axes_of(axis)

    def __call__(self, x: jax.Array) -> jax.Array:
        return functional.prelu(x, self.weight[...], self.axis)


class RReLU(nnx.Module):
    """LeakyReLU whose slopes are drawn in training: :func:`relume.jax.rrelu`.

    As Flax's Dropout: ``model.eval()`` sets ``deterministic`` and takes the mean slope; the stream is ``rrelu``.

    Args:
        lower: least slope.
        upper: greatest slope.
        deterministic: take the mean slope.
        rngs: where the keys come from; needed to draw.
    """

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        *,
        deterministic: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        ACTIVATIONS["rrelu"].check(lower=lower, upper=upper)
        self.lower, self.upper, self.deterministic = lower, upper, deterministic
        self.rngs = nnx.data(None) if rngs is None else rngs["rrelu"].fork()

    def __call__(self, x: jax.Array) -> jax.Array:
        key = None if self.deterministic or self.rngs is None else self.rngs()
        return functional.rrelu(x, self.lower, self.upper, training=not self.deterministic, key=key)


class ELU(nnx.Module):
    """``x if x > 0 else alpha * (exp(x) - 1)``: :func:`relume.jax.elu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        ACTIVATIONS["elu"].check(alpha=alpha)
        self.alpha = alpha

    def __call__(self, x: jax.Array) -> jax.Array:
        return functional.elu(x, self.alpha)


class CELU(nnx.Module):
    """``x if x > 0 else alpha * (exp(x / alpha) - 1)``: :func:`relume.jax.celu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        ACTIVATIONS["celu"].check(alpha=alpha)
        self.alpha = alpha

    def __call__(self, x: jax.Array) -> jax.Array:
        return functional.celu(x, self.alpha)


class SELU(nnx.Module):
    """ELU with the constants that keep mean 0 and variance 1: :func:`relume.jax.selu`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return functional.selu(x)

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

from relume.activations import ACTIVATIONS, Activation
from relume.activations._edge import axes_of
from relume.jax import functional

__all__ = [activation.title for activation in ACTIVATIONS.values() if activation.elementwise]


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


def _made(activation: Activation) -> type[eqx.Module]:
    """A module of an activation's parameters, which are checked when it is made."""
    defaults = activation.defaults()

    def __check_init__(self: Any) -> None:
        activation.check(**{name: getattr(self, name) for name in defaults})

    def __call__(self: Any, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        return getattr(functional, activation.name)(x, **{name: getattr(self, name) for name in defaults})

    doc = f"``{activation.formula}``: :func:`relume.jax.{activation.name}`."
    fields = {name: eqx.field(static=True, default=default) for name, default in defaults.items()}
    own = {"__check_init__": __check_init__, "__call__": __call__, "__doc__": doc, "__module__": __name__}
    annotations = {"__annotations__": dict.fromkeys(defaults, Any)}
    return type(eqx.Module)(activation.title, (eqx.Module,), own | annotations | fields)


globals().update({a.title: _made(a) for a in ACTIVATIONS.values() if a.elementwise and a.title not in globals()})

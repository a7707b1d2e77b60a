"""The family as modules for Flax nnx; each is a call of :mod:`relume.jax.functional`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from relume.activations import ACTIVATIONS, Activation
from relume.activations._edge import axes_of, bound
from relume.errors import ParameterError
from relume.jax import functional

__all__ = [activation.title for activation in ACTIVATIONS.values() if activation.elementwise]


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
        if self.rngs is None and not self.deterministic:
            raise ParameterError(
                "RReLU draws its slopes in training, but has no random stream. Make it with rngs=nnx.Rngs(…), or take "
                "the mean slope by deterministic=True or model.eval().",
                slug="no-key",
            )
        key = None if self.deterministic else self.rngs()
        return functional.rrelu(x, self.lower, self.upper, training=not self.deterministic, key=key)


def _made(activation: Activation) -> type[nnx.Module]:
    """A module of an activation's parameters, which are checked when it is made."""
    defaults = activation.defaults()

    def __init__(self: Any, *given: Any, **named: Any) -> None:
        for name, number in activation.check(**bound(activation, given, named)).items():
            setattr(self, name, number)

    def __call__(self: Any, x: jax.Array) -> jax.Array:
        return getattr(functional, activation.name)(x, **{name: getattr(self, name) for name in defaults})

    doc = f"``{activation.formula}``: :func:`relume.jax.{activation.name}`."
    return type(nnx.Module)(
        activation.title,
        (nnx.Module,),
        {"__init__": __init__, "__call__": __call__, "__doc__": doc, "__module__": __name__},
    )


globals().update({a.title: _made(a) for a in ACTIVATIONS.values() if a.elementwise and a.title not in globals()})

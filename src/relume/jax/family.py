"""The family in JAX: one entry an activation. The public names, the modules and the specs are made from it.

Formulas, titles and parameters come from ``relume.activations``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import pi, sqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc

from relume.activations import ACTIVATIONS
from relume.activations._edge import function_of
from relume.activations.gelu import FAR as GELU_FAR
from relume.activations.silu import FAR as SILU_FAR
from relume.jax import functional


@dataclass(frozen=True)
class JaxActivation:
    """How JAX has one activation.

    Attributes:
        function: of ``relume.jax``.
        natives: JAX's own functions of it.
    """

    function: Callable[..., Any]
    natives: tuple[Any, ...] = ()


def _held(value: Callable[[Any], Any], slope: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``value`` with ``slope`` in both modes, where the chain rule has inf · 0."""
    curve = jax.custom_jvp(value)
    curve.defjvp(lambda primals, tangents: (curve(*primals), slope(*primals) * tangents[0]))
    return curve


def _gated(value: Callable[[Any], Any], parts: Callable[[Any], tuple[Any, Any]], far: float) -> Callable[[Any], Any]:
    """``value``, which is ``x · gate(x)``; ``parts`` gives the gate and the slope, which have much in common.

    They are taken at most ``far`` out, where they are at their limits: at ±inf the chain rule has inf · 0.
    """
    curve, parts = jax.custom_jvp(value), jax.jit(parts, inline=True)

    @curve.defjvp
    def _jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        (x,) = primals
        gate, slope = parts(jnp.clip(x, -far, far))
        return x * gate, slope * tangents[0]

    return curve


def _silu_parts(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    least = -np.floor(np.log(jnp.finfo(x.dtype).max))  # below it exp(−x) is inf, and s is 0
    e = jnp.exp(-jnp.maximum(x, least))
    s = jnp.where(x < least, 0, 1 / (1 + e))
    return s, s + x * s * (e * s)  # e s is 1 − s, to the last digit


def _gelu_parts(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    z = -x * sqrt(0.5)
    gate = 0.5 * erfc(z)
    return gate, gate + x * jnp.exp(-(z * z)) * (1 / sqrt(2 * pi))  # erfc has this exp, too: XLA computes it once


def _gelu_tanh_parts(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    square = x * x
    bent = jnp.tanh(sqrt(2 / pi) * x * (1 + 0.044715 * square))
    inner = sqrt(2 / pi) * (1 + 3 * 0.044715 * square)
    gate = 0.5 * (1 + bent)
    return gate, gate + 0.5 * x * (1 - bent * bent) * inner


_silu = _gated(jax.nn.silu, _silu_parts, SILU_FAR)
_gelu = _gated(partial(jax.nn.gelu, approximate=False), _gelu_parts, GELU_FAR)
_gelu_tanh = _gated(partial(jax.nn.gelu, approximate=True), _gelu_tanh_parts, GELU_FAR)


def _made(name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    """A function computed by ``compute(x, **parameters)``, in float32 where the dtype is narrower."""

    def function(x: Any, **parameters: Any) -> jax.Array:
        x = functional._array(name, x)
        functional._check(name, **parameters)
        return compute(functional._wide(x), **parameters).astype(x.dtype)

    return function_of(ACTIVATIONS[name], function, functional.__name__)


def _defined(name: str) -> Callable[[Any], Any]:
    """The definition, with its own slope in both modes."""
    activation = ACTIVATIONS[name]
    value, slope = partial(activation.value, xp=jnp), partial(activation.slope, xp=jnp)
    return _held(jax.jit(value, inline=True), jax.jit(slope, inline=True))


def _softplus(x: jax.Array, beta: Any) -> jax.Array:
    z = beta * x
    fits = z != np.inf  # it may be inf although x is not; there the slope of softplus would be nan
    return jnp.where(fits, jax.nn.softplus(jnp.where(fits, z, 0)) / beta, x)


FAMILY: dict[str, JaxActivation] = {
    "relu": JaxActivation(functional.relu, (jax.nn.relu,)),
    "leaky_relu": JaxActivation(functional.leaky_relu, (jax.nn.leaky_relu,)),
    "prelu": JaxActivation(functional.prelu),
    "rrelu": JaxActivation(functional.rrelu),
    "relu6": JaxActivation(functional.relu6, (jax.nn.relu6,)),
    "elu": JaxActivation(functional.elu, (jax.nn.elu,)),
    "celu": JaxActivation(functional.celu, (jax.nn.celu,)),
    "selu": JaxActivation(functional.selu, (jax.nn.selu,)),
    "relu_squared": JaxActivation(_made("relu_squared", lambda x: jnp.square(functional.relu(x)))),
    "leaky_squared": JaxActivation(
        _made("leaky_squared", lambda x, negative_slope: jnp.square(functional.leaky_relu(x, negative_slope)))
    ),
    "gelu": JaxActivation(
        _made("gelu", lambda x, approximate: (_gelu_tanh if approximate == "tanh" else _gelu)(x)), (jax.nn.gelu,)
    ),
    "silu": JaxActivation(_made("silu", _silu), (jax.nn.silu,)),
    "mish": JaxActivation(_made("mish", _defined("mish")), (jax.nn.mish,)),
    "hardswish": JaxActivation(_made("hardswish", _defined("hardswish")), (jax.nn.hard_swish, jax.nn.hard_silu)),
    "softplus": JaxActivation(_made("softplus", _softplus), (jax.nn.softplus,)),
    "sigmoid": JaxActivation(_made("sigmoid", jax.nn.sigmoid), (jax.nn.sigmoid,)),
    "hardsigmoid": JaxActivation(_made("hardsigmoid", _defined("hardsigmoid")), (jax.nn.hard_sigmoid,)),
    "tanh": JaxActivation(_made("tanh", jnp.tanh), (jax.nn.tanh, jnp.tanh)),
    "softmax": JaxActivation(functional.softmax, (jax.nn.softmax,)),
}

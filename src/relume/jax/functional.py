"""The family as pure functions on JAX arrays, safe under jit, vmap, grad, jvp, scan and to any order.

All take an array or array-like of any shape and return an array of its shape and dtype. Values, slopes at the kinks
and at nan and the sources are those of ``relume.activations``, in forward and in reverse mode. Integer, bool, complex
and float8 input is a DtypeError (``relu`` and ``relu6`` keep integers), a parameter outside its bounds a
ParameterError; parameters that are JAX arrays are not looked at, since they may be traced. float16 and bfloat16 are
computed in float32 and rounded once.

XLA flushes subnormal results of arithmetic to 0 on CPU (see ``deviations.toml``), and its comparisons take a subnormal
for 0. Here signs are read from the bits, so that a subnormal input is passed through exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from relume.activations import ACTIVATIONS
from relume.activations._edge import axis_of, require_dtype, slopes_shape
from relume.activations._expm1 import expm1
from relume.activations.selu import SCALE, SCALED_ALPHA
from relume.errors import ParameterError, ShapeError


def relu(x: ArrayLike) -> jax.Array:
    """``max(0, x)``. Integers stay integers. See :mod:`relume.activations.relu`.

    Example:
        >>> relu(jnp.array([-2.0, 0.0, 3.0])).tolist()
        [0.0, 0.0, 3.0]
    """
    x = _array("relu", x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.maximum(x, 0)
    return _relu(x)


def relu6(x: ArrayLike) -> jax.Array:
    """``min(max(0, x), 6)``. Integers stay integers. See :mod:`relume.activations.relu6`.

    Example:
        >>> relu6(jnp.array([-2.0, 3.0, 7.0])).tolist()
        [0.0, 3.0, 6.0]
    """
    x = _array("relu6", x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.clip(x, 0, 6)
    return _relu6(x)


def leaky_relu(x: ArrayLike, negative_slope: ArrayLike = 0.01, **others: Any) -> jax.Array:
    """``x if x > 0 else negative_slope * x``. See :mod:`relume.activations.leaky_relu`.

    Example:
        >>> float(jax.grad(leaky_relu)(0.0, 0.25))  # jax.nn.leaky_relu gives 1
        0.25
    """
    x = _array("leaky_relu", x)
    _check("leaky_relu", negative_slope=negative_slope, **others)  # others, such as alpha, are refused
    return _rectify(x, negative_slope)


def prelu(x: ArrayLike, weight: ArrayLike = 0.25, axis: int | Sequence[int] = -1) -> jax.Array:
    """``x if x > 0 else weight * x``. See :mod:`relume.activations.prelu`.

    Args:
        x: floating array, shape (…, C) where ``axis`` is −1.
        weight: the slopes: one number, shared by all; or one axis for each of ``axis``, of these sizes; or an array of
            more axes that broadcasts to ``x`` by NumPy's rule, such as (C, 1, 1) on (N, C, H, W).
        axis: the axis of ``x`` that ``weight`` runs along, or a tuple of them.

    Raises: ShapeError: ``weight`` does not fit ``x``, or ``x`` has no such axis.

    Example:
        >>> prelu(jnp.full((1, 2, 2), -1.0), jnp.array([0.5, 0.25]), axis=1).tolist()
        [[[-0.5, -0.5], [-0.25, -0.25]]]
    """
    x = _array("prelu", x)
    _check("prelu", weight=weight)
    weight = jnp.asarray(weight, None if isinstance(weight, jax.Array) else _wide(x).dtype)
    return _rectify(x, weight.reshape(slopes_shape(weight.shape, x.shape, axis)))


def rrelu(
    x: ArrayLike,
    lower: ArrayLike = 1 / 8,
    upper: ArrayLike = 1 / 3,
    *,
    training: bool = False,
    key: jax.Array | None = None,
) -> jax.Array:
    """``x if x > 0 else s * x``, with s the mean of the bounds, or drawn in training.

    See :mod:`relume.activations.rrelu`.

    Args:
        x: floating array, any shape.
        lower: least slope.
        upper: greatest slope.
        training: draw one slope per element from U(lower, upper), for x > 0 too: the draws do not depend on the data.
        key: of ``jax.random``, needed in training; the same key draws the same slopes.

    Raises: ParameterError: ``lower`` > ``upper``, or ``training`` without a key.

    Example:
        >>> rrelu(jnp.array([-1.0, 1.0]), 0.25, 0.75).tolist()
        [-0.5, 1.0]
        >>> bool(1 / 8 <= -rrelu(-1.0, training=True, key=jax.random.key(0)) < 1 / 3)
        True
    """
    x = _array("rrelu", x)
    _check("rrelu", lower=lower, upper=upper)
    if not training:
        return _rectify(x, (lower + upper) / 2)
    if key is None:
        raise ParameterError(
            "RReLU draws its slopes in training, but got no key. Give key=, such as jax.random.key(0), and a new one "
            "at each step.",
            slug="no-key",
        )
    return _rectify(x, jax.random.uniform(key, x.shape, _wide(x).dtype, lower, upper))


def elu(x: ArrayLike, alpha: ArrayLike = 1.0) -> jax.Array:
    """``x if x > 0 else alpha * (exp(x) - 1)``. See :mod:`relume.activations.elu`.

    Example:
        >>> elu(jnp.array([-jnp.inf, 0.0, 3.0])).tolist()
        [-1.0, 0.0, 3.0]
    """
    x = _array("elu", x)
    _check("elu", alpha=alpha)
    return _elu(x, alpha)


def celu(x: ArrayLike, alpha: ArrayLike = 1.0) -> jax.Array:
    """``x if x > 0 else alpha * (exp(x / alpha) - 1)``. See :mod:`relume.activations.celu`.

    Example:
        >>> celu(jnp.array([-jnp.inf, 0.0, 3.0]), alpha=2.0).tolist()
        [-2.0, 0.0, 3.0]
    """
    x = _array("celu", x)
    _check("celu", alpha=alpha)
    return _celu(x, alpha)


def selu(x: ArrayLike) -> jax.Array:
    """ELU with the constants that keep mean 0 and variance 1. See :mod:`relume.activations.selu`.

    Example:
        >>> round(float(jax.grad(selu)(0.0)), 4)  # from the left, as PyTorch
        1.7581
    """
    return _selu(_array("selu", x))


def softmax(x: ArrayLike, axis: int = -1) -> jax.Array:
    """``exp(x_i) / Σ_j exp(x_j)`` along ``axis``. See :mod:`relume.activations.softmax`.

    Raises: ShapeError: ``x`` has no such axis. A 0-d ``x`` counts as a vector of one.
    """
    x = _array("softmax", x)
    vector = x.reshape(1) if x.ndim == 0 else x
    axis_of(axis, vector.shape)
    if x.size == 0:
        return x
    return jax.nn.softmax(_wide(vector), axis=axis).astype(x.dtype).reshape(x.shape)


# ---- the shapes of the curves --------------------------------------------------------------------------------------

_program = partial(jax.jit, inline=True)
"""One program outside ``jax.jit``, where each operation would be one: eager calls are then 10 times as fast."""


@_program
def _relu(x: jax.Array) -> jax.Array:
    flat = lax.stop_gradient(jnp.where(_below(x), jnp.zeros_like(x), x))  # keeps −0; slope 0 at ±0
    return jnp.where(_above(x) | jnp.isnan(x), x, flat)


@_program
def _relu6(x: jax.Array) -> jax.Array:
    flat = jnp.where(_below(x), jnp.zeros_like(x), jnp.where(x >= 6, jnp.full_like(x, 6), x))
    return jnp.where((_above(x) & (x < 6)) | jnp.isnan(x), x, lax.stop_gradient(flat))


@_program
def _elu(x: jax.Array, alpha: ArrayLike) -> jax.Array:
    return _bend(x, lambda below: alpha * _expm1(below))


@_program
def _celu(x: jax.Array, alpha: ArrayLike) -> jax.Array:
    return _bend(x, lambda below: alpha * _expm1(jnp.maximum(below, -1000.0 * alpha) / alpha))  # −inf · 0 is nan


@_program
def _selu(x: jax.Array) -> jax.Array:
    return _bend(x, lambda below: SCALED_ALPHA * _expm1(below), above=SCALE)


@_program
def _rectify(x: jax.Array, slope: ArrayLike) -> jax.Array:
    """``x`` above 0, else ``slope * x``: JAX's own derivatives of it are the convention, nan included."""
    above, wide = _above(x), _wide(x)
    below = jnp.where(above, 0.0, wide)
    scaled = (jnp.asarray(slope) * below if isinstance(slope, jax.Array) else slope * below).astype(x.dtype)
    if scaled.shape != x.shape:
        raise ShapeError(
            f"The slope has shape {np.shape(slope)}, x has {x.shape}. Give one that broadcasts to x.",
            slug="weight-shape",
        )
    return jnp.where(above, x, scaled)


def _bend(x: jax.Array, bent: Callable[[jax.Array], jax.Array], above: float = 1.0) -> jax.Array:
    """``above * x`` above 0 and at nan, else ``bent(x)``."""
    wide, up = _wide(x), _above(x) | jnp.isnan(x)
    straight = x if above == 1.0 else (above * wide).astype(x.dtype)
    return jnp.where(up, straight, bent(jnp.where(up, 0.0, wide)).astype(x.dtype))


@jax.custom_jvp
def _expm1(x: jax.Array) -> jax.Array:
    """exp(x) − 1 for x ≤ 0. JAX's own rule takes the slope from the result, and loses every digit below −17."""
    return jnp.where(_is_slight(x), x, expm1(x, jnp))


@_expm1.defjvp
def _expm1_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    return _expm1(*primals), _exp(*primals) * tangents[0]


def _is_slight(x: jax.Array) -> jax.Array:
    """Where exp(x) − 1 is x; XLA halves x on its way, and loses the least normal number too."""
    return x > -jnp.finfo(x.dtype).eps / 2


@jax.custom_jvp
def _exp(x: jax.Array) -> jax.Array:
    """exp(x) for x ≤ 0 as a slope: its own slope at 0 is 0, that of the straight side."""
    return jnp.exp(x)


@_exp.defjvp
def _exp_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    return _exp(*primals), jnp.where(_below(primals[0]), _exp(*primals), 0.0) * tangents[0]


# ---- the edge ------------------------------------------------------------------------------------------------------


def _array(name: str, x: ArrayLike) -> jax.Array:
    """``x`` as an array, if the activation has a meaning on its dtype."""
    array = jnp.asarray(x)
    require_dtype(ACTIVATIONS[name], array.dtype.name, array.shape, "x.astype(jnp.float32)")
    return array


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def _check(name: str, **parameters: Any) -> None:
    """Refuse values out of bounds; a JAX array may be traced or learned, and is not checked."""
    ACTIVATIONS[name].check(**{k: v for k, v in parameters.items() if not isinstance(v, jax.Array)})


def _bits(x: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(x, jnp.dtype(f"int{8 * x.dtype.itemsize}"))


def _above(x: jax.Array) -> jax.Array:
    """x > 0, subnormals included; false at nan."""
    return (_bits(x) > 0) & ~jnp.isnan(x)


def _below(x: jax.Array) -> jax.Array:
    """x < 0, subnormals included; false at nan and −0."""
    bits = _bits(x)
    return (bits < 0) & (bits != jnp.iinfo(bits.dtype).min) & ~jnp.isnan(x)


def __getattr__(name: str) -> Any:
    from relume.jax.family import FAMILY

    if name in FAMILY:
        return FAMILY[name].function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

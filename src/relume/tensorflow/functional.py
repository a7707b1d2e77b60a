"""The family as functions on TensorFlow tensors, without Keras.

All take a tensor (or what ``tf.convert_to_tensor`` takes) of float16, bfloat16, float32 or float64 and any
shape, and return one of its shape and dtype: eagerly, in a ``tf.function``, under XLA, in reverse and in
forward mode, by one convention at every length. Formulas, ranges and sources are those of
:mod:`relume.activations`; the slope at a kink is PyTorch's. What TensorFlow itself does otherwise
is in ``deviations.toml``. Subnormal numbers count as 0, as everywhere in TensorFlow.

ReLU, ReLU6 and, but for float64, LeakyReLU are TensorFlow's own operations. The others are composed of several, since
TensorFlow's forward mode does not know ``tf.custom_gradient``. XLA fuses them, and then they cost what TensorFlow's own
cost; without ``jit_compile=True`` each operation is a pass over memory: ELU, by expm1, takes 5 times as long there.

Integer, bool, complex and 8-bit floating tensors are a DtypeError (``relu`` and ``relu6`` keep integers), a
parameter outside its bounds a ParameterError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from relume.activations import ACTIVATIONS
from relume.activations._edge import axis_of, require_dtype, slopes_shape
from relume.activations.selu import SCALE, SCALED_ALPHA
from relume.errors import DtypeError, ParameterError, ShapeError

_HALVES = (tf.float16, tf.bfloat16)
_CONVERT = "tf.cast(x, tf.float32)"


def relu(x: Any) -> Any:
    """``max(0, x)``. Integers stay integers. See :mod:`relume.activations.relu`.

    Example:
        >>> relu(tf.constant([-1.0, 0.0, 2.0])).numpy().tolist()
        [0.0, 0.0, 2.0]
    """
    return tf.nn.relu(_tensor("relu", x))


def relu6(x: Any) -> Any:
    """``min(max(0, x), 6)``. Integers stay integers. See :mod:`relume.activations.relu6`.

    Example:
        >>> relu6(tf.constant([-1.0, 2.0, 7.0])).numpy().tolist()
        [0.0, 2.0, 6.0]
    """
    return tf.nn.relu6(_tensor("relu6", x))


def leaky_relu(x: Any, negative_slope: float = 0.01, **others: Any) -> Any:
    """``x if x > 0 else negative_slope * x``. See :mod:`relume.activations.leaky_relu`.

    ``tf.nn.leaky_relu`` has 0.2 as its default, and keeps the slope in float32 for any dtype of ``x``.

    Example:
        >>> leaky_relu(tf.constant([-2.0, 3.0]), 0.25).numpy().tolist()
        [-0.5, 3.0]
    """
    x = _tensor("leaky_relu", x)
    ACTIVATIONS["leaky_relu"].check(negative_slope=negative_slope, **others)  # others, such as alpha, are refused
    slope = float(negative_slope)
    return _leaky(x, slope)


def prelu(x: Any, weight: Any = 0.25, axis: int | Sequence[int] = -1) -> Any:
    """``x if x > 0 else weight * x``. See :mod:`relume.activations.prelu`.

    Args:
        x: floating tensor of known rank, shape (N, …, C) where ``axis`` is −1.
        weight: the slopes, a number, tensor or variable: one slope; or shape (C,), along ``axis``; or as many
            axes as ``axis`` names; or two or more axes that broadcast to ``x``, as Keras's (1, 1, C).
        axis: the axis that the slopes run along, or a tuple of them. The last one, as TensorFlow lays units.

    Raises:
        ShapeError: ``weight`` does not fit ``x``, or ``x`` has no such axis.
        DtypeError: ``weight`` has another dtype than ``x``.

    Example:
        >>> prelu(-tf.ones((1, 2, 2)), [0.5, 0.0], axis=1).numpy().tolist()
        [[[-0.5, -0.5], [-0.0, -0.0]]]
    """
    x = _tensor("prelu", x)
    if not tf.is_tensor(weight):
        ACTIVATIONS["prelu"].check(weight=weight)
    weight = _slopes(weight, x.dtype)
    if x.shape.rank is None and weight.shape.num_elements() != 1:
        raise ShapeError(
            f"PReLU: weight of shape {tuple(weight.shape)}, x of unknown rank. Expected a known rank, to lay the "
            "slopes along its axes: give it with x.set_shape or in input_signature.",
            slug="rank-unknown",
        )
    shape = slopes_shape(tuple(weight.shape), tuple(x.shape) if x.shape.rank else (), axis)
    if len(shape) != weight.shape.rank:
        weight = tf.reshape(weight, [-1 if size is None else size for size in shape])
    return _widely(_parametric, x, weight)


def rrelu(
    x: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    generator: tf.random.Generator | None = None,
    seed: Any = None,
) -> Any:
    """``x if x > 0 else s * x``, with s the mean of the bounds, or drawn in training.

    See :mod:`relume.activations.rrelu`.

    Args:
        x: floating tensor, any shape.
        lower: least slope.
        upper: greatest slope.
        training: draw one slope per element from U(lower, upper), for x > 0 too: the draws do not depend on
            the data.
        generator: where the slopes are drawn from; TensorFlow's global one when absent.
        seed: a stateless seed, two integers: the same slopes at every call.

    Raises: ParameterError: bounds, or both ``generator`` and ``seed``.

    Example:
        >>> rrelu(tf.constant([-1.0, 1.0])).numpy().round(4).tolist()
        [-0.22920000553131104, 1.0]
    """
    x = _tensor("rrelu", x)
    bounds = ACTIVATIONS["rrelu"].check(lower=lower, upper=upper)
    lower, upper = float(bounds["lower"]), float(bounds["upper"])
    if not training:
        return _leaky(x, (lower + upper) / 2)
    slopes = _drawn(x, lower, upper, generator, seed)
    return _widely(_parametric, x, slopes)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x if x > 0 else alpha * (exp(x) - 1)``, by expm1. See :mod:`relume.activations.elu`.

    ``tf.nn.elu`` has no alpha, and computes exp(x) − 1: 0 at −1e-8.

    Example:
        >>> elu(tf.constant([-1e-8, 2.0])).numpy().tolist()
        [-9.99999993922529e-09, 2.0]
    """
    alpha = float(ACTIVATIONS["elu"].check(alpha=alpha)["alpha"])
    return _widely(lambda x: _exponential(x, alpha, 1.0), _tensor("elu", x))


def celu(x: Any, alpha: float = 1.0) -> Any:
    """``x if x > 0 else alpha * (exp(x / alpha) - 1)``, by expm1. See :mod:`relume.activations.celu`.

    Example:
        >>> celu(tf.constant([-1e-8, 2.0]), alpha=2.0).numpy().tolist()
        [-9.99999993922529e-09, 2.0]
    """
    alpha = float(ACTIVATIONS["celu"].check(alpha=alpha)["alpha"])
    return _widely(lambda x: _continuous(x, alpha), _tensor("celu", x))


def selu(x: Any) -> Any:
    """ELU with the constants that keep mean 0 and variance 1, by expm1. See :mod:`relume.activations.selu`.

    Example:
        >>> selu(tf.constant([-1e-8, 1.0], tf.float64)).numpy().round(12).tolist()
        [-1.7581e-08, 1.050700987355]
    """
    return _widely(lambda x: _exponential(x, SCALED_ALPHA, SCALE), _tensor("selu", x))


def softmax(x: Any, axis: int = -1) -> Any:
    """``exp(x_i) / Σ_j exp(x_j)`` along ``axis``. See :mod:`relume.activations.softmax`.

    Raises: ShapeError: ``x`` has no such axis. A 0-d ``x`` counts as a vector of one.
    """
    x = _tensor("softmax", x)
    if x.shape.rank == 0:
        return tf.reshape(tf.nn.softmax(tf.reshape(x, (1,))), ())
    if x.shape.rank is not None:
        axis_of(axis, tuple(x.shape))
    return tf.nn.softmax(x, axis=axis)


def _tensor(name: str, x: Any) -> Any:
    """``x`` as a tensor, if the activation has a meaning on its dtype."""
    x = tf.convert_to_tensor(x)
    require_dtype(ACTIVATIONS[name], x.dtype.name, tuple(x.shape) if x.shape.rank is not None else (), _CONVERT)
    return x


def _slopes(weight: Any, dtype: Any) -> Any:
    """``weight`` as a tensor of ``dtype``; numbers are converted, a tensor of another dtype is refused."""
    if tf.is_tensor(weight) and weight.dtype != dtype:
        raise DtypeError(
            f"PReLU: weight is {weight.dtype.name}, x is {dtype.name}. Expected one dtype for both. "
            f"Convert one of them, for example tf.cast(weight, tf.{dtype.name}).",
            slug="two-dtypes",
        )
    return tf.convert_to_tensor(weight, dtype)


def _drawn(x: Any, lower: float, upper: float, generator: Any, seed: Any) -> Any:
    """One slope per element of ``x``, in float32 for the halves: they have too few numbers between bounds."""
    if generator is not None and seed is not None:
        raise ParameterError("RReLU: got a generator and a seed. Give one of them.", slug="generator-and-seed")
    keywords = {"minval": lower, "maxval": upper, "dtype": tf.float32 if x.dtype in _HALVES else x.dtype}
    if seed is not None:
        return tf.random.stateless_uniform(tf.shape(x), seed, **keywords)
    return (generator or tf.random).uniform(tf.shape(x), **keywords)


def _widely(function: Callable[..., Any], *arrays: Any) -> Any:
    """Compute the halves in float32 and round once, in the value and in the gradients."""
    dtype = arrays[0].dtype
    if dtype not in _HALVES:
        return function(*arrays)
    return tf.cast(function(*(tf.cast(array, tf.float32) for array in arrays)), dtype)


def _leaky(x: Any, slope: float) -> Any:
    if x.dtype != tf.float64:  # the native op holds its slope in float32
        return tf.nn.leaky_relu(x, slope)
    return tf.where(x > 0, x, slope * x)


def _parametric(x: Any, weight: Any) -> Any:
    below = tf.where(x > 0, tf.ones_like(x), x)  # finite at +inf, where the gradient of weight is then 0
    return tf.where(x > 0, tf.nn.relu(x), weight * below)


def _exponential(x: Any, below: float, above: float) -> Any:
    """``above · x`` above 0, ``below · expm1(x)`` under it; at 0 the line: the second derivative there is 0."""
    line = x if above == 1 else above * x
    line = line if below == above else tf.where(x <= 0, below * x, line)
    return tf.where(x < 0, below * tf.math.expm1(tf.minimum(x, 0)), line)


def _continuous(x: Any, alpha: float) -> Any:
    return tf.where(x < 0, alpha * tf.math.expm1(tf.clip_by_value(x, -1000 * alpha, 0) / alpha), x)


def __getattr__(name: str) -> Any:
    from relume.tensorflow.family import FAMILY

    if name in FAMILY:
        return FAMILY[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The family as functions on NumPy arrays.

All take an array or array-like of any shape and return an array of its shape and dtype. The formulas, the
values at ±inf and nan and the sources are those of ``relume.activations``; here are the checks at the edge.
Integer, bool, complex and 8-bit floating input is a DtypeError (``relu`` and ``relu6`` keep integers), a parameter
outside its bounds a ParameterError. float16, and bfloat16 of ml_dtypes, are computed in float32 and rounded once, as
PyTorch does; float32 is computed in float64 where there is an exponential, since NumPy's own float32 one is 2 ulp off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from relume import activations
from relume.activations import ACTIVATIONS, NUMPY, Activation
from relume.activations._edge import axis_of, function_of, require_dtype, slopes_shape
from relume.errors import ParameterError, ShapeError

_WIDER = {"float16": np.float32, "bfloat16": np.float32}
_EXPONENTIAL = ("elu", "celu", "selu")


def prelu(x: ArrayLike, weight: ArrayLike = 0.25, axis: int | tuple[int, ...] = 1) -> NDArray[Any]:
    """``x if x > 0 else weight * x``. See :mod:`relume.activations.prelu`.

    Args:
        x: floating array, shape (N, C, …) where ``axis`` is 1.
        weight: the slopes: one number; or shape (C,), one per unit of ``axis``; or one axis of slopes for each of
            ``axis``; or an array of two or more axes that broadcasts to ``x`` by NumPy's rule, such as (C, 1, 1), or
            Keras's (H, W, C) on (N, H, W, C).
        axis: the unit axis, or a tuple of axes, that the slopes run along.

    Raises: ShapeError: ``weight`` does not fit ``x``, or ``x`` has no such axis.

    Example:
        >>> prelu(np.full((1, 2, 2), -1.0), [0.5, 0.0], axis=1).tolist()
        [[[-0.5, -0.5], [-0.0, -0.0]]]
    """
    x = _floating(ACTIVATIONS["prelu"], x)
    return _value("prelu", x, weight=_along(axis, np.asarray(weight), x))


def rrelu(
    x: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    *,
    training: bool = False,
    rng: np.random.Generator | int | None = None,
) -> NDArray[Any]:
    """``x if x > 0 else s * x``, with s the mean of the bounds, or drawn in training.

    See :mod:`relume.activations.rrelu`.

    Args:
        x: floating array, any shape.
        lower: least slope.
        upper: greatest slope.
        training: draw one slope per element from U(lower, upper), for x > 0 too: the draws do not depend on
            the data.
        rng: a generator or a seed, for training; None is fresh entropy.

    Example:
        >>> rrelu([-1.0, 1.0]).round(4).tolist()
        [-0.2292, 1.0]
        >>> bool(1 / 8 <= -rrelu(-1.0, training=True, rng=0) < 1 / 3)
        True
    """
    x = _floating(ACTIVATIONS["rrelu"], x)
    bounds = ACTIVATIONS["rrelu"].check(lower=lower, upper=upper)
    if not training:
        return _value("rrelu", x, **bounds)
    slopes = np.random.default_rng(rng).uniform(lower, upper, size=x.shape)
    return _value("rrelu", x, **bounds, slopes=slopes)


def softmax(x: ArrayLike, axis: int = -1) -> NDArray[Any]:
    """``exp(x_i) / Σ_j exp(x_j)`` along ``axis``. See :mod:`relume.activations.softmax`.

    Raises: ShapeError: ``x`` has no such axis. A 0-d ``x`` counts as a vector of one.
    """
    x = _floating(ACTIVATIONS["softmax"], x)
    return _softmax("value", x, axis)


def slope(name: str, x: ArrayLike, **keywords: Any) -> NDArray[Any]:
    """Compute the slope f′ of an activation, with PyTorch's choice at the kinks and at nan.

    Args:
        name: as for :func:`relume.activations.get`.
        x: floating array, any shape.
        **keywords: the activation's parameters. PReLU also ``axis`` as in :func:`prelu`; RReLU also
            ``slopes``, those drawn in training (the shape of ``x``); softmax ``tangent`` (the shape of
            ``x``), and ``axis``: its slope is the Jacobian-vector product.

    Returns: array, shape and dtype of ``x``.

    Raises:
        UnknownName: no such activation.
        ParameterError: no such parameter, or one outside its bounds.
        ShapeError: a weight, slopes or tangent that do not fit ``x``.

    Example:
        >>> slope("leaky_relu", [-1.0, 0.0, 1.0], negative_slope=0.2).tolist()
        [0.2, 0.2, 1.0]
    """
    activation = activations.get(name)
    x = _floating(activation, x)
    if activation.name == "softmax":
        return _softmax_slope(x, **keywords)
    if activation.name == "prelu":
        weight = keywords.pop("weight", activation.defaults()["weight"])
        keywords["weight"] = _along(keywords.pop("axis", 1), np.asarray(weight), x)
    slopes = keywords.pop("slopes", None) if activation.name == "rrelu" else None
    parameters = activation.check(**keywords)
    if slopes is not None:
        parameters["slopes"] = _same_shape("slopes", slopes, x)
    return _compute(activation, "slope", x, parameters)


def _value(name: str, x: ArrayLike, **keywords: Any) -> NDArray[Any]:
    activation = ACTIVATIONS[name]
    array = _floating(activation, x)
    slopes = {"slopes": keywords.pop("slopes")} if "slopes" in keywords else {}
    return _compute(activation, "value", array, activation.check(**keywords) | slopes)


def _softmax(part: str, x: NDArray[Any], axis: int, **keywords: Any) -> NDArray[Any]:
    vector = x.reshape(1) if x.ndim == 0 else x
    axis_of(axis, vector.shape)
    if x.size == 0:
        return x.copy()
    return _compute(ACTIVATIONS["softmax"], part, vector, keywords | {"axis": axis}).reshape(x.shape)


def _softmax_slope(x: NDArray[Any], *, axis: int = -1, tangent: Any = None, **unknown: Any) -> NDArray[Any]:
    ACTIVATIONS["softmax"].check(**unknown)
    if tangent is None:
        raise ParameterError(
            "The slope of softmax is a Jacobian-vector product: give tangent=, an array of the shape of x.",
            slug="no-tangent",
        )
    tangent = _same_shape("tangent", tangent, x)
    return _softmax("slope", x, axis, tangent=tangent.reshape(1) if x.ndim == 0 else tangent)


def _compute(activation: Activation, part: str, x: NDArray[Any], keywords: dict[str, Any]) -> NDArray[Any]:
    """``value`` or ``slope`` in the dtype of ``x``; ±inf and nan are no reason for a warning."""
    wider = np.float64 if activation.name in _EXPONENTIAL and x.dtype == np.float32 else _WIDER.get(x.dtype.name)
    wide = x if wider is None else x.astype(wider)
    keywords = {k: v.astype(wide.dtype) if isinstance(v, np.ndarray) else v for k, v in keywords.items()}
    with np.errstate(all="ignore"):
        result = np.asarray(getattr(activation, part)(wide, NUMPY, **keywords))
        return result.astype(x.dtype, copy=False)


def _floating(activation: Activation, x: ArrayLike) -> NDArray[Any]:
    """``x`` as an array, if the activation has a meaning on its dtype."""
    array = np.asarray(x)
    if array.dtype != np.longdouble:  # which only NumPy has
        require_dtype(activation, array.dtype.name, array.shape, "x.astype(np.float32)")
    return array


def _along(axis: int | tuple[int, ...], weight: NDArray[Any], x: NDArray[Any]) -> Any:
    """``weight`` in the shape that broadcasts to ``x``."""
    return weight.reshape(slopes_shape(weight.shape, x.shape, axis))


def _same_shape(name: str, given: Any, x: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(given)
    if array.shape != x.shape:
        raise ShapeError(
            f"{name} has shape {array.shape}, x has {x.shape}. Give one number per element of x.",
            slug="shape",
        )
    return array


def _made(activation: Activation) -> Any:
    return function_of(activation, lambda x, **parameters: _value(activation.name, x, **parameters), __name__)


FUNCTIONS = {name: globals().get(name) or _made(activation) for name, activation in ACTIVATIONS.items()}
"""Every activation as a function, by name: those without a function of their own here are made from the definition."""


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

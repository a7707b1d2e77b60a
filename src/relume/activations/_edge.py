"""What every framework's functions check at their edge, using only shapes and dtype names.

The tensors stay with their framework: it gives shapes as tuples (None for a size that is not known yet) and
gets back the shape in which slopes broadcast, or the one error that all frameworks share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from itertools import pairwise
from typing import Any

import numpy as np

from relume.activations.definition import Activation
from relume.errors import DtypeError, ShapeError

FLOATING = ("float16", "bfloat16", "float32", "float64")
"""The dtypes that the family is defined on."""

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

KEEPS_INTEGERS = ("relu", "relu6")
"""The activations that have a meaning on integers."""

Shape = Sequence[int | None]


def require_dtype(activation: Activation, dtype: str, shape: Shape, how: str) -> None:
    """Refuse a dtype on which the activation has no meaning.

    Args:
        activation: which one.
        dtype: its name, as ``"float32"``.
        shape: of the input, for the message.
        how: a call that converts, as ``"tf.cast(x, tf.float32)"``.

    Raises: DtypeError: integer (but for ReLU and ReLU6), bool, complex or 8-bit floating.

    Example:
        >>> from relume.activations import ACTIVATIONS
        >>> require_dtype(ACTIVATIONS["relu"], "int32", (2, 3), "x.float()")
    """
    integers = activation.name in KEEPS_INTEGERS
    if dtype in FLOATING or (integers and dtype in INTEGERS):
        return
    expected = "floating or integer numbers" if integers else "floating numbers"
    raise DtypeError(
        f"{activation.title}: got {dtype} of shape {_written(shape)}, expected {expected} "
        f"({', '.join(FLOATING)}). Convert first, for example {how}.",
        slug="dtype",
    )


def slopes_shape(weight: Shape, x: Shape, axis: int | Sequence[int]) -> tuple[Any, ...]:
    """The shape in which the slopes of PReLU broadcast to ``x``.

    Args:
        weight: shape of the slopes. One slope is shared by all; with as many axes as ``axis`` names, they are
            laid along these; with two or more otherwise, they must broadcast to ``x`` by NumPy's rule.
        x: shape of the input.
        axis: the axis of ``x`` that the slopes run along, or a tuple of them.

    Returns: sizes, None for one that is not known yet.

    Raises: ShapeError: the slopes do not fit (both shapes named), ``x`` has no such axis, or axes are out of order.

    Example:
        >>> slopes_shape((3,), (2, 3, 3, 3), axis=1)
        (1, 3, 1, 1)
        >>> slopes_shape((4, 5), (2, 4, 5, 3), axis=(1, 2))
        (1, 4, 5, 1)
    """
    sizes = tuple(weight)
    if all(size == 1 for size in sizes):
        return ()
    axes = axes_of(axis)
    if len(sizes) != len(axes):
        if len(sizes) > 1 and _broadcasts(sizes, x):
            return sizes
        expected = f"{len(axes)} axes of slopes, for axis {axis}, or a shape that broadcasts to that of x"
        raise _misfit(sizes, x, expected)
    places = [axis_of(one, x) for one in axes]
    if any(first >= second for first, second in pairwise(places)):
        raise ShapeError(
            f"axis = {axis}: for x of shape {_written(x)} these are the axes {tuple(places)}. "
            "Name each once, in rising order.",
            slug="axis-order",
        )
    laid: list[int | None] = [1] * len(x)
    for place, size in zip(places, sizes, strict=True):
        if None not in (size, x[place]) and size not in (1, x[place]):
            raise _misfit(sizes, x, f"one slope, or one for each of the {x[place]} units of axis {place}")
        laid[place] = x[place] if size is None else size
    return tuple(laid)


def axes_of(axis: int | Sequence[int]) -> tuple[int, ...]:
    """One axis or several, as a tuple.

    Raises: ShapeError: something else than an integer or integers.

    Example:
        >>> axes_of(-1), axes_of([1, 2])
        ((-1,), (1, 2))
    """
    axes = (axis,) if isinstance(axis, int | np.integer) else axis
    if not isinstance(axes, tuple | list) or any(
        not isinstance(one, int | np.integer) or isinstance(one, bool) for one in axes
    ):
        raise ShapeError(f"axis = {axis!r}. Expected an integer, or a tuple of integers.", slug="axis-out-of-range")
    return tuple(int(one) for one in axes)


def axis_of(axis: int, x: Shape) -> int:
    """``axis`` counted from the front.

    Raises: ShapeError: ``x`` has no such axis.

    Example:
        >>> axis_of(-1, (2, 3, 4))
        2
    """
    if not -len(x) <= axis < len(x):
        raise ShapeError(
            f"axis = {axis}: x of shape {_written(x)} has no such axis. Give one from {-len(x)} to {len(x) - 1}.",
            slug="axis-out-of-range",
        )
    return axis % len(x)


def _broadcasts(weight: Shape, x: Shape) -> bool:
    return len(weight) <= len(x) and all(
        size in (1, known, None) or known is None
        for size, known in zip(tuple(weight)[::-1], tuple(x)[::-1], strict=False)
    )


def _misfit(weight: Shape, x: Shape, expected: str) -> ShapeError:
    return ShapeError(
        f"PReLU: weight of shape {_written(weight)} does not fit x of shape {_written(x)}. Expected {expected}; "
        "give axis= if the units lie elsewhere.",
        slug="weight-shape",
    )


def _written(shape: Shape) -> str:
    return str(tuple(shape))


def function_of(
    activation: Activation, compute: Callable[..., Any], home: str, framework: str = ""
) -> Callable[..., Any]:
    """A function ``f(x, *parameters)`` with the signature and the description of a definition.

    Args:
        activation: the definition.
        compute: called as ``compute(x, **parameters)``; it does the checks.
        home: name of the module where it is found.
        framework: whose defaults the parameters have where it has its own; "" for the definition's.
    """
    defaults = {p.name: p.defaults.get(framework, p.default) for p in activation.parameters}

    def function(x: Any, *given: Any, **named: Any) -> Any:
        return compute(x, **defaults | bound(activation, given, named))

    kind = Parameter.POSITIONAL_OR_KEYWORD
    own = [Parameter(name, kind, default=default) for name, default in defaults.items()]
    function.__signature__ = Signature([Parameter("x", kind), *own])  # type: ignore[attr-defined]
    function.__name__ = function.__qualname__ = activation.name
    function.__module__ = home
    function.__doc__ = f"``{activation.formula}``. See :mod:`relume.activations.{activation.name}`."
    return function


def bound(activation: Activation, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Parameters that are given by place and by name, by name.

    Raises: TypeError: more are given than the definition has.
    """
    names = [parameter.name for parameter in activation.parameters]
    if len(given) > len(names):
        raise TypeError(f"{activation.title} takes {len(names)} parameters, {len(given)} were given")
    return dict(zip(names, given, strict=False)) | named

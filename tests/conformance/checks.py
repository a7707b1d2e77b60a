"""The battery's checks, as functions of an adapter: the tests call them, and so do the planted faults."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import cases
import ml_dtypes
import numpy as np
import oracle
import pytest

from relume.errors import RelumeError

TOLERANCES = tomllib.loads(Path(__file__).with_name("tolerances.toml").read_text(encoding="utf-8"))
PARTS = {"value": "value", "gradient": "slope", "forward_gradient": "slope"}


def tolerance(adapter: str, activation: str, part: str, dtype: str) -> float:
    """The table's figure, in ulp."""
    own, common = TOLERANCES.get(adapter, {}), TOLERANCES["*"]
    rows = (own.get(activation, {}).get(part), own.get(activation), own, common.get(activation), common)
    for row in rows:
        for key in (dtype, "ulp"):
            if isinstance(row, dict) and key in row:
                return float(row[key])
    raise AssertionError("the table has no common row")


def room(
    adapter: str,
    activation: str,
    part: str,
    dtype: str,
    x: np.ndarray,
    expected: np.ndarray,
    parameters: dict[str, Any],
) -> np.ndarray:
    """How far each element may be from the exact one, in ulp.

    A slope by ``quotient``, ``result``, ``nan`` and ``infinite``, too.
    """
    allowed = np.full(expected.shape, tolerance(adapter, activation, part, dtype))
    own, alpha = TOLERANCES.get(adapter, {}).get(activation, {}), parameters.get("alpha", 1.0)
    if PARTS[part] != "slope":
        return allowed
    with np.errstate(all="ignore"):
        if np.frexp(alpha)[0] != 0.5:
            allowed += own.get("quotient", 0) * np.nan_to_num(np.abs(x.astype(np.float64)) / alpha, posinf=0)
        if factor := own.get("result"):
            largest = np.maximum(
                oracle.ulp(np.full(expected.shape, 2.0 * max(alpha, 1.0)), dtype), oracle.ulp(expected, dtype)
            )
            allowed = np.maximum(allowed, factor * (largest / oracle.ulp(expected, dtype)).astype(np.float64))
    skipped = np.isnan(x.astype(np.float64)) & own.get("nan", False)
    return np.where(skipped | (np.isinf(x.astype(np.float64)) & own.get("infinite", False)), np.inf, allowed)


def least(dtype: str, parameters: dict[str, Any]) -> float:
    """The smallest number of ``dtype`` that x / alpha and alpha · exp(x / alpha) do not take below the normal ones."""
    alpha = float(parameters.get("alpha", 1.0))
    return float(ml_dtypes.finfo(cases.DTYPES[dtype]).tiny) * max(alpha, 1 / alpha if alpha > 0 else 1.0)


SQUARES = ("relu_squared", "leaky_squared")
"""Their slope is 0 at their kink, and the sign of that 0 is what the modes of a framework make of it."""


def check(adapter: Any, activation: str, parameters: dict[str, Any], dtype: str, part: str) -> None:
    """Every input against the oracle: dtype, shape, and ulp."""
    for name, x in cases.inputs(dtype, adapter.inputs):
        got = getattr(adapter, part)(activation, x, dtype, **parameters)
        expected = oracle.exact(PARTS[part], activation, x, parameters)
        allowed = room(adapter.name, activation, part, dtype, x, expected, parameters)
        if adapter.flushes:
            expected = taken_for_zero(got, expected, activation, parameters, x, dtype, part, allowed)
        got, expected = unsigned(adapter.name, activation, part, got, expected)
        compare(adapter, got, expected, x, dtype, allowed, f"{dtype}, {name}", least(dtype, parameters))


def unsigned(adapter: str, activation: str, part: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays; with 0 for −0 in slopes of a square, and in values that the table calls ``unsigned``."""
    own = TOLERANCES.get(adapter, {}).get(activation, {})
    if not (own.get("unsigned") if part == "value" else activation in SQUARES):
        return arrays
    return tuple(array + array.dtype.type(0) for array in arrays)


def taken_for_zero(
    got: np.ndarray,
    expected: np.ndarray,
    activation: str,
    parameters: dict[str, Any],
    x: np.ndarray,
    dtype: str,
    part: str,
    allowed: Any,
) -> np.ndarray:
    """``expected``, but where a subnormal input gave what the zero of its sign gives: that."""
    subnormal = np.abs(x.astype(np.float64)) < least(dtype, parameters)
    zeroed = np.where(subnormal, np.copysign(np.zeros_like(x), x), x).astype(x.dtype)
    at_zero = oracle.exact(PARTS[part], activation, zeroed, parameters)
    if got.shape != at_zero.shape:
        return expected
    return np.where(subnormal & (oracle.ulps(got, at_zero, dtype) <= allowed), at_zero, expected)


def compare(
    adapter: Any,
    got: np.ndarray,
    expected: np.ndarray,
    x: np.ndarray,
    dtype: str,
    allowed: Any,
    what: str,
    tiny: float = 0.0,
) -> None:
    """Dtype, shape and ulp of one result; where the backend flushes, what is below ``tiny`` may be 0 or ``x``."""
    assert (got.dtype, got.shape) == (np.dtype(cases.DTYPES[dtype]), expected.shape), what
    off = oracle.ulps(got, expected, dtype)
    good = off <= allowed
    if adapter.flushes:
        tiny = tiny or least(dtype, {})
        with np.errstate(all="ignore"):
            small = (np.abs(x.astype(np.float64)) < tiny) | (np.abs(expected) < tiny)
            small &= ((got == 0) | (got == x)) & (x != 0)
        good |= small if small.shape == good.shape else False
    rows = zip(
        np.ravel(np.broadcast_to(x, good.shape)), got.ravel(), expected.ravel(), off.ravel(), good.ravel(), strict=True
    )
    wrong = [f"x {a}: got {b}, exact {float(c):.9g}, {d:.3g} ulp" for a, b, c, d, ok in rows if not ok]
    assert not wrong, f"{what}: {len(wrong)} of {good.size} beyond {np.min(allowed, initial=np.inf)} ulp: " + "; ".join(
        wrong[:12]
    )


def check_prelu_shape(
    adapter: Any, shape: tuple[int, ...], weight_shape: tuple[int, ...], axis: Any, dtype: str, part: str
) -> None:
    """Slopes that lie along one axis or several: value and gradient, no slope alike."""
    rng = np.random.default_rng(5)
    kind = cases.DTYPES[dtype]
    x = rng.normal(size=shape).astype(kind)
    weight = rng.uniform(0.1, 0.9, size=weight_shape).astype(kind)
    got = getattr(adapter, part)("prelu", x, dtype, weight=weight, axis=axis)
    expected = oracle.exact(PARTS[part], "prelu", x, {"weight": laid(weight, shape, axis)})
    compare(adapter, got, expected, x, dtype, tolerance(adapter.name, "prelu", part, dtype), f"{shape}, axis {axis}")


def laid(weight: np.ndarray, shape: tuple[int, ...], axis: Any) -> np.ndarray:
    """The slopes in the shape that broadcasts to ``shape``."""
    if weight.size == 1:
        return weight.reshape(())
    axes = [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
    return weight.reshape([shape[a] if a in axes else 1 for a in range(len(shape))])


def check_prelu_weight(adapter: Any, shape: tuple[int, ...], weight_shape: tuple[int, ...], axis: Any) -> None:
    """The gradient of the slopes, in float64, against the sum that it is."""
    rng = np.random.default_rng(6)
    x, weight = rng.normal(size=shape), rng.uniform(0.1, 0.9, size=weight_shape)
    got = adapter.weight_gradient(x, "float64", weight=weight, axis=axis)
    below, spread = np.minimum(x, 0), laid(weight, shape, axis).shape
    spread = (1,) * (x.ndim - len(spread)) + spread
    summed = below.sum(tuple(i for i, size in enumerate(spread) if size == 1), keepdims=True)
    assert got.shape == weight.shape
    np.testing.assert_allclose(got, summed.reshape(weight.shape), rtol=1e-12, atol=1e-12)


def check_refused(adapter: Any, activation: str, x: np.ndarray, parameters: dict[str, Any], says: str) -> None:
    """An error of relume's, in the words of all frameworks; a worker sends the text of its own."""
    parameters = {"weight": np.array(0.25)} | parameters if activation == "prelu" else parameters
    with pytest.raises((RelumeError, RuntimeError), match=f"(?s){says}"):
        adapter.value(activation, x, x.dtype.name, **parameters)


def check_drawn(adapter: Any, dtype: str) -> None:
    """RReLU in training: within the bounds, uniform, independent of neighbours, calls and data, one sample for both."""
    n, lower, upper = 20_000, 0.1, 0.5
    kind = cases.DTYPES[dtype]
    room = float(ml_dtypes.finfo(kind).eps)
    below = np.full(n, -1, kind)
    value, gradient = (np.asarray(a) for a in adapter.drawn(below, dtype, lower, upper, 1))
    assert value.dtype == gradient.dtype == kind
    slopes = -value.astype(np.float64)
    np.testing.assert_array_equal(slopes, gradient.astype(np.float64))
    assert lower - room <= slopes.min() <= slopes.max() <= upper + room
    shares = np.histogram(slopes.clip(lower, upper), 10, (lower, upper))[0] / n
    assert np.abs(shares - 0.1).max() < 0.01 + room, "not uniform"  # five standard deviations, and the rounding
    other = -np.asarray(adapter.drawn(below, dtype, lower, upper, 2)[0]).astype(np.float64)
    again = -np.asarray(adapter.drawn(below, dtype, lower, upper, 1)[0]).astype(np.float64)
    np.testing.assert_array_equal(slopes, again)
    for name, a, b in (
        ("neighbours", slopes[:-1], slopes[1:]),
        ("seeds", slopes, other),
        ("sixteen apart", slopes[:-16], slopes[16:]),
    ):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(n), name
    signs = np.where(np.arange(n) % 3 == 0, -1, 1).astype(kind)
    mixed, mixed_gradient = (np.asarray(a).astype(np.float64) for a in adapter.drawn(signs, dtype, lower, upper, 1))
    np.testing.assert_array_equal(mixed[signs > 0], 1, "above 0 nothing is random")
    np.testing.assert_array_equal(-mixed[signs < 0], slopes[signs < 0], "the draws depend on the data")
    np.testing.assert_array_equal(mixed_gradient, np.where(signs > 0, 1, slopes))
    edges = below.copy()
    edges[:3] = 0.0, -0.0, np.nan
    edge_values, edge_gradient = (np.asarray(a) for a in adapter.drawn(edges, dtype, lower, upper, 1))
    np.testing.assert_array_equal(edge_gradient.astype(np.float64), slopes, "at 0 and nan the slope is the drawn one")
    assert (np.signbit(edge_values[:2]).tolist(), np.isnan(edge_values[2])) == ([False, True], True)

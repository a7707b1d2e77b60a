"""The cases of every framework: activations, parameters, dtypes and inputs.

An input is an array of the dtype in question (bfloat16 by ml_dtypes) and any layout; its name says why it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from relume.activations import ACTIVATIONS

FAMILY = tuple(a.name for a in ACTIVATIONS.values() if a.rectifier)
"""The activations that every framework of ours offers."""

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}

PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "leaky_relu": [{"negative_slope": s} for s in (0.01, 0.2, 0.0, -0.5, 2.0)],
    "prelu": [{"weight": np.array(w)} for w in (0.25, 0.0, -1.0)],
    "rrelu": [{}, {"lower": 0.1, "upper": 0.9}, {"lower": 0.0, "upper": 0.0}],
    "elu": [{"alpha": a} for a in (1.0, 2.0, 0.5, 0.0)],
    "celu": [{"alpha": a} for a in (1.0, 2.0, 0.5, 0.1, 0.3, 1.7, 3.0)],
    "leaky_squared": [{"negative_slope": s} for s in (0.5, 0.3, 0.0, -0.5, 2.0)],
}
"""RReLU in evaluation: its random slopes have tests of their own. CELU's alphas are powers of two, by which x divides
exactly, and others: there exp makes |x / alpha| times as much of the quotient's rounding."""

CASES: list[tuple[str, dict[str, Any]]] = [(name, p) for name in FAMILY for p in PARAMETERS.get(name, [{}])]

PRELU_SHAPES: list[tuple[tuple[int, ...], tuple[int, ...], int | tuple[int, ...]]] = [
    ((2, 3), (3,), 1),
    ((3, 3), (3,), 0),
    ((3, 3), (3,), 1),
    ((2, 4, 4, 4), (4,), 1),
    ((2, 4, 4, 4), (4,), 2),
    ((2, 4, 4, 4), (4,), -1),
    ((2, 3, 5), (1,), 1),
    ((2, 3, 5), (), 1),
    ((4,), (4,), 0),
    ((2, 4, 5, 3), (4, 5, 3), (1, 2, 3)),
    ((2, 3, 3, 3), (3, 3), (1, 3)),
    ((0, 3), (3,), 1),
]
"""(shape of x, shape of the slopes, axis): sizes that coincide show a slope laid along the wrong axis."""


X = np.array([[-1.0, 2.0, 3.0], [0.0, -2.0, 1.0]], np.float32)
COUNT = np.array([[-1, 2, 3]])
REFUSED: list[tuple[str, np.ndarray, dict[str, Any], str]] = [
    *(
        (name, COUNT.astype(dtype), {}, rf"(got|dtype is) '?{dtype}.*\[dtype\]")
        for name in FAMILY
        for dtype in ("bool", "complex64", "float8_e4m3fn", "int32")
        if dtype != "int32" or name not in ("relu", "relu6")
    ),
    *(
        ("leaky_relu", X, {"negative_slope": bad}, r"LeakyReLU: negative_slope = .*\[parameter-out-of-bounds\]")
        for bad in (np.nan, np.inf, "0.1", True, None)
    ),
    *(("elu", X, {"alpha": bad}, r"ELU: alpha = .*\[parameter-out-of-bounds\]") for bad in (np.nan, -1.0, np.inf)),
    *(("celu", X, {"alpha": bad}, r"CELU: alpha = .*\[parameter-out-of-bounds\]") for bad in (np.nan, 0.0, -1.0)),
    (
        "rrelu",
        X,
        {"lower": 0.5, "upper": 0.25},
        r"lower = 0\.5 is greater than upper = 0\.25.*\[parameter-out-of-bounds\]",
    ),
    ("rrelu", X, {"lower": np.nan}, r"RReLU: lower = nan .*\[parameter-out-of-bounds\]"),
    (
        "prelu",
        X,
        {"weight": np.ones(4), "axis": 1},
        r"weight of shape \(4,\) does not fit x of shape \(2, 3\).*\[weight-shape\]",
    ),
    (
        "prelu",
        X,
        {"weight": np.ones((2, 2)), "axis": (0, 1)},
        r"\(2, 2\) does not fit x of shape \(2, 3\).*\[weight-shape\]",
    ),
    (
        "prelu",
        X,
        {"weight": np.ones(3), "axis": 2},
        r"axis = 2: x of shape \(2, 3\) has no such axis.*\[axis-out-of-range\]",
    ),
    ("prelu", X, {"weight": np.ones(3), "axis": -3}, r"axis = -3: x of shape \(2, 3\).*\[axis-out-of-range\]"),
    ("prelu", X, {"weight": np.ones(3), "axis": 1.5}, r"axis = 1\.5. Expected an integer.*\[axis-out-of-range\]"),
    ("prelu", X, {"weight": np.ones((3, 2)), "axis": (1, 0)}, r"axis = \(1, 0\).*in rising order.*\[axis-order\]"),
]
"""(activation, x, parameters, what the error says): refused everywhere, in the same words."""


def special(dtype: str) -> list[float]:
    """Seventeen numbers at which frameworks disagree: sixteen for the vector code and one for the scalar tail."""
    finfo = ml_dtypes.finfo(DTYPES[dtype])
    tiny, subnormal = float(finfo.tiny), float(finfo.smallest_subnormal)
    edge = 6 * (1 + float(finfo.eps))
    found = [0.0, -0.0, np.inf, -np.inf, np.nan, 6.0, edge, -6.0, subnormal, -subnormal, tiny, -tiny]
    return [*found, 1.0, -1.0, float(finfo.max) / 2, -float(finfo.max) / 2, -1e-4]


def sweep(dtype: str) -> np.ndarray:
    """From 1e-12 to 1e2 on both sides, evenly in the logarithm, and all that is special; 17 · 24 + 1 numbers."""
    steps = np.logspace(-12, 2, 196)
    return np.array([*-steps, *special(dtype), *steps], DTYPES[dtype])


def inputs(dtype: str, names: tuple[str, ...] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """(name, x): all inputs, or those of these names."""
    kind = DTYPES[dtype]
    numbers = special(dtype)
    rng = np.random.default_rng(3)
    images = (rng.normal(size=(2, 5, 6, 4)) * 4).astype(kind)
    made: dict[str, Callable[[], list[np.ndarray]]] = {
        "sweep": lambda: [sweep(dtype)],
        "random": lambda: [images],
        "one": lambda: [np.array([number], kind) for number in numbers],
        "seventeen": lambda: [np.array(numbers, kind), np.array(numbers[::-1], kind)],
        "empty": lambda: [np.zeros((0, 3), kind), np.zeros(0, kind)],
        "zero_dimensional": lambda: [np.array(number, kind) for number in (-1.5, 0.0, np.nan)],
        "non_contiguous": lambda: [images[:, 1:, ::2, ::3], images[0].T],
        "channels_last": lambda: [images.transpose(0, 3, 1, 2)],
    }
    for name, make in made.items():
        if names is None or name in names:
            for x in make():
                yield name, x


def written(parameters: dict[str, Any]) -> str:
    """Parameters as a test's name has them."""
    return "-".join(f"{np.asarray(p):g}" if np.ndim(p) == 0 else str(np.shape(p)) for p in parameters.values())

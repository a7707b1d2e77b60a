"""Every row of every ``deviations.toml``, against the installed framework and against relume: a stale row fails."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relume.numpy as oracle
from relume import activations
from relume.activations.deviations import QUANTITIES, Deviation, load

ROWS = load()
PACKAGES = {"keras": ("keras",), "onnx": ("onnx", "onnxruntime")}
RTOL = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 1e-5, "float64": 1e-9}
SLOPES = ("gradient", "forward_gradient")


def process_of(row: Deviation) -> tuple[str, str]:
    return row.folder, row.backend


@cache
def computed() -> dict[Deviation, Any]:
    """Both sides of every row, by one process for each framework and backend."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(ROWS):
        groups[process_of(row)].append(i)
    results: dict[int, Any] = {}
    for (folder, backend), indices in groups.items():
        results |= dict(zip(indices, run([ROWS[i] for i in indices], folder, backend), strict=True))
    return results


def run(rows: list[Deviation], folder: str, backend: str) -> list[Any]:
    packages = (*PACKAGES.get(folder, (folder,)), *([backend] if backend else []))
    if absent := [p for p in packages if importlib.util.find_spec(p) is None]:
        return [f"{', '.join(absent)} not installed"] * len(rows)
    script = Path(__file__).with_name("deviating.py")
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, script],
        input=json.dumps([asdict(row) for row in rows]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def same(got: list[Any], expected: tuple[Any, ...], dtype: str) -> bool:
    """Numbers within the rounding of the dtype, signs of zeros and nan included; words as they are; an exception by
    any of its classes."""
    if any(isinstance(value, str) for value in (*got, *expected)):
        return [str(e) for e in expected] == got or (len(got) == 1 and str(expected[0]) in str(got[0]).split())
    if len(got) != len(expected):
        return False
    a, b = np.array(got, float), np.array(expected, float)
    near = np.isclose(a, b, rtol=RTOL.get(dtype, 0), atol=0, equal_nan=True)
    return bool(np.all(near & ((a != 0) | (np.signbit(a) == np.signbit(b)))))


def name(row: Deviation) -> str:
    return f"{row.activation}-{row.where}-{row.quantity}-{row.dtype}".replace(" ", "-")


@pytest.mark.parametrize("i", range(len(ROWS)), ids=[name(row) for row in ROWS])
def test_a_row_equals_what_the_installed_framework_and_relume_give(i):
    row, result = ROWS[i], computed()[i]
    if isinstance(result, str):
        pytest.skip(result)
    native, ours = result
    count = len(row.native_gives)
    if row.length:
        assert same(ours, tuple(np.resize(row.relume_gives, row.length)), row.dtype), f"ours, at any length: {ours}"
        native, ours = native[:count], ours[: len(row.relume_gives)]
    prove(row, native, ours)


def prove(row: Deviation, native: list[Any], ours: list[Any]) -> None:
    """Raises: AssertionError: the row is stale, and what both give now."""
    asked = f"{row.where}({', '.join(map(str, row.x))}, {dict(row.arguments)}), {row.quantity}, {row.dtype}"
    says = f"the row says {row.native_gives}, {row.relume_gives}"
    assert same(native, row.native_gives, row.dtype), f"{asked}: the framework now gives {native}; {says}"
    assert same(ours, row.relume_gives, row.dtype), f"{asked}: relume gives {ours}; {says}"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_row_is_a_deviation_of_a_known_activation(row):
    assert row.quantity in QUANTITIES
    assert row.activation in activations.ACTIVATIONS
    assert row.says
    assert row.relume or not same(list(row.native_gives), row.relume_gives, row.dtype), "the two agree"
    assert bool(row.backend) == (row.folder == "keras")


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.quantity in ("value", *SLOPES) and not isinstance(row.relume_gives[0], str)],
    ids=name,
)
def test_relume_equals_the_definition_unless_the_row_says_otherwise(row):
    arguments = dict(row.arguments if row.ours_arguments is None else row.ours_arguments)
    known = {p.name for p in activations.ACTIVATIONS[row.activation].parameters}
    parameters = {k: np.asarray(v) if isinstance(v, list) else v for k, v in arguments.items() if k in known}
    x = np.asarray(row.x, numpy_dtype(row.dtype))
    if row.quantity == "value":
        defined = getattr(oracle, row.activation)(x, **parameters)
    else:
        defined = oracle.slope(row.activation, x, **parameters)
    assert same(defined.astype(float).tolist(), row.relume_gives, row.dtype) != row.relume


def numpy_dtype(dtype: str) -> Any:
    import ml_dtypes

    return getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype


def test_a_row_that_is_stale_or_wrong_fails_with_the_current_values():
    row = Deviation("torch", "elu", "torch.nn.functional.elu", "value", "", (0.0,), (-1.0,), (-1.0,))
    [[native, ours]] = run([row], "torch", "")
    with pytest.raises(AssertionError, match=r"the framework now gives \[-0\.632.*; the row says \(0\.0,\)"):
        prove(row, native, ours)
    row = replace(row, native_gives=(-0.6321206,))
    with pytest.raises(AssertionError, match=r"relume gives \[-0\.632.*; the row says"):
        prove(row, native, ours)


def test_results_are_compared_with_signs_nan_and_words():
    assert same([0.0], (0.0,), "float32")
    nan = float("nan")
    for got, expected in ([0.0], (-0.0,)), ([1.0], (1.001,)), ([nan], (1.0,)), (["TypeError"], ("none",)), ([1.0], ()):
        assert not same(got, expected, "float32")
    assert same(["ShapeError RelumeError ValueError"], ("ValueError",), "float32")

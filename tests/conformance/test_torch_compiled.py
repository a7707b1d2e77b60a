"""relume.torch under torch.compile(fullgraph=True): the whole family in every dtype is one graph, for time's sake."""

from __future__ import annotations

import warnings
from typing import Any

import cases
import checks
import numpy as np
import oracle
import pytest
import torch
from on_torch import DTYPES, array, tensor

import relume.torch.functional as rf

COMPILED: list[tuple[str, dict[str, Any]]] = [
    ("relu", {}),
    ("leaky_relu", {"negative_slope": 0.2}),
    ("prelu", {"weight": np.array(0.25)}),
    ("rrelu", {}),
    ("relu6", {}),
    ("elu", {"alpha": 2.0}),
    ("celu", {"alpha": 2.0}),
    ("celu", {"alpha": 0.3}),
    ("selu", {}),
    ("relu_squared", {}),
    ("leaky_squared", {"negative_slope": 0.5}),
]
INPUTS = ("sweep", "seventeen")  # lengths that leave a tail behind the vector code


class Compiled:
    """Values and gradients that one compiled graph gave, looked up."""

    name = "torch"
    flushes = False

    def __init__(self) -> None:
        torch._dynamo.reset()
        self.results: dict[tuple[str, str, str, bytes], tuple[np.ndarray, np.ndarray]] = {}
        graph = torch.compile(family, fullgraph=True, dynamic=True)
        by_dtype = {dtype: [x for _, x in cases.inputs(dtype, INPUTS)] for dtype in DTYPES}
        for row in zip(*by_dtype.values(), strict=True):
            given = [tensor(x).requires_grad_() for x in row for _ in COMPILED]
            out = graph(given)
            gradients = torch.autograd.grad(out, given, [torch.ones_like(y) for y in out])
            keys = [
                (name, cases.written(p), dtype, x.tobytes())
                for dtype, x in zip(DTYPES, row, strict=True)
                for name, p in COMPILED
            ]
            for key, y, gradient in zip(keys, out, gradients, strict=True):
                self.results[key] = array(y), array(gradient)


def family(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    found = []
    for number, x in enumerate(inputs):
        name, parameters = COMPILED[number % len(COMPILED)]
        if name == "prelu":
            parameters = {"weight": torch.full((1,), 0.25, dtype=x.dtype)}
        found.append(getattr(rf, name)(x, **parameters))
    return found


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    with warnings.catch_warnings():  # PyTorch's compiler warns of its own use of torch.jit
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        return Compiled()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "parameters"), COMPILED, ids=[name + cases.written(p) for name, p in COMPILED])
def test_compiled_result_equals_the_oracle(compiled, activation, parameters, dtype):
    for place, part in enumerate(("value", "gradient")):
        for name, x in cases.inputs(dtype, INPUTS):
            got = compiled.results[activation, cases.written(parameters), dtype, x.tobytes()][place]
            expected = oracle.exact(checks.PARTS[part], activation, x, parameters)
            got, expected = checks.unsigned("torch", activation, part, got, expected)
            allowed = checks.room("torch", activation, part, dtype, x, expected, parameters)
            checks.compare(compiled, got, expected, x, dtype, allowed, f"{part}, {name}")

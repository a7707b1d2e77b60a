"""Computes rows of ``deviations.toml`` in a process of its own, so that each framework is alone in its process.

    python deviating.py <rows as JSON, results as JSON>

A row comes as the fields of ``relume.activations.deviations.Deviation``; a result is ``[native, ours]``, each a list of
numbers or words, or ``["raised: …"]``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any

TENSORS = ("weight", "slopes", "slope")  # arguments that are tensors, not lists


class Torch:
    def __init__(self):
        import torch

        torch.set_num_threads(1)
        self.lib = torch

    def tensor(self, numbers, dtype):
        return self.lib.tensor(numbers, dtype=getattr(self.lib, dtype))

    def numbers(self, y):
        return y.detach().double().flatten().tolist()

    def gradient(self, f, x):
        leaf = x.clone().requires_grad_()
        return self.lib.autograd.grad(f(leaf.clone()).sum(), leaf)[0]

    def forward_gradient(self, f, x):
        return self.lib.func.jvp(f, (x,), (self.lib.ones_like(x),))[1]

    def second_gradient(self, f, x):
        leaf = x.clone().requires_grad_()
        first = self.lib.autograd.grad(f(leaf).sum(), leaf, create_graph=True)[0]
        return self.lib.autograd.grad(first.sum(), leaf)[0] if first.requires_grad else self.lib.zeros_like(x)

    def compiled(self, f):
        return self.lib.compile(f, fullgraph=True, dynamic=False)


class TensorFlow:
    def __init__(self):
        import tensorflow

        self.lib = tensorflow

    def tensor(self, numbers, dtype):
        return self.lib.constant(numbers, dtype)

    def numbers(self, y):
        return y.numpy().astype("float64").ravel().tolist()

    def gradient(self, f, x):
        with self.lib.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x)

    def forward_gradient(self, f, x):
        with self.lib.autodiff.ForwardAccumulator(x, self.lib.ones_like(x)) as accumulator:
            y = f(x)
        return accumulator.jvp(y)

    def second_gradient(self, f, x):
        with self.lib.GradientTape() as tape:
            tape.watch(x)
            first = self.gradient(f, x)
        second = tape.gradient(first, x)
        return self.lib.zeros_like(x) if second is None else second

    def compiled(self, f):
        return self.lib.function(f, jit_compile=True)


class Jax:
    def __init__(self):
        import jax

        self.lib = jax

    def tensor(self, numbers, dtype):
        self.lib.config.update("jax_enable_x64", "64" in dtype)
        return self.lib.numpy.asarray(numbers, dtype)

    def numbers(self, y):
        return [float(number) for number in y.ravel()]

    def gradient(self, f, x):
        return self.lib.grad(lambda v: f(v).sum())(x)

    def forward_gradient(self, f, x):
        return self.lib.jvp(f, (x,), (self.lib.numpy.ones_like(x),))[1]

    def second_gradient(self, f, x):
        return self.gradient(lambda v: self.gradient(f, v), x)

    def compiled(self, f):
        return self.lib.jit(f)


class Onnx:
    """Native names are ``onnx.<Op>``: a model of one node, run by ONNX Runtime."""

    def tensor(self, numbers, dtype):
        import ml_dtypes
        import numpy

        return numpy.asarray(numbers, getattr(ml_dtypes, dtype, dtype))

    def numbers(self, y):
        return y.astype("float64").ravel().tolist()


TOOLS = {"torch": Torch, "tensorflow": TensorFlow, "jax": Jax, "onnx": Onnx}


def find(dotted: str) -> Any:
    """The object of a dotted name; the module part is imported."""
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return found
    raise LookupError(dotted)


def ours_of(row: dict[str, Any]) -> str:
    """relume's counterpart of a native name."""
    if row["ours"]:
        return row["ours"]
    native, folder = row["native"], row["folder"]
    last = native.rpartition(".")[2]
    if folder == "onnx":
        return f"relume.onnx:{row['activation']}"
    if last[0].isupper():
        place = {"flax": "relume.jax.flax", "equinox": "relume.jax.equinox"}.get(native.partition(".")[0])
        return f"{place or 'relume.' + folder}.{last}"
    functional = {"torch": "relume.torch.functional", "keras": "relume.keras.functional"}
    return f"{functional.get(folder, 'relume.' + folder)}.{row['activation']}"


def callable_of(tool: Any, name: str, arguments: dict[str, Any], dtype: str) -> Callable[[Any], Any]:
    """A function of one tensor: the function or the layer of that name with these arguments."""
    if name.startswith(("onnx.", "relume.onnx:")):
        return onnx_runner(name, arguments)
    target = find(name)
    settled = {k: tool.tensor(v, dtype) if k in TENSORS and isinstance(v, list) else v for k, v in arguments.items()}
    if inspect.isclass(target):
        return target(**settled)
    return lambda x: target(x, **settled)


def onnx_runner(name: str, arguments: dict[str, Any]) -> Callable[[Any], Any]:
    from one_node import run_definition, run_op

    if name.startswith("onnx."):
        return lambda x: run_op(name[len("onnx.") :], x, arguments)
    return lambda x: run_definition(name.partition(":")[2], x, arguments)


def weights_shape(tool: Any, layer: Any, shape: list[int], dtype: str) -> list[Any]:
    """The shape of a layer's first weight after it was called on ones."""
    import numpy

    layer(tool.tensor(numpy.ones(shape).tolist(), dtype))
    weights = layer.weights if hasattr(layer, "weights") else list(layer.parameters())
    return list(weights[0].shape)


def compute(tool: Any, row: dict[str, Any], name: str, arguments: dict[str, Any]) -> list[Any]:
    """One side of a row."""
    quantity, dtype = row["quantity"], row["dtype"]
    if quantity == "expression":
        scope = {root: importlib.import_module(root) for root in {row["folder"], *name_roots(name)}}
        result = eval(name, scope)  # the rows are ours
        return list(result) if isinstance(result, (list, tuple)) else [result]
    if quantity == "default":
        target = find(name)
        signature = inspect.signature(target.__init__ if inspect.isclass(target) else target)
        return [signature.parameters[arguments["parameter"]].default]
    numbers = row["x"] * math.ceil(row["length"] / len(row["x"])) if row["length"] else row["x"]
    numbers = numbers[: row["length"]] if row["length"] else numbers
    try:
        x = tool.tensor(numbers, dtype)
        f = callable_of(tool, name, arguments, dtype)
        if quantity == "shape":
            return weights_shape(tool, f, row["input_shape"], dtype)
        f = tool.compiled(f) if row["compiled"] else f
        y = f(x) if quantity in ("value", "dtype", "error") else getattr(tool, quantity)(f, x)
    except Exception as error:
        if quantity != "error":
            raise
        return [" ".join(kind.__name__ for kind in type(error).__mro__)]
    if quantity == "dtype":
        return [str(y.dtype).rpartition(".")[2] if "<" not in str(y.dtype) else y.dtype.name]
    return ["none"] if quantity == "error" else tool.numbers(y)


def name_roots(expression: str) -> set[str]:
    """The packages that an expression starts its names with."""
    import ast

    names = {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}
    return names & {"torch", "tensorflow", "keras", "jax", "numpy", "onnx", "onnxruntime", "relume"}


def main() -> None:
    rows = json.load(sys.stdin)
    framework = os.environ["KERAS_BACKEND"] if rows[0]["folder"] == "keras" else rows[0]["folder"]
    tool, results = TOOLS[framework](), []
    for row in rows:
        ours = row["arguments"] if row["ours_arguments"] is None else row["ours_arguments"]
        sides = []
        for name, arguments in ((row["native"], row["arguments"]), (ours_of(row), ours)):
            try:
                sides.append(compute(tool, row, name, arguments))
            except Exception as error:  # noqa: BLE001 - told as this row's result: the others go on
                sides.append([f"raised: {type(error).__name__}: {error}"])
        results.append(sides)
    print(json.dumps(results))


if __name__ == "__main__":
    main()

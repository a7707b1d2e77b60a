"""ONNX models of one activation, run by ONNX Runtime."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

import relume.onnx
from relume.activations.spec import Spec


def session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_model(model: Any, *inputs: np.ndarray) -> np.ndarray:
    made = session(model)
    return np.asarray(made.run(None, {given.name: x for given, x in zip(made.get_inputs(), inputs, strict=True)})[0])


def run_op(op: str, x: np.ndarray, arguments: dict[str, Any], opset: int = 20) -> np.ndarray:
    """The standard's own operator; ``slope`` among the arguments is its second input."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    attributes = {k: v for k, v in arguments.items() if k != "slope"}
    slopes = [numpy_helper.from_array(np.asarray(arguments["slope"], x.dtype), "s")] if "slope" in arguments else []
    node = helper.make_node(op, ["x", "s"] if slopes else ["x"], ["y"], **attributes)
    ends = [helper.make_tensor_value_info(name, kind, x.shape) for name in ("x", "y")]
    graph = helper.make_graph([node], op, ends[:1], ends[1:], slopes)
    return run_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), x)


@cache
def prepared(activation: str, items: tuple[Any, ...], ndim: int | None, dtype: str) -> Any:
    parameters = {k: np.array(v[1]).reshape(v[0]) if isinstance(v, tuple) else v for k, v in items if k != "axis"}
    axes = dict(items).get("axis", ())
    return session(relume.onnx.model(Spec(activation, parameters, axes), ndim=ndim, dtype=dtype))


def run_definition(activation: str, x: np.ndarray, arguments: dict[str, Any]) -> np.ndarray:
    """relume's model of that activation; PReLU with ``weight`` and ``axis``."""
    arguments = dict(arguments)
    if activation == "prelu":
        weight = np.asarray(arguments.get("weight", 0.25))
        axis = arguments.pop("axis", 1)
        axes = (
            ()
            if weight.size == 1
            else tuple(sorted(a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))))
        )
        weight = weight.reshape(()) if weight.size == 1 else weight
        arguments |= {"weight": (weight.shape, tuple(weight.ravel().tolist())), "axis": axes}
    made = prepared(activation, tuple(arguments.items()), x.ndim, str(x.dtype))
    return np.asarray(made.run(None, {"x": np.array(x, order="C")})[0], x.dtype)

"""ONNX models of one activation as specs, and back."""

from __future__ import annotations

from typing import Any

from onnx import helper, numpy_helper

from relume.activations.spec import Spec
from relume.errors import SpecError
from relume.onnx.functional import model

PLAIN = {"Relu": "relu", "Selu": "selu", "Sigmoid": "sigmoid", "Tanh": "tanh"}


def to_spec(layer: Any) -> Spec | None:
    """Describe a model whose graph is one node; None: it is no activation, or more than one node."""
    graph = getattr(layer, "graph", None)
    if graph is None or len(graph.node) != 1:
        return None
    [node] = graph.node
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "LeakyRelu":
        return Spec("leaky_relu", {"negative_slope": given.get("alpha", 0.01)})
    if node.op_type in ("Elu", "Celu"):
        return Spec(node.op_type.lower(), {"alpha": given.get("alpha", 1.0)})
    if node.op_type == "PRelu":
        return _prelu(graph, node)
    return Spec(PLAIN[node.op_type]) if node.op_type in PLAIN and not given else None


def from_spec(spec: Spec, package: str) -> Any:
    """The model of that activation, in float32.

    Raises: SpecError: PReLU needs ``ndim``.
    """
    return model(spec)


def _prelu(graph: Any, node: Any) -> Spec:
    slopes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    if node.input[1] not in slopes:
        raise SpecError("The slopes of this PRelu are computed, and no constant of the model.", slug="no-equal")
    weight, shape = slopes[node.input[1]], graph.input[0].type.tensor_type.shape
    ndim = len(shape.dim)
    axes = tuple(ndim - weight.ndim + axis for axis, size in enumerate(weight.shape) if size > 1)
    return Spec("prelu", {"weight": weight.squeeze()}, axes, ndim if axes else None)

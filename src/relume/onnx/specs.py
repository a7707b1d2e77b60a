"""ONNX models of one activation as specs, and back."""

from __future__ import annotations

import json
from typing import Any

from onnx import helper, numpy_helper

from relume.activations import ACTIVATIONS
from relume.activations.spec import Spec
from relume.errors import SpecError
from relume.onnx.family import FAMILY
from relume.onnx.functional import MADE, model


def to_spec(layer: Any) -> Spec | None:
    """Describe a model whose graph is one node, or that :func:`from_spec` made; None: it is no activation."""
    graph = getattr(layer, "graph", None)
    made = {prop.key: prop.value for prop in getattr(layer, "metadata_props", ())}.get(MADE)
    if made is not None:
        name, parameters = json.loads(made)
        return Spec(name, parameters)
    if graph is None or len(graph.node) != 1:
        return None
    [node] = graph.node
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "PRelu":
        return _prelu(graph, node)
    if node.op_type == "Softmax":
        return Spec("softmax", axes=(given.get("axis", -1),))
    for name, member in FAMILY.items():
        if node.op_type == member.op and given.keys() <= {member.attribute}:
            own = {p.name: p.defaults.get("onnx", p.default) for p in ACTIVATIONS[name].parameters}
            numbers = [one.decode() if isinstance(one, bytes) else one for one in given.values()]
            return Spec(name, dict(zip(own, numbers or own.values(), strict=True)))
    return None


def from_spec(spec: Spec, package: str) -> Any:
    """The model of that activation, in float32.

    Raises: SpecError: PReLU needs ``ndim``.
    """
    return model(spec)


def _prelu(graph: Any, node: Any) -> Spec:
    slopes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    if node.input[1] not in slopes:
        raise SpecError("The slopes of this PRelu are computed and not a constant of the model.", slug="no-equal")
    weight, shape = slopes[node.input[1]], graph.input[0].type.tensor_type.shape
    ndim = len(shape.dim)
    axes = tuple(ndim - weight.ndim + axis for axis, size in enumerate(weight.shape) if size > 1)
    return Spec("prelu", {"weight": weight.squeeze()}, axes, ndim if axes else None)

"""The family in ONNX: one entry an activation. The models and the specs are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from relume.activations.selu import SCALE, SCALED_ALPHA
from relume.activations.spec import Spec
from relume.onnx._nodes import Nodes


@dataclass(frozen=True)
class OnnxActivation:
    """How ONNX has one activation.

    Attributes:
        build: adds the nodes of a spec on an input; returns their output's name.
        op: ONNX's own operator, "" where it has none.
        attribute: its attribute that holds the activation's one parameter.
    """

    build: Callable[[Nodes, Spec, str], str]
    op: str = ""
    attribute: str = ""


def _plain(op: str) -> OnnxActivation:
    return OnnxActivation(lambda nodes, spec, x: nodes.add(op, x), op)


def _elu(nodes: Nodes, spec: Spec, x: str) -> str:
    return nodes.bent(x, float(spec.parameters["alpha"]), 1.0, 1.0)


def _celu(nodes: Nodes, spec: Spec, x: str) -> str:
    return nodes.bent(x, float(spec.parameters["alpha"]), 1.0, float(spec.parameters["alpha"]))


def _mean(spec: Spec) -> Any:
    return np.asarray((spec.parameters["lower"] + spec.parameters["upper"]) / 2)


def _softmax(nodes: Nodes, spec: Spec, x: str) -> str:
    return nodes.add("Softmax", x, axis=spec.axes[0] if spec.axes else -1)


def _squared(nodes: Nodes, y: str) -> str:
    return nodes.add("Mul", y, y)


def _softplus(nodes: Nodes, spec: Spec, x: str) -> str:
    beta = float(spec.parameters["beta"])
    if beta == 1:
        return nodes.add("Softplus", x)
    z = nodes.add("Mul", x, nodes.constant(beta))
    bent = nodes.add("Div", nodes.add("Softplus", z), nodes.constant(beta))
    below = nodes.add("Less", z, nodes.constant(float("inf")))  # z may be inf where x is not
    return nodes.add("Where", below, bent, x)


def _laid(spec: Spec) -> Any:
    """PReLU's slopes in the shape that broadcasts from the right."""
    weight = np.asarray(spec.parameters["weight"])
    if not spec.axes:
        return weight.reshape(())
    if spec.axes == (-1,):
        return weight
    ndim = spec.rank("ONNX broadcasts slopes from the last axis")
    first = spec.axes[0]
    shape = [1] * (ndim - first)
    for axis, size in zip(spec.axes, weight.shape, strict=True):
        shape[axis - first] = size
    return weight.reshape(shape)


FAMILY: dict[str, OnnxActivation] = {
    "relu": _plain("Relu"),
    "leaky_relu": OnnxActivation(
        lambda nodes, spec, x: nodes.leaky(x, np.asarray(spec.parameters["negative_slope"])), "LeakyRelu", "alpha"
    ),
    "prelu": OnnxActivation(lambda nodes, spec, x: nodes.leaky(x, _laid(spec), learned=True), "PRelu"),
    "rrelu": OnnxActivation(lambda nodes, spec, x: nodes.leaky(x, _mean(spec))),
    "relu6": OnnxActivation(lambda nodes, spec, x: nodes.add("Clip", x, nodes.constant(0), nodes.constant(6))),
    "elu": OnnxActivation(_elu, "Elu", "alpha"),
    "celu": OnnxActivation(_celu, "Celu", "alpha"),
    "selu": OnnxActivation(lambda nodes, spec, x: nodes.bent(x, SCALED_ALPHA, SCALE, 1.0), "Selu"),
    "relu_squared": OnnxActivation(lambda nodes, spec, x: _squared(nodes, nodes.add("Relu", x))),
    "leaky_squared": OnnxActivation(
        lambda nodes, spec, x: _squared(nodes, nodes.leaky(x, np.asarray(spec.parameters["negative_slope"])))
    ),
    "gelu": OnnxActivation(
        lambda nodes, spec, x: nodes.add("Gelu", x, approximate=spec.parameters["approximate"]), "Gelu", "approximate"
    ),
    "silu": OnnxActivation(lambda nodes, spec, x: nodes.add("Mul", x, nodes.add("Sigmoid", x))),
    "mish": _plain("Mish"),
    "hardswish": _plain("HardSwish"),
    "softplus": OnnxActivation(_softplus),
    "sigmoid": _plain("Sigmoid"),
    "hardsigmoid": OnnxActivation(lambda nodes, spec, x: nodes.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
    "tanh": _plain("Tanh"),
    "softmax": OnnxActivation(_softmax, "Softmax"),
}

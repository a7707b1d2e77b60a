"""PyTorch's activation layers and ours as specs, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from relume.activations.spec import Spec
from relume.errors import SpecError
from relume.torch import layers


def to_spec(layer: nn.Module) -> Spec | None:
    """Describe a layer; None: it is no activation layer, or a subclass that computes something else."""
    computes = next(kind for kind in type(layer).__mro__ if "forward" in vars(kind))
    if not computes.__module__.startswith(("torch.", "relume.")):
        return None
    if isinstance(layer, nn.PReLU):
        return _prelu(layer)
    if isinstance(layer, nn.RReLU):
        return Spec("rrelu", {"lower": layer.lower, "upper": layer.upper})
    if isinstance(layer, nn.LeakyReLU):
        return Spec("leaky_relu", {"negative_slope": layer.negative_slope})
    if isinstance(layer, (nn.ELU, nn.CELU)):
        return Spec("elu" if isinstance(layer, nn.ELU) else "celu", {"alpha": layer.alpha})
    if isinstance(layer, nn.GELU):
        return Spec("gelu", {"approximate": layer.approximate})
    if isinstance(layer, nn.Softmax):
        return _softmax(layer)
    plain = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.SELU: "selu", nn.SiLU: "silu", nn.Sigmoid: "sigmoid"}
    plain[nn.Tanh] = "tanh"
    for kind, name in plain.items():
        if isinstance(layer, kind):
            return Spec(name)
    return None


def from_spec(spec: Spec, package: str) -> nn.Module:
    """relume's layer that computes the same; PReLU's slopes keep their dtype."""
    name, parameters = spec.activation, dict(spec.parameters)
    if name == "prelu":
        weight = torch.tensor(parameters["weight"])
        sizes = tuple(weight.shape) or (1,)
        axis = spec.axes if len(spec.axes) > 1 else (spec.axes or (1,))[0]
        layer = layers.PReLU(sizes[0] if len(sizes) == 1 else sizes, dtype=weight.dtype, axis=axis)
        with torch.no_grad():
            layer.weight.copy_(weight.reshape(sizes))
        return layer
    if name == "softmax":
        return layers.Softmax(spec.axes[0] if spec.axes else -1)
    made = {"relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "LeakyReLU", "rrelu": "RReLU", "elu": "ELU"}
    made |= {"celu": "CELU", "selu": "SELU", "gelu": "GELU", "silu": "SiLU", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    kind: Any = getattr(layers, made[name])
    return kind(**parameters)


def _prelu(layer: nn.PReLU) -> Spec:
    weight = layer.weight.detach().cpu()
    weight = (weight.float() if weight.dtype == torch.bfloat16 else weight).numpy().copy()  # NumPy has no bfloat16
    axis = getattr(layer, "axis", 1)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return Spec("prelu", {"weight": weight}, () if weight.size == 1 else axes)


def _softmax(layer: nn.Softmax) -> Spec:
    if layer.dim is None:
        raise SpecError(
            "torch.nn.Softmax() without dim takes an axis that depends on its input. Give dim, such as nn.Softmax(-1).",
            slug="no-equal",
        )
    return Spec("softmax", axes=(layer.dim,))

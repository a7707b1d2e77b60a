"""PyTorch's activation layers and ours as specs, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from relume.activations import ACTIVATIONS
from relume.activations.spec import Spec
from relume.errors import SpecError
from relume.torch.family import FAMILY


def to_spec(layer: nn.Module) -> Spec | None:
    """Describe a layer; None: it is no activation layer, or a subclass that computes something else."""
    computes = next(kind for kind in type(layer).__mro__ if "forward" in vars(kind))
    if not computes.__module__.startswith(("torch.", "relume.")):
        return None
    if isinstance(layer, nn.PReLU):
        return _prelu(layer)
    if isinstance(layer, nn.Softmax):
        return _softmax(layer)
    for name, member in FAMILY.items():
        if isinstance(layer, getattr(nn, member.module.__name__, member.module)):
            return Spec(name, {p.name: getattr(layer, p.name) for p in ACTIVATIONS[name].parameters})
    return None


def from_spec(spec: Spec, package: str) -> nn.Module:
    """relume's layer that computes the same; PReLU's slopes keep their dtype."""
    name, parameters = spec.activation, dict(spec.parameters)
    kind: Any = FAMILY[name].module
    if name == "prelu":
        weight = torch.tensor(parameters["weight"])
        sizes = tuple(weight.shape) or (1,)
        axis = spec.axes if len(spec.axes) > 1 else (spec.axes or (1,))[0]
        layer = kind(sizes[0] if len(sizes) == 1 else sizes, dtype=weight.dtype, axis=axis)
        with torch.no_grad():
            layer.weight.copy_(weight.reshape(sizes))
        return layer
    if name == "softmax":
        return kind(spec.axes[0] if spec.axes else -1)
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
            "torch.nn.Softmax() without dim uses an axis that depends on its input. Give dim, such as nn.Softmax(-1).",
            slug="no-equal",
        )
    return Spec("softmax", axes=(layer.dim,))

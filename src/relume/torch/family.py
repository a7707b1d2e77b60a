"""The family in PyTorch: one entry an activation. Every other list of this folder is made from it.

Names and parameters come from ``relume.activations``: the class of a module is the activation's title, and a call's
numbers are the definition's, in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relume.activations import ACTIVATIONS, NUMPY, Activation
from relume.torch import functional, layers


@dataclass(frozen=True)
class TorchActivation:
    """How PyTorch has one activation.

    Attributes:
        function: of ``relume.torch.functional``: our own, or PyTorch's where that is right.
        module: of ``relume.torch``, likewise.
    """

    function: Callable[..., Any]
    module: type[nn.Module]


def _made(name: str, function: Callable[..., Any]) -> TorchActivation:
    return TorchActivation(function, layers.made(ACTIVATIONS[name]))


FAMILY: dict[str, TorchActivation] = {
    "relu": TorchActivation(functional.relu, layers.ReLU),
    "leaky_relu": TorchActivation(functional.leaky_relu, layers.LeakyReLU),
    "prelu": TorchActivation(functional.prelu, layers.PReLU),
    "rrelu": TorchActivation(functional.rrelu, layers.RReLU),
    "relu6": TorchActivation(functional.relu6, layers.ReLU6),
    "elu": TorchActivation(functional.elu, layers.ELU),
    "celu": TorchActivation(functional.celu, layers.CELU),
    "selu": TorchActivation(functional.selu, layers.SELU),
    "relu_squared": _made("relu_squared", functional.relu_squared),
    "leaky_squared": _made("leaky_squared", functional.leaky_squared),
    "gelu": TorchActivation(F.gelu, nn.GELU),
    "silu": TorchActivation(F.silu, nn.SiLU),
    "mish": TorchActivation(F.mish, nn.Mish),
    "hardswish": TorchActivation(F.hardswish, nn.Hardswish),
    "softplus": TorchActivation(F.softplus, nn.Softplus),
    "sigmoid": TorchActivation(torch.sigmoid, nn.Sigmoid),
    "hardsigmoid": TorchActivation(F.hardsigmoid, nn.Hardsigmoid),
    "tanh": TorchActivation(torch.tanh, nn.Tanh),
    "softmax": TorchActivation(F.softmax, nn.Softmax),
}


def _values(activation: Activation) -> Any:
    return activation.value(np.linspace(-12.0, 12.0, 4801), NUMPY, **activation.defaults())


_FIXED = {
    name: ACTIVATIONS[name] for name in FAMILY if ACTIVATIONS[name].elementwise and not ACTIVATIONS[name].learnable
}
KEEPS_ZERO = frozenset(name for name, activation in _FIXED.items() if _values(activation)[2400] == 0)
"""The activations that are 0 at 0, by their definitions' values."""

NEVER_FALLS = frozenset(name for name, a in _FIXED.items() if not a.random and (np.diff(_values(a)) >= 0).all())
"""The activations that never fall from left to right, by their definitions' values between −12 and 12."""


class Callee(NamedTuple):
    """One of PyTorch's callables: where it is found, and whether it writes into its input."""

    owner: Any
    name: str
    in_place: bool

    @property
    def function(self) -> Any:
        """The callable itself."""
        return getattr(self.owner, self.name)

    @property
    def is_python(self) -> bool:
        """Whether it is written in Python: then its code can be replaced."""
        return isinstance(self.function, FunctionType)


def callees(name: str, owners: tuple[Any, ...] = (F, torch, Tensor)) -> Iterator[Callee]:
    """PyTorch's callables of an activation: of its name, and with ``_`` in place."""
    for owner in owners:
        for spelled in (name, f"{name}_"):
            if hasattr(owner, spelled):
                yield Callee(owner, spelled, spelled.endswith("_"))

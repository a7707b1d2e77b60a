"""PyTorch's own functions, kept: copies that go on to work while the public ones are replaced.

Made when this module is imported, which must be before anything is replaced. A copy calls only copies and what is never
replaced. It stands before modes and tensor subclasses as the public function does, and the call observer knows it.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import relume.torch.functional
from relume.torch.watching.calls.functions import ACTIVATION_CALLS

STEMS = ("relu", "leaky_relu", "prelu", "rrelu", "relu6", "elu", "celu", "selu", "gelu", "silu")
"""The activations that a trial replaces."""

_TORCHS = ("relu", "leaky_relu", "rrelu", "relu6", "hardtanh", "elu", "celu", "selu", "silu")
_OURS = (
    *("relu", "leaky_relu", "prelu", "rrelu", "relu6", "elu", "celu", "selu"),
    *("relu_", "leaky_relu_", "rrelu_", "elu_", "celu_", "selu_"),
)


def _world(home: ModuleType, names: tuple[str, ...], **others: Any) -> ModuleType:
    """A module with copies of these functions, which see each other and ``others`` in place of the public ones."""
    copy = ModuleType(home.__name__)
    there = vars(copy)
    there.update(vars(home), **others)
    for name in names:
        public = there[name]
        own = FunctionType(public.__code__, there, name, public.__defaults__)
        own.__kwdefaults__, own.__module__, own.__qualname__ = public.__kwdefaults__, home.__name__, name
        there[name] = own
        if public in ACTIVATION_CALLS:
            ACTIVATION_CALLS[own] = ACTIVATION_CALLS[public]
    return copy


torch_ = _world(torch, ())
functional: Any = _world(F, _TORCHS, torch=torch_)
"""``torch.nn.functional`` as it is without us."""

ours: Any = _world(relume.torch.functional, _OURS, torch=torch_, F=functional)
"""``relume.torch.functional`` as it is without us."""

_NN = torch._C._nn
for _public, _beneath in (
    (F.leaky_relu, (_NN.leaky_relu,)),
    (F.relu6, (_NN.relu6, _NN.relu6_)),
    (F.hardtanh, (_NN.hardtanh,)),
    (F.elu, (_NN.elu,)),
    (F.silu, (_NN.silu, _NN.silu_)),
):
    for _each in _beneath:  # what a graph of torch.compile holds, into which the copies are traced
        ACTIVATION_CALLS.setdefault(_each, ACTIVATION_CALLS[_public])

BUILTINS: tuple[tuple[Any, str, str, bool], ...] = (
    *((owner, "relu", "relu", False) for owner in (torch, Tensor)),
    *((owner, "relu_", "relu", True) for owner in (torch, Tensor, F)),
    *((owner, "prelu", "prelu", False) for owner in (torch, Tensor, F)),
    (torch, "rrelu", "rrelu", False),
    *((owner, "rrelu_", "rrelu", True) for owner in (torch, F)),
    *((owner, name, name, False) for owner in (torch,) for name in ("celu", "selu")),
    *((owner, f"{name}_", name, True) for owner in (torch, F) for name in ("celu", "selu")),
    *((F, f"{name}_", name, True) for name in ("leaky_relu", "elu")),
    (F, "gelu", "gelu", False),
)
"""(owner, attribute, stem, in place) of the functions that are not Python's: only the attribute can be replaced."""

_BUILTIN = {
    id(getattr(owner, name)): (getattr(owner, name), stem, in_place) for owner, name, stem, in_place in BUILTINS
}


def builtin(thing: Any) -> tuple[str, bool] | None:
    """(stem, in place) of one of these functions, by whatever name it is held; None for everything else."""
    found = _BUILTIN.get(id(thing))
    return None if found is None or found[0] is not thing else found[1:]


def original(library: str, stem: str) -> Any:
    """``call(input, in place, *further arguments)`` of the activation as the script has it."""
    home = ours if library == "relume" else functional
    if stem == "gelu":
        return lambda input, inplace, *own, **named: functional.gelu(input, *own, **named)
    if stem == "prelu":
        prelu = ours.prelu if library == "relume" else functional.prelu
        return lambda input, inplace, *own, **named: prelu(input, *own, **named)
    call = getattr(home, stem)
    return lambda input, inplace, *own, **named: call(input, *own, inplace=inplace, **named)

"""PyTorch's own functions: copies that still work while the public ones are replaced.

They are made when this module is imported, which must be before anything is replaced. A copy calls only copies and
functions that are never replaced. Modes and tensor subclasses see it as the public function, and the watcher knows it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F

import relume.torch.functional
from relume.torch.family import FAMILY, callees
from relume.torch.watching.calls.functions import ACTIVATION_CALLS

STEMS = tuple(name for name in FAMILY if name not in ("hardsigmoid", "softmax"))
"""The activations that a trial replaces."""

_ALIASES = {"hardtanh": "relu6"}


def _python(home: ModuleType, names: Any) -> dict[str, str]:
    """Python function of a module → the activation."""
    found = {name: getattr(home, name, None) for name in names}
    return {
        name: _ALIASES.get(name, name)
        for name, thing in found.items()
        if isinstance(thing, FunctionType) and thing.__module__ == home.__name__
    }


PYTHON = {
    library: _python(home, [*STEMS, *_ALIASES]) for library, home in (("torch", F), ("relume", relume.torch.functional))
}
"""Library → its functions whose code can be replaced, each with the activation that it applies."""


def _world(home: ModuleType, names: Any, **others: Any) -> ModuleType:
    """A module with copies of these functions, which see each other and ``others`` instead of the public ones."""
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
functional: Any = _world(F, PYTHON["torch"], torch=torch_)
"""The original ``torch.nn.functional``."""

_in_place = [name for name in vars(relume.torch.functional) if name.endswith("_") and name[:-1] in FAMILY]
ours: Any = _world(relume.torch.functional, [*PYTHON["relume"], *_in_place], torch=torch_, F=functional)
"""The original ``relume.torch.functional``."""

BUILTINS = tuple((each, name) for name in STEMS for each in callees(name) if not each.is_python)
"""The functions not written in Python, each with its activation: only the attribute can be replaced."""

_BUILTIN = {id(each.function): (each.function, name, each.in_place) for each, name in BUILTINS}


def builtin(thing: Any) -> tuple[str, bool] | None:
    """(stem, in place) of one of these functions, under any name; None for everything else."""
    found = _BUILTIN.get(id(thing))
    return None if found is None or found[0] is not thing else found[1:]


def inplace_of(function: Any) -> Callable[..., bool]:
    """Reads from a call's arguments after the input whether the function writes into it."""
    names = list(inspect.signature(function).parameters)
    if "inplace" not in names:
        return lambda *own, **named: False
    place = names.index("inplace") - 1
    return lambda *own, **named: own[place] if len(own) > place else named.get("inplace", False)


def contender(name: str) -> tuple[Any, bool]:
    """(the function that a contender calls, whether it takes ``inplace``): PyTorch's, or relume's if it has none."""
    found = getattr(functional, name, None)
    if isinstance(found, FunctionType):
        return found, "inplace" in inspect.signature(found).parameters
    builtins = (each.function for each in callees(name) if not each.in_place)
    return next(builtins, getattr(ours, name, None)), False

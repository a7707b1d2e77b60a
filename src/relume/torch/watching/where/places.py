"""Where a call is in the user's program: which module, which instruction, which source line.

All of it is read from the Python frames that are running, so that the user's modules need no hook.
"""

from __future__ import annotations

import inspect
import os
import weakref
from collections.abc import Iterator
from functools import cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules import activation as activation_modules

from relume.torch import layers as our_modules
from relume.torch.watching.calls import exported
from relume.watching.source import OURS
from relume.watching.source import shown_path as shown_path

_TORCH = os.path.dirname(torch.__file__) + os.sep
_PLUMBING_FILES = tuple(
    _TORCH + os.path.join(*path)
    for path in (
        ("nn", "functional.py"), ("overrides.py",), ("_jit_internal.py",), ("_tensor.py",), ("utils", "_contextlib.py"),
        ("nn", "modules", "module.py"), ("_ops.py",),
    )
)  # fmt: skip
_CALL = nn.Module.__call__.__code__  # _wrapped_call_impl: its first local is the module that is called
_ACTIVATION_FORWARDS = frozenset(
    cls.__dict__["forward"].__code__
    for modules in (activation_modules, our_modules)
    for _, cls in inspect.getmembers(modules, inspect.isclass)
    if issubclass(cls, nn.Module) and cls is not nn.MultiheadAttention and "forward" in cls.__dict__
)


class Place(NamedTuple):
    """One place of the program, as the innermost frames show it.

    ``module`` is the activation module, or else the module whose code makes the call (None: no module's);
    ``code`` and ``instruction`` identify the call; ``frame`` is for use during the call, never to be kept.
    ``alone``: it is the activation module that is called; ``kind``: the class of that module.
    """

    module: nn.Module | None
    code: CodeType
    instruction: int
    frame: FrameType
    alone: bool = False
    kind: type | None = None

    def of_owner(self) -> Place:
        """Of the code that makes the activation module, if it is made at each call."""
        return self._replace(module=owner(self.frame), alone=False)


@cache
def _is_plumbing(code: CodeType) -> bool:
    """Whether a frame of this code is torch's way from the caller to the operation, or ours."""
    return code.co_filename in _PLUMBING_FILES or code.co_filename.startswith(OURS)


def _own_module(frame: FrameType) -> nn.Module | None:
    """The module whose method a frame runs: its first argument, under any name."""
    code = frame.f_code
    if not code.co_argcount or not (code is _CALL or (kind := _class_of(code))):
        return None
    frame_locals = frame.f_locals
    first = frame_locals.get(code.co_varnames[0])
    if type(frame_locals) is dict:  # before Python 3.13 a copy that would keep the user's tensors alive
        frame_locals.clear()
    if not isinstance(first, nn.Module):
        return None
    if code is _CALL or code.co_varnames[0] == "self" or any(kind == base.__qualname__ for base in type(first).__mro__):
        return first
    return None


@cache
def _class_of(code: CodeType) -> str:
    """The class in whose body a function was defined; "" for one that cannot be a method."""
    defined_in = code.co_qualname.rpartition(".")[0]
    if defined_in and not defined_in.endswith("<locals>"):
        return defined_in
    return "self" if code.co_varnames[:1] == ("self",) else ""  # a function may be bound to a module later


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def find(start: FrameType) -> Place:
    """The place of the call under way, seen from a frame of ours inside it."""
    activation: nn.Module | None = None
    inside_activation = False
    frame: FrameType | None = start
    while frame is not None:
        code = frame.f_code
        if code in _ACTIVATION_FORWARDS:
            inside_activation = True
        elif code is _CALL:
            if inside_activation:
                activation, inside_activation = _own_module(frame), False
        elif not inside_activation and not _is_plumbing(code):
            kind = None if activation is None else type(activation)
            return Place(activation or owner(frame), code, frame.f_lasti, frame, activation is not None, kind)
        frame = frame.f_back
    return Place(activation, start.f_code, start.f_lasti, start)


def caller(frame: FrameType | None) -> tuple[CodeType, int] | None:
    """The code and the instruction that call a module, seen from inside its call; as :func:`find` would say."""
    while frame is not None and frame.f_code is not _CALL:
        frame = frame.f_back
    frame = frame.f_back if frame is not None else None
    while frame is not None and _is_plumbing(frame.f_code):
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lasti)


def owner(frame: FrameType) -> nn.Module | None:
    """The module around a frame: its own method's, or the nearest module call outside it."""
    for outer in _outward(frame):
        module = _own_module(outer)
        if module is not None:
            return module
    return None


def root(frame: FrameType) -> nn.Module | None:
    """The outermost module whose code is running."""
    outermost = None
    for outer in _outward(frame):
        if not _is_plumbing(outer.f_code):
            outermost = _own_module(outer) or outermost
    return outermost


def is_in_a_call(frame: FrameType) -> bool:
    """Whether a module call is running."""
    return any(outer.f_code is _CALL for outer in _outward(frame))


def is_outermost_call(frame: FrameType) -> bool:
    """Whether at most one module call is running."""
    return sum(outer.f_code is _CALL for outer in _outward(frame)) <= 1


def source(frame: FrameType) -> tuple[str, int, str]:
    """(file, line, function) of the user's code that makes the call: the nearest frame outside torch and relume."""
    if (written := exported.traced(frame)) is not None and written.file:
        return shown_path(written.file), written.line, written.function
    for outer in _outward(frame):
        name = outer.f_code.co_filename
        if not name.startswith((_TORCH, OURS)) and not exported.is_generated(outer):
            return shown_path(name), outer.f_lineno, outer.f_code.co_name
    return "", 0, ""


class Trees:
    """The names of modules: their paths in the trees that were seen, or class and order outside any tree."""

    def __init__(self, model: nn.Module | None) -> None:
        self._labels: dict[int, tuple[weakref.ref[Any], str]] = {}  # root → its label
        self._members: dict[int, tuple[weakref.ref[Any], dict[int, tuple[weakref.ref[Any], str]]]] = {}
        self._orders: dict[str, int] = {}
        self._free: dict[str, list[str]] = {}  # labels of temporary instances that are gone, by class
        self.model = model

    def label(self, module: nn.Module, *, temporary: bool = False) -> str:
        """The name of a tree's root: its class, with its order if there are several (``QNet#2``).

        ``temporary``: no optimizer steps it, so that once it is gone its label passes to the next one of its class.
        """
        known = self._labels.get(id(module))
        if known is not None and known[0]() is module:
            return known[1]
        kind, number = type(module).__name__, id(module)
        free = self._free.setdefault(kind, [])
        if temporary and free:
            label = free.pop()
        else:
            order = self._orders[kind] = self._orders.get(kind, 0) + 1
            label = kind if order == 1 else f"{kind}#{order}"
        labels, members = self._labels, self._members

        def gone(reference: Any) -> None:
            if (found := labels.get(number)) is not None and found[0] is reference:
                del labels[number]
                members.pop(number, None)
                if temporary:
                    free.append(label)

        labels[number] = (weakref.ref(module, gone), label)
        return label

    def path(self, tree: nn.Module, module: nn.Module) -> str | None:
        """The module's path in the tree, as in its state_dict; "" for the root, None outside it."""
        known = self._members.get(id(tree))
        found = known[1].get(id(module)) if known is not None and known[0]() is tree else None
        if found is None or found[0]() is not module:
            members = {id(m): (weakref.ref(m), name) for name, m in tree.named_modules()}
            self._members[id(tree)] = (weakref.ref(tree), members)
            found = members.get(id(module))
        return None if found is None else found[1]

    def name(self, tree: nn.Module | None, module: nn.Module | None, function: str) -> tuple[str, str]:
        """(label of the tree, path in it) of a module; a call outside any module is named by its function."""
        if module is None:
            return "", function
        if self.model is not None and self.path(self.model, module) is not None:
            tree = self.model
        path = self.path(tree, module) if tree is not None else None
        if tree is None or path is None:
            return "", self.label(module)
        return self.label(tree), path

    def weight(self, tree: nn.Module | None, weight: Any) -> tuple[nn.Module | None, str]:
        """The tree that owns a weight and the weight's name in it; (None, "") if none does."""
        for candidate in (self.model, tree):
            if candidate is not None and isinstance(weight, torch.Tensor):
                for name, tensor in candidate.named_parameters():
                    if tensor is weight:
                        head, _, rest = name.partition("parametrizations.")
                        return candidate, head + rest.partition(".")[0] if rest else name
        return None, ""

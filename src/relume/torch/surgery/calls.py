"""Activations that a method calls as functions: their places in its source, and the method with other calls there."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from relume.torch.family import FAMILY, callees
from relume.torch.watching.calls.functions import ACTIVATION_CALLS
from relume.torch.watching.where.places import shown_path

_METHODS = {each.name: each.function for name in FAMILY for each in callees(name, (Tensor,))}


@dataclass(frozen=True)
class Call:
    """One call of an activation in a method.

    Attributes:
        method: the method's name. ``file``, ``line``, ``column``: where the call is written.
        activation: its stem. ``in_place``: it writes into its input. ``kept``: its result is used.
    """

    method: str
    file: str
    line: int
    column: int
    activation: str
    in_place: bool
    kept: bool


def calls_of(module: nn.Module) -> list[Call]:
    """The activations that the methods of a module's class call as functions; none for PyTorch's own classes."""
    found: list[Call] = []
    seen: set[str] = set()
    for kind in type(module).__mro__:
        if kind.__module__.startswith(("torch.", "relume.")) or kind is object:
            continue
        for name, thing in vars(kind).items():
            if isinstance(thing, FunctionType) and name not in seen and name not in vars(module):
                seen.add(name)
                found += _calls_in(name, thing)
    return sorted(found, key=lambda call: (call.file, call.line, call.column))


def _calls_in(name: str, function: FunctionType) -> list[Call]:
    tree = _tree(function)
    return [] if tree is None else [call for _, call in _walk(tree, name, function)]


def _tree(function: FunctionType) -> ast.FunctionDef | None:
    """The method's source, at its own lines; None without one."""
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return None
    try:
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except SyntaxError:  # a lambda in the middle of an expression
        return None
    ast.increment_lineno(tree, first - 1)
    return tree.body[0] if isinstance(tree.body[0], ast.FunctionDef) else None


def _walk(tree: ast.FunctionDef, method: str, function: FunctionType) -> Iterator[tuple[ast.Call, Call]]:
    dropped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (named := _activation(node, function)) is not None:
            activation, in_place = named
            file = shown_path(function.__code__.co_filename)
            kept = id(node) not in dropped
            yield node, Call(method, file, node.lineno, node.col_offset, activation, in_place, kept)


def _activation(node: ast.Call, function: FunctionType) -> tuple[str, bool] | None:
    """(stem, in place) of an activation's call; None for any other."""
    called = _resolve(node.func, function)
    if called is None and isinstance(node.func, ast.Attribute) and not node.args:
        called = _METHODS.get(node.func.attr)
    reading = ACTIVATION_CALLS.get(called) if callable(called) and _is_hashable(called) else None
    if reading is None or not (node.args or isinstance(node.func, ast.Attribute)):
        return None
    applied = reading((), {})
    if applied is None or applied.clamp:
        return None
    flags = [k.value for k in node.keywords if k.arg == "inplace"]
    in_place = getattr(called, "__name__", "").endswith("_") or any(getattr(f, "value", False) is True for f in flags)
    return applied.name, in_place


def _is_hashable(thing: Any) -> bool:
    return getattr(type(thing), "__hash__", None) is not None


def _resolve(expression: ast.expr, function: FunctionType) -> Any:
    """The value of a name or dotted name in the method's globals; None for anything else."""
    if isinstance(expression, ast.Name):
        return function.__globals__.get(expression.id)
    if isinstance(expression, ast.Attribute):
        owner = _resolve(expression.value, function)
        return None if owner is None else getattr(owner, expression.attr, None)
    return None


class SwappedMethod:
    """A method of one module with some calls redirected to submodules; copied and pickled by its changes.

    Args:
        owner: the module. ``name``: of the method. ``places``: (line, column) → the submodule's name.
    """

    def __init__(self, owner: nn.Module, name: str, places: dict[tuple[int, int], str]) -> None:
        self._owner, self._name, self._places = owner, name, places
        self._function = _rewritten(getattr(type(owner), name), name, places)
        self.__name__, self.__code__ = name, self._function.__code__  # torch.export reads them
        self.__signature__ = inspect.signature(MethodType(self._function, owner))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method of the module."""
        return self._function(self._owner, *args, **kwargs)

    def __reduce__(self) -> Any:
        return SwappedMethod, (self._owner, self._name, self._places)

    def __deepcopy__(self, memo: dict[int, Any]) -> SwappedMethod:
        return SwappedMethod(copy.deepcopy(self._owner, memo), self._name, dict(self._places))


def _rewritten(function: FunctionType, name: str, places: dict[tuple[int, int], str]) -> FunctionType:
    """The function with ``self.<submodule>(input)`` instead of these calls, at the lines of its source."""
    tree = _tree(function)
    assert tree is not None
    owner = tree.args.args[0].arg
    known = {id(node): place for node, call in _walk(tree, name, function) if (place := (call.line, call.column))}

    class Replace(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            """Replace a call if it is one of these."""
            place = known.get(id(node))
            self.generic_visit(node)
            if place not in places:
                return node
            given = node.args[0] if node.args else node.func.value  # type: ignore[attr-defined]  # x.relu()
            called = ast.Attribute(ast.Name(owner, ast.Load()), places[place], ast.Load())
            return ast.copy_location(ast.Call(called, [given], []), node)

    tree.decorator_list = []
    free = function.__code__.co_freevars
    outer = ast.FunctionDef(
        "_made", _arguments(free), [Replace().visit(tree), ast.Return(ast.Name(name, ast.Load()))], []
    )
    if hasattr(outer, "type_params"):
        outer.type_params = []
    whole = ast.fix_missing_locations(ast.Module([outer], []))
    made: dict[str, Any] = {}
    exec(compile(whole, function.__code__.co_filename, "exec"), function.__globals__, made)
    new: FunctionType = made["_made"](*[None] * len(free))
    result = FunctionType(new.__code__, function.__globals__, name, function.__defaults__, _cells(new, function))
    result.__kwdefaults__ = function.__kwdefaults__
    return result


def _arguments(names: tuple[str, ...]) -> ast.arguments:
    return ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])


def _cells(new: FunctionType, old: FunctionType) -> Any:
    """The old function's cells in the new code's order; ``super()`` finds its class by one."""
    known = dict(zip(old.__code__.co_freevars, old.__closure__ or (), strict=True))
    return tuple(known[name] for name in new.__code__.co_freevars)

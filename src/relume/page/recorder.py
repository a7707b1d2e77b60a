"""Definitions as JavaScript: each is run once on an ``xp`` that records operations instead of computing them.

So the formulas are only in ``activations/``. A branch in Python on a parameter is recorded as it goes for the
parameter's default; a branch on ``x`` cannot be recorded and is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from relume.activations import Activation

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_CALLS = {name: f"Math.{name}" for name in ("exp", "expm1", "tanh", "sqrt", "log", "log1p", "abs")} | {
    "minimum": "Math.min",
    "maximum": "Math.max",
    "erf": "relume.numeric.erf",
}


class _Arithmetic:
    """Python's operators, recorded."""

    def __add__(self, other: Any) -> Node:
        return Node("add", (self, other))

    def __radd__(self, other: Any) -> Node:
        return Node("add", (other, self))

    def __sub__(self, other: Any) -> Node:
        return Node("sub", (self, other))

    def __rsub__(self, other: Any) -> Node:
        return Node("sub", (other, self))

    def __mul__(self, other: Any) -> Node:
        return Node("mul", (self, other))

    def __rmul__(self, other: Any) -> Node:
        return Node("mul", (other, self))

    def __truediv__(self, other: Any) -> Node:
        return Node("div", (self, other))

    def __rtruediv__(self, other: Any) -> Node:
        return Node("div", (other, self))

    def __neg__(self) -> Node:
        return Node("neg", (self,))


@dataclass(frozen=True, eq=True)
class Node(_Arithmetic):
    """One operation and its operands: nodes, symbols and numbers. Equal if the expressions are."""

    operation: str
    operands: tuple[Any, ...]

    def __lt__(self, other: Any) -> Node:
        return Node("lt", (self, other))

    def __le__(self, other: Any) -> Node:
        return Node("le", (self, other))

    def __gt__(self, other: Any) -> Node:
        return Node("gt", (self, other))

    def __ge__(self, other: Any) -> Node:
        return Node("ge", (self, other))

    def __bool__(self) -> bool:
        raise TypeError("a definition branches on x in Python: write xp.where, so that it can be recorded")


class Symbol(_Arithmetic, float):  # type: ignore[misc]
    """A parameter: recorded in arithmetic; its default in Python's own functions, ``<`` and ``>``."""

    def __new__(cls, text: str, sample: float) -> Symbol:
        """Make the symbol that is written ``text``."""
        made = super().__new__(cls, sample)
        made.text = text
        return made

    text: str

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and self.text == other.text


X = Node("x", ())
"""The input."""


def _call(name: str) -> Callable[..., Node]:
    return lambda *operands: Node(name, operands)


XP = SimpleNamespace(
    where=_call("where"),
    ones_like=lambda x: Node("one", ()),
    **{name: _call(name) for name in _CALLS},
)
"""The recording namespace. Definitions may only use what it has, as the page can compute nothing else."""


def script(expression: Any) -> str:
    """The body of a JavaScript function of ``x`` and ``p`` that computes an expression, repeated parts only once.

    Example:
        >>> script(XP.where(X < 0, 0, X))
        'return (x < 0 ? 0 : x);'
        >>> script(XP.exp(X) * XP.exp(X))
        'const t0 = Math.exp(x); return (t0 * t0);'
    """
    counts: dict[Node, int] = {}
    _count(expression, counts)
    names: dict[Node, str] = {}
    lines: list[str] = []
    result = _write(expression, counts, names, lines)
    return " ".join([*lines, f"return {result};"])


def _count(node: Any, counts: dict[Node, int]) -> None:
    if isinstance(node, Node):
        counts[node] = counts.get(node, 0) + 1
        if counts[node] == 1:
            for operand in node.operands:
                _count(operand, counts)


def _write(node: Any, counts: dict[Node, int], names: dict[Node, str], lines: list[str]) -> str:
    if isinstance(node, Symbol):
        return node.text
    if not isinstance(node, Node):
        return repr(node) if node >= 0 else f"({node!r})"
    if node in names:
        return names[node]
    text = _operation(node, [_write(operand, counts, names, lines) for operand in node.operands])
    if counts[node] > 1 and node.operands:
        names[node] = f"t{len(names)}"
        lines.append(f"const {names[node]} = {text};")
        return names[node]
    return text


def _operation(node: Node, parts: list[str]) -> str:
    if node.operation in ("x", "one"):
        return {"x": "x", "one": "1"}[node.operation]
    if node.operation == "neg":
        return f"(-{parts[0]})"
    if node.operation == "where":
        return f"({parts[0]} ? {parts[1]} : {parts[2]})"
    if node.operation in _INFIX:
        text = f"{parts[0]} {_INFIX[node.operation]} {parts[1]}"
        return text if node.operation in ("lt", "le", "gt", "ge") else f"({text})"
    return f"{_CALLS[node.operation]}({', '.join(parts)})"


def derivative(node: Any, by: Symbol) -> Any:
    """d ``node`` / d ``by``, where ``node`` is made of sums, products, quotients by others, and ``where``.

    For a learned parameter, so that its gradient need not be written by hand.

    Raises: ArithmeticError: another operation on ``by``.

    Example:
        >>> w = Symbol("p.w", 0.25)
        >>> script(derivative(XP.where(X > 0, X, w * X), w))
        'return (x > 0 ? 0.0 : x);'
    """
    if isinstance(node, Symbol):
        return 1.0 if node == by else 0.0
    if not isinstance(node, Node) or not node.operands:
        return 0.0
    if node.operation == "where":
        condition, a, b = node.operands
        inner = [derivative(a, by), derivative(b, by)]
        return 0.0 if _zero(inner[0]) and _zero(inner[1]) else XP.where(condition, *inner)
    inner = [derivative(operand, by) for operand in node.operands]
    if all(map(_zero, inner)):
        return 0.0
    if len(inner) != 2:
        raise ArithmeticError(f"there is no derivative of {node.operation} by {by.text}")
    a, b = node.operands
    if node.operation in ("add", "sub"):
        return Node(node.operation, tuple(inner))
    if node.operation == "mul":
        return _sum(_product(inner[0], b), _product(a, inner[1]))
    raise ArithmeticError(f"there is no derivative of {node.operation} by {by.text}")


def _zero(node: Any) -> bool:
    return type(node) is float and node == 0


def _product(a: Any, b: Any) -> Any:
    if _zero(a) or _zero(b):
        return 0.0
    if type(a) is float and a == 1:
        return b
    return a if type(b) is float and b == 1 else a * b


def _sum(a: Any, b: Any) -> Any:
    return b if _zero(a) else a if _zero(b) else a + b


def record(activation: Activation) -> dict[str, str]:
    """All that the page computes for an activation, as bodies of JavaScript functions of ``x``, ``p`` and ``s``.

    Returns: ``value`` and ``slope``; for a random one also ``drawnValue`` and ``drawnSlope``, with ``s`` the drawn
    slope; for one that learns, ``byParameter``: the value's derivative by the learned parameter.
    """
    symbols = {p.name: Symbol(f"p.{p.name}", float(p.default)) for p in activation.parameters if not p.choices}
    bodies = {part: _chosen(activation, part, symbols) for part in ("value", "slope")}
    if activation.random:
        drawn = symbols | {"slopes": Symbol("s", 0.25)}
        bodies |= {f"drawn{part.title()}": script(_run(activation, part, drawn)) for part in ("value", "slope")}
    for p in activation.parameters:
        if p.learnable:
            bodies["byParameter"] = script(derivative(_run(activation, "value", symbols), symbols[p.name]))
    return bodies


def _run(activation: Activation, part: str, parameters: dict[str, Any]) -> Any:
    return getattr(activation, part)(X, XP, **parameters)


def _chosen(activation: Activation, part: str, symbols: dict[str, Symbol]) -> str:
    """The body; if a parameter is one of several words, it has a branch for each."""
    words = [p for p in activation.parameters if p.choices]
    if not words:
        return script(_run(activation, part, dict(symbols)))
    (word,) = words  # two such parameters: a branch for each pair would be needed
    branches = [
        f'if (p.{word.name} === "{choice}") {{ {script(_run(activation, part, {**symbols, word.name: choice}))} }}'
        for choice in word.choices
    ]
    return " ".join(branches)

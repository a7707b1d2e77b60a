"""Bounds on every tensor of a model for all inputs of a box: intervals, and linear bounds propagated back to the input.

Both hold for the model's own dtype and any order of summation, not only for real numbers. An interval is widened at
each operation by its possible rounding error. A linear bound holds for real numbers; it is widened by a bound on the
model's distance from them, propagated forward through the operations, and by its own float64 rounding. A sum of n terms
rounds by at most n·eps·Σ|terms| (Higham 2002, chapter 3). Sigmoid, tanh and exponentials are assumed exact to 8 ulp;
underflow is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from relume.torch.family import NEVER_FALLS
from relume.torch.surgery.channels import CONVOLUTIONS
from relume.torch.surgery.program import Program, operation, shape_of

Box = tuple[Tensor, Tensor]

MOST_ENTRIES = 20_000_000
"""Largest number of a linear bound's coefficients: entries of the tensor times entries of the input.

160 MB in float64; beyond, the interval is used, which is wider but never wrong.
"""

_SAME = frozenset("dropout feature_dropout contiguous clone detach alias to _to_copy lift_fresh_copy".split())
_VIEWS = frozenset(
    "view reshape _unsafe_view flatten unflatten permute transpose t squeeze unsqueeze slice select expand cat "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d".split()
)
_MEANS = frozenset(f"{how}{n}d" for how in ("avg_pool", "adaptive_avg_pool") for n in (1, 2, 3)) | {"mean"}
_CHOOSES = frozenset(f"{how}{n}d" for how in ("max_pool", "adaptive_max_pool") for n in (1, 2, 3)) | {"amax"}
_CLIPS = frozenset("relu relu6 hardtanh clamp clamp_min".split())
_CURVES = NEVER_FALLS - _CLIPS
_GROWS = _CHOOSES | _CLIPS | _CURVES
_WEIGHTED = frozenset(("linear", *CONVOLUTIONS))


class BoundPropagation:
    """The bounds of one program on one box.

    Args:
        program: traced in evaluation mode, with one tensor as its input.
        lower, upper: the box, in the shape of the input; infinite if unbounded.
        linear: carry linear bounds back to the input, which is tighter.
    """

    def __init__(self, program: Program, lower: Tensor, upper: Tensor, *, linear: bool = True) -> None:
        self._program = program
        self._of: dict[Node, Box] = {}
        self._size: dict[Node, Tensor] = {}  # Σ|terms| · number of terms: eps times it bounds an operation's rounding
        self._error: dict[Node, Tensor] = {}  # bound on |value of the model − value in real numbers|
        self._constants: dict[Node, Tensor] = {}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                held = program.tensor(node)
                if held is not None:
                    self._constants[node] = held.detach().double() if held.is_floating_point() else held.detach()
                else:
                    self._of[node] = (lower.double(), upper.double())
        self._linear = linear and bool(torch.isfinite(lower).all() and torch.isfinite(upper).all())
        self._input = next(iter(self._of))
        self._size[self._input], self._error[self._input] = lower.double().abs(), torch.zeros_like(lower).double()
        self._size[self._input] = torch.maximum(self._size[self._input], upper.double().abs())
        for node in program.nodes:
            if any(given in self._of for given in node.all_input_nodes):
                self._of[node] = self._bound(node)
            elif isinstance(node.meta.get("val"), Tensor):
                self._constants[node] = self._run(node, {})

    def of(self, node: Node) -> Box | None:
        """The bounds of a node's tensor; None for one that does not depend on the input."""
        return self._of.get(node)

    def rounding(self, node: Node) -> Tensor:
        """How far a node's computed values may be from the exact ones; of its shape."""
        return self._error[node]

    # ---- intervals --------------------------------------------------------------------------------------------

    def _bound(self, node: Node) -> Box:
        name = operation(node)
        first = node.args[0]
        if name in ("relu", "leaky_relu") and self._linear and isinstance(first, Node):
            self._tighten(first)
        low, high = self._interval(node, name)
        self._size[node] = self._terms(node, name, torch.maximum(low.abs(), high.abs()))
        exact = name in _CLIPS | _CHOOSES | _VIEWS | _SAME
        local = torch.zeros_like(low) if exact else torch.finfo(self._dtype()).eps * _finite(self._size[node])
        low, high = low - local, high + local
        moved = (self._carried_error(node, name) + local).nan_to_num(nan=torch.inf)
        self._error[node] = torch.minimum(moved, (high - low).nan_to_num(nan=torch.inf))
        return low, high

    def _interval(self, node: Node, name: str) -> Box:
        shape, moving = shape_of(node), self._moving(node)
        if name in _WEIGHTED and moving == [node.args[0]]:
            return self._affine(node)
        if name == "batch_norm" and moving == [node.args[0]]:
            scale, shift, _ = self._norm(node)
            ends = [torch.where(scale == 0, 0.0, end * scale) + shift for end in self._of[moving[0]]]
            return torch.minimum(*ends), torch.maximum(*ends)
        grows = name in _GROWS and moving == [node.args[0]]
        if grows or name in _VIEWS | _SAME | _MEANS or _is_plain_add(node):
            low, high = (self._run(node, {n: self._of[n][end] for n in moving}) for end in (0, 1))
            return low, high
        if name in ("mul", "div") and moving == [node.args[0]]:
            ends = [self._run(node, {moving[0]: end}) for end in self._of[moving[0]]]
            return torch.minimum(*ends).nan_to_num(nan=-torch.inf), torch.maximum(*ends).nan_to_num(nan=torch.inf)
        endless = torch.full(shape, torch.inf, dtype=torch.float64, device=self._of[moving[0]][0].device)
        return -endless, endless

    def _moving(self, node: Node) -> list[Node]:
        """The inputs of a node that depend on the model's input."""
        return [given for given in node.all_input_nodes if given in self._of]

    def _affine(self, node: Node) -> Box:
        """A linear layer or convolution, with infinite ends separate: 0 · ∞ is 0 here."""
        low, high = self._of[node.args[0]]
        weight = self._value(node.args[1])
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        ends = []
        for one, other in ((low, high), (high, low)):
            known = self._apply(node, _finite(one), up) + self._apply(node, _finite(other), down)
            infinite = (one.isinf().double(), (up > 0).double()), (other.isinf().double(), (down < 0).double())
            ends.append((known + self._shift(node), sum(self._apply(node, x, w) for x, w in infinite) > 0.5))
        (lower, open_below), (upper, open_above) = ends
        return lower.masked_fill(open_below, -torch.inf), upper.masked_fill(open_above, torch.inf)

    def _apply(self, node: Node, x: Tensor, weight: Tensor) -> Tensor:
        made: Tensor = node.target(x, weight, None, *node.args[3:])
        return made

    def _shift(self, node: Node) -> Tensor:
        """The bias of a linear layer or convolution, in the shape of one output."""
        weight, bias = self._value(node.args[1]), self._value(node.args[2]) if len(node.args) > 2 else None
        shift = torch.zeros_like(weight.flatten(1)[:, 0]) if bias is None else bias
        return shift.view([-1] + [1] * (0 if operation(node) == "linear" else weight.ndim - 2))

    def _norm(self, node: Node) -> tuple[Tensor, Tensor, Tensor]:
        """Scale and shift of a normalization, and the sum of magnitudes of the shift's terms."""
        weight, bias, mean, var = (self._value(arg) for arg in node.args[1:5])
        shape = [1, -1] + [1] * (len(shape_of(node)) - 2)
        scale = (torch.ones_like(var) if weight is None else weight) / (var + float(node.args[7])).sqrt()
        bias = torch.zeros_like(var) if bias is None else bias
        parts = torch.where(scale == 0, 0.0, (mean * scale).abs() + bias.abs())
        return scale.view(shape), (bias - mean * scale).view(shape), parts.view(shape)

    # ---- rounding ---------------------------------------------------------------------------------------------

    def _terms(self, node: Node, name: str, largest: Tensor) -> Tensor:
        """Σ|terms| of each entry, times their number; ``largest``: of each entry. See Higham 2002, equation 3.4."""
        moving = self._moving(node)
        given = torch.maximum(*(end.abs() for end in self._of[moving[0]]))
        if name in _WEIGHTED and moving == [node.args[0]]:
            weight = self._value(node.args[1]).abs()
            made = self._apply(node, _finite(given), weight)
            return (weight[0].numel() + 1) * (made + torch.where(made > 0, self._shift(node).abs(), 0.0))
        if name == "batch_norm" and moving == [node.args[0]]:
            scale, _, parts = self._norm(node)
            return 8 * (torch.where(scale == 0, 0.0, given * scale.abs()) + parts)
        if name in _MEANS:
            size = given.numel() // largest.numel() if name == "mean" else given[0, 0].numel()
            return (size + 1) * self._run(node, {moving[0]: given})
        return 8 * largest if name in _CURVES else largest

    def _carried_error(self, node: Node, name: str) -> Tensor:
        """How far the errors of a node's inputs may move it; infinite if the operation is not known."""
        moving = self._moving(node)
        errors = {given: self._error[given] for given in moving}
        first = errors[moving[0]]
        if name in _WEIGHTED and moving == [node.args[0]]:
            return self._apply(node, first, self._value(node.args[1]).abs())
        if name == "batch_norm" and moving == [node.args[0]]:
            return first * self._norm(node)[0].abs()
        if name in _CLIPS | {"sigmoid", "tanh"} or (name == "leaky_relu" and abs(_slope(node)) <= 1):
            return first
        if name in _CHOOSES:
            return self._run(node, errors)
        if (
            name in _VIEWS | _SAME | _MEANS
            or _is_plain_add(node)
            or (name in ("mul", "div") and moving == [node.args[0]])
        ):
            none = {given: torch.zeros_like(error) for given, error in errors.items()}
            return (self._run(node, errors) - self._run(node, none)).abs()
        return torch.full_like(self._size[node], torch.inf)

    # ---- linear bounds (Zhang et al. 2018, CROWN) ---------------------------------------------------------------

    def _tighten(self, node: Node) -> None:
        """Tighten a pre-activation's bounds by its linear bounds."""
        low, high = self._of[node]
        if low.numel() * self._of[self._input][0].numel() > MOST_ENTRIES:
            return
        every = torch.eye(low.numel(), dtype=torch.float64, device=low.device).view(-1, *low.shape)
        above = self._carry(node, every).view_as(high) + self._error[node]
        below = -self._carry(node, -every).view_as(low) - self._error[node]
        self._of[node] = (torch.maximum(low, below), torch.minimum(high, above))

    def _carry(self, node: Node, coefficients: Tensor) -> Tensor:
        """An upper bound on Σ coefficients · node for all inputs of the box; shape (bounds,)."""
        on: dict[Node, Tensor] = {node: coefficients}
        total = torch.zeros(len(coefficients), dtype=torch.float64, device=coefficients.device)
        for at in reversed([*self._of]):
            a = on.pop(at, None)
            if a is None:
                continue
            rounding = (a[0].numel() + 8) * torch.finfo(torch.float64).eps
            total += rounding * (a.abs() * self._size[at]).flatten(1).sum(1)
            step = None if at is self._input else self._step(at, a)
            if step is None:
                total += _largest(a, *self._of[at])
                continue
            parts, constant = step
            total += constant
            for given, part in parts.items():
                on[given] = on[given] + part if given in on else part
        return total

    def _step(self, node: Node, a: Tensor) -> tuple[dict[Node, Tensor], Tensor] | None:
        """The coefficients on a node's inputs and the constant; None: only its interval is known."""
        name = operation(node)
        moving = self._moving(node)
        if name in ("relu", "leaky_relu"):
            return self._bent(moving[0], a, _slope(node))
        affine = (name in _WEIGHTED and moving == [node.args[0]]) or name in _VIEWS | _SAME | _MEANS
        if name == "batch_norm" and moving == [node.args[0]]:
            scale, shift, _ = self._norm(node)
            return {moving[0]: a * scale}, (a * shift).flatten(1).sum(1)
        if not affine and not _is_plain_add(node) and not (name == "mul" and moving == [node.args[0]]):
            return None
        zeros = {n: torch.zeros_like(self._of[n][0]) for n in moving}
        base, back = torch.func.vjp(lambda *xs: self._run(node, dict(zip(moving, xs, strict=True))), *zeros.values())
        parts = torch.func.vmap(back)(a)
        return dict(zip(moving, parts, strict=True)), (a * base).flatten(1).sum(1)

    def _bent(self, given: Node, a: Tensor, slope: float) -> tuple[dict[Node, Tensor], Tensor] | None:
        """A ReLU between its lines: above, the chord; below, the steeper or the flatter half."""
        if not 0 <= slope <= 1:
            return None
        low, high = self._of[given]
        crosses = (low < 0) & (high > 0)
        width = torch.where(crosses, high - low, 1.0)
        chord = torch.where(crosses, (high - slope * low) / width, torch.where(low >= 0, 1.0, slope))
        lift = torch.where(crosses, slope * low - chord * low, 0.0)
        under = torch.where(crosses, torch.where(high > -low, 1.0, slope), chord)
        up, down = a.clamp(min=0), a.clamp(max=0)
        return {given: up * chord + down * under}, (up * lift).flatten(1).sum(1)

    # ---- evaluation -------------------------------------------------------------------------------------------

    def _run(self, node: Node, values: dict[Node, Tensor]) -> Any:
        def value(given: Node) -> Any:
            return values[given] if given in values else self._constants.get(given)

        args, kwargs = torch.fx.map_arg(node.args, value), torch.fx.map_arg(node.kwargs, value)
        target: Callable[..., Any] = node.target
        name = "reshape" if operation(node) == "view" else operation(node)  # bounds need not lie as the model's do
        plain = getattr(torch.ops.aten, name, None) or target
        return plain(*args, **kwargs)

    def _value(self, arg: Any) -> Any:
        return self._constants.get(arg) if isinstance(arg, Node) else arg

    def _dtype(self) -> torch.dtype:
        return next(p.dtype for p in self._program.model.parameters() if p.is_floating_point())


def _is_plain_add(node: Node) -> bool:
    return operation(node) == "add" and not node.kwargs


def _slope(node: Node) -> float:
    """The slope of a ReLU or LeakyReLU below 0."""
    if operation(node) == "relu":
        return 0.0
    return float(node.args[1]) if len(node.args) > 1 else 0.01


def _finite(x: Tensor) -> Tensor:
    return torch.where(x.isinf(), 0.0, x)


def _largest(a: Tensor, low: Tensor, high: Tensor) -> Tensor:
    up, down = a.clamp(min=0), a.clamp(max=0)
    return (torch.where(up == 0, 0.0, up * high) + torch.where(down == 0, 0.0, down * low)).flatten(1).sum(1)

"""Bounds on every tensor of a model for all inputs of a box: intervals, and linear bounds carried back to the input.

Everything is computed in float64. Intervals are widened at each affine operation by the rounding that the model's own
dtype may add. Linear bounds are widened by an estimate of it, taken at two points; so what only they certify holds for
real numbers, and for the model's own up to that estimate.
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
"""Numbers of a linear bound's coefficients, entries of the tensor times those of the input, up to which it is made.

160 MB in float64; with more the interval stays, which is wider and never wrong.
"""

_SAME = frozenset("dropout feature_dropout contiguous clone detach alias to _to_copy lift_fresh_copy".split())
_VIEWS = frozenset(
    "view reshape _unsafe_view flatten unflatten permute transpose t squeeze unsqueeze slice select expand cat".split()
)
_MEANS = frozenset(f"{how}{n}d" for how in ("avg_pool", "adaptive_avg_pool", "upsample_nearest") for n in (1, 2, 3)) | {
    "mean"
}
_GROWS = (
    NEVER_FALLS
    | frozenset(("hardtanh", "clamp", "clamp_min", "amax"))
    | {f"{how}{n}d" for how in ("max_pool", "adaptive_max_pool") for n in (1, 2, 3)}
)
_WEIGHTED = frozenset(("linear", *CONVOLUTIONS))


class Bounds:
    """The bounds of one program on one box.

    Args:
        program: traced in evaluation mode, with one tensor as its input.
        lower, upper: the box, in the shape of the input; infinite where it has no bound.
        linear: carry linear bounds back to the input, which is tighter.
    """

    def __init__(self, program: Program, lower: Tensor, upper: Tensor, *, linear: bool = True) -> None:
        self._program = program
        self._of: dict[Node, Box] = {}
        self._points: list[Bounds] | None = None
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
        for node in program.nodes:
            if any(given in self._of for given in node.all_input_nodes):
                self._of[node] = self._bound(node)
            elif isinstance(node.meta.get("val"), Tensor):
                self._constants[node] = self._run(node, {})

    def of(self, node: Node) -> Box | None:
        """The bounds of a node's tensor; None for one that does not depend on the input."""
        return self._of.get(node)

    # ---- intervals --------------------------------------------------------------------------------------------

    def _bound(self, node: Node) -> Box:
        name = operation(node)
        box = self._interval(node, name)
        first = node.args[0]
        if name in ("relu", "leaky_relu") and self._linear and isinstance(first, Node):
            self._tighten(first)
            box = self._interval(node, name)
        return box

    def _interval(self, node: Node, name: str) -> Box:
        shape, moving = shape_of(node), [n for n in node.all_input_nodes if n in self._of]
        endless = torch.full(shape, torch.inf, dtype=torch.float64, device=self._of[moving[0]][0].device)
        unknown = (-endless, endless)
        if name in _WEIGHTED and moving == [node.args[0]]:
            return self._affine(node)
        if (name in _GROWS and moving == [node.args[0]]) or name in _VIEWS | _SAME | _MEANS:
            return self._run(node, {n: self._of[n][0] for n in moving}), self._run(
                node, {n: self._of[n][1] for n in moving}
            )
        if name == "batch_norm" and moving == [node.args[0]]:
            return self._scaled(moving[0], *self._norm(node))
        if name == "add" and not node.kwargs:
            return self._run(node, {n: self._of[n][0] for n in moving}), self._run(
                node, {n: self._of[n][1] for n in moving}
            )
        if name in ("mul", "div") and moving == [node.args[0]]:
            ends = [self._run(node, {moving[0]: end}) for end in self._of[moving[0]]]
            return torch.minimum(*ends).nan_to_num(nan=-torch.inf), torch.maximum(*ends).nan_to_num(nan=torch.inf)
        return unknown

    def _affine(self, node: Node) -> Box:
        """A linear layer or convolution, with infinite ends kept apart: 0 · ∞ is 0 here."""
        low, high = self._of[node.args[0]]
        weight, bias = self._value(node.args[1]), self._value(node.args[2]) if len(node.args) > 2 else None

        def apply(x: Tensor, w: Tensor, b: Any = None) -> Tensor:
            return node.target(x, w, b, *node.args[3:])

        up, down = weight.clamp(min=0), weight.clamp(max=0)
        ends = []
        for one, other in ((low, high), (high, low)):
            known = apply(_finite(one), up) + apply(_finite(other), down)
            open_ = apply(one.isinf().double(), (up > 0).double()) + apply(other.isinf().double(), (down < 0).double())
            ends.append((known, open_ > 0.5))
        largest = torch.maximum(_finite(low).abs(), _finite(high).abs())
        terms = weight[0].numel() + 1
        error = torch.finfo(self._dtype()).eps * terms * apply(largest, weight.abs())
        shift = torch.zeros_like(weight.flatten(1)[:, 0]) if bias is None else bias
        shift = shift.view([-1] + [1] * (0 if operation(node) == "linear" else weight.ndim - 2))
        error = error + torch.finfo(self._dtype()).eps * shift.abs() * (error > 0)
        lower = (ends[0][0] + shift - error).masked_fill(ends[0][1], -torch.inf)
        return lower, (ends[1][0] + shift + error).masked_fill(ends[1][1], torch.inf)

    def _norm(self, node: Node) -> tuple[Tensor, Tensor]:
        weight, bias, mean, var = (self._value(arg) for arg in node.args[1:5])
        shape = [1, -1] + [1] * (len(shape_of(node)) - 2)
        scale = (1 if weight is None else weight) / (var + float(node.args[7])).sqrt()
        return scale.view(shape), ((0 if bias is None else bias) - mean * scale).view(shape)

    def _scaled(self, given: Node, scale: Tensor, shift: Tensor) -> Box:
        low, high = self._of[given]
        ends = [torch.where(scale == 0, 0.0, end * scale) for end in (low, high)]
        error = 4 * torch.finfo(self._dtype()).eps * torch.maximum(_finite(ends[0]).abs(), _finite(ends[1]).abs())
        error = error + torch.where(scale == 0, 0.0, 4 * torch.finfo(self._dtype()).eps * shift.abs())
        return torch.minimum(*ends) + shift - error, torch.maximum(*ends) + shift + error

    # ---- linear bounds (Zhang et al. 2018, CROWN) ---------------------------------------------------------------

    def _tighten(self, node: Node) -> None:
        """Make the bounds of a pre-activation those of its linear bounds, where these are tighter."""
        low, high = self._of[node]
        if low.numel() * self._of[self._input][0].numel() > MOST_ENTRIES:
            return
        every = torch.eye(low.numel(), dtype=torch.float64, device=low.device).view(-1, *low.shape)
        slack = self._slack(node)
        above = self._carry(node, every).view_as(high) + slack
        below = -self._carry(node, -every).view_as(low) - slack
        self._of[node] = (torch.maximum(low, below), torch.minimum(high, above))

    def _carry(self, node: Node, coefficients: Tensor) -> Tensor:
        """An upper bound on Σ coefficients · node for all inputs of the box; shape (bounds,)."""
        on: dict[Node, Tensor] = {node: coefficients}
        total = torch.zeros(len(coefficients), dtype=torch.float64, device=coefficients.device)
        for at in reversed([*self._of]):
            a = on.pop(at, None)
            if a is None:
                continue
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
        """The coefficients on a node's inputs and what is constant; None: its interval is all that is known."""
        name = operation(node)
        moving = [n for n in node.all_input_nodes if n in self._of]
        if name in ("relu", "leaky_relu"):
            slope = float(node.args[1]) if name == "leaky_relu" and len(node.args) > 1 else 0.01
            return self._bent(moving[0], a, slope if name == "leaky_relu" else 0.0)
        affine = (name in _WEIGHTED and moving == [node.args[0]]) or name in _VIEWS | _SAME | _MEANS
        if name == "batch_norm" and moving == [node.args[0]]:
            scale, shift = self._norm(node)
            return {moving[0]: a * scale}, (a * shift).flatten(1).sum(1)
        if not affine and not (name == "add" and not node.kwargs) and not (name == "mul" and moving == [node.args[0]]):
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

    def _slack(self, node: Node) -> Tensor:
        """Rounding of the model on the way to a node: the width that the intervals of single points have."""
        if self._points is None:
            low, high = self._of[self._input]
            points = ((low + high) / 2, torch.maximum(low.abs(), high.abs()))
            self._points = [Bounds(self._program, point, point, linear=False) for point in points]
        wide = [points.of(node) for points in self._points]
        return torch.stack([high - low for low, high in (box for box in wide if box is not None)]).amax(0)

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


def _finite(x: Tensor) -> Tensor:
    return torch.where(x.isinf(), 0.0, x)


def _largest(a: Tensor, low: Tensor, high: Tensor) -> Tensor:
    up, down = a.clamp(min=0), a.clamp(max=0)
    return (torch.where(up == 0, 0.0, up * high) + torch.where(down == 0, 0.0, down * low)).flatten(1).sum(1)

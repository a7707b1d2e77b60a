"""Where a value's units lie, from the layer that made it through the equations after it: pure shape arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jax.extend import core


@dataclass(frozen=True)
class AxisTag:
    """What is known of a value: the axis of its units, the layer's weight by its path, whether it is a parameter."""

    axis: int | None = None
    weight: str = ""
    inputs: int = 0
    parameter: bool = False


def like(variable: Any, out: Any) -> bool:
    """Whether a variable has the shape of a result."""
    return not isinstance(variable, core.Literal) and variable.aval.shape == out.aval.shape


def carry(equation: Any, tags: Sequence[AxisTag], out: Any) -> AxisTag:
    """What is known of a result: pure shape arithmetic, from the layer that made it through what follows."""
    rule = _RULES.get(equation.primitive.name)
    if rule is not None:
        return rule(equation, tags, out)
    same = [t for v, t in zip(equation.invars, tags, strict=True) if like(v, out) and (t.axis is not None)]
    if same:
        return same[0]
    weights = [t for t in tags if t.parameter]
    return replace(weights[0], axis=None) if len(weights) == len(equation.invars) == 1 else AxisTag()


def _dot(equation: Any, tags: Sequence[AxisTag], out: Any) -> AxisTag:
    """The units are what the weight brings along: the operand that is a parameter, or else the right one."""
    ((left_over, right_over), (batch, _)) = equation.params["dimension_numbers"]
    left, right = tags
    is_left = left.parameter and not right.parameter
    weight, over, which = (left, left_over, 0) if is_left else (right, right_over, 1)
    free = equation.invars[which].aval.ndim - len(over) - len(batch)
    if free == 0:
        return AxisTag()
    inputs = math.prod(equation.invars[which].aval.shape[i] for i in over)
    axis = len(batch) + free - 1 if is_left else out.aval.ndim - 1
    return AxisTag(axis, weight.weight, inputs)


def _conv(equation: Any, tags: Sequence[AxisTag], out: Any) -> AxisTag:
    numbers = equation.params["dimension_numbers"]
    return AxisTag(numbers.out_spec[1], tags[1].weight, equation.invars[1].aval.shape[numbers.rhs_spec[1]])


def _moved(by: Callable[[Any, int], int | None]) -> Callable[[Any, Sequence[AxisTag], Any], AxisTag]:
    def rule(equation: Any, tags: Sequence[AxisTag], out: Any) -> AxisTag:
        tag = tags[0]
        return tag if tag.axis is None else replace(tag, axis=by(equation, tag.axis))

    return rule


def _reshaped(equation: Any, axis: int) -> int | None:
    """The axis with the same size and the same stride."""
    old, new = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    stride = math.prod(old[axis + 1 :])
    return next((i for i, n in enumerate(new) if n == old[axis] and math.prod(new[i + 1 :]) == stride), None)


def _reduced(equation: Any, axis: int) -> int | None:
    gone = equation.params["axes"]
    return None if axis in gone else axis - sum(each < axis for each in gone)


_RULES: dict[str, Callable[[Any, Sequence[AxisTag], Any], AxisTag]] = {
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "transpose": _moved(lambda equation, axis: equation.params["permutation"].index(axis)),
    "broadcast_in_dim": _moved(lambda equation, axis: equation.params["broadcast_dimensions"][axis]),
    "reshape": _moved(_reshaped),
    **{f"reduce_{kind}": _moved(_reduced) for kind in ("sum", "max", "min")},
    **{f"reduce_window_{kind}": _moved(lambda _, axis: axis) for kind in ("sum", "max", "min")},
}

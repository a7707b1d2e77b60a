"""The follower: it carries the tags of :mod:`axes` from call to call.

A layer's call leaves a tag on its result; every other call carries a tag on, or loses it. Eager calls, the survey and
compiled graphs are followed by the same rules; what differs is how a value is looked at (a tensor, or a graph's node).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import Parameter

from relume.torch.watching.calls.exported import with_exported
from relume.torch.watching.calls.functions import ARITHMETIC_CALLS, LAYER_CALLS, MATMUL_CALLS, NORM_CALLS
from relume.torch.watching.units.axes import RULES, Borrowed, Tag, kept
from relume.torch.watching.units.values import Values
from relume.torch.watching.where import places

PARAMETER = object()
"""The tag of what is computed from parameters alone: no activation works on it."""

_PLAIN_TENSORS = (Tensor, Parameter)
LAYERS, NORMS = with_exported(LAYER_CALLS), with_exported(NORM_CALLS)
"""The layers' and the normalizations' calls, with those of exported programs."""

_RULES = with_exported(RULES)
_PRODUCTS, _ARITHMETIC = with_exported(dict.fromkeys(MATMUL_CALLS)), with_exported(dict.fromkeys(ARITHMETIC_CALLS))

Follow = Callable[[Any, Any, Any, Any], None]
"""Takes a call and its result: ``(func, args, kwargs, out)``."""


class Follower(Values):
    """The tags of tensors, while these are alive: a :class:`Tag`, ``PARAMETER`` or None."""

    kinds: tuple[type, ...] = _PLAIN_TENSORS
    """The types of the values that are tagged."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: dict[Any, Follow] = {
            **dict.fromkeys(_ARITHMETIC, self.arithmetic),
            **dict.fromkeys(_RULES, self.by_rule),
            **dict.fromkeys(_PRODUCTS, self.product),
            **dict.fromkeys(NORMS, self.norm),
            **dict.fromkeys(LAYERS, self.layer),
        }

    def put(self, x: Any, what: Any) -> None:
        """Tag a value; None: it has no units that are known."""
        if type(x) in self.kinds:
            super().put(x, what)

    # ---- what differs in a graph ------------------------------------------------------------------------------

    def shaped(self, x: Any) -> Any:
        """What has the shape of a value; None for one that is no tensor."""
        return x if isinstance(x, Tensor) else None

    def parameter(self, x: Any) -> Parameter | None:
        """The parameter that a value is."""
        return x if type(x) is Parameter else None

    def borrowed(self, weight: Any) -> tuple[Any, Borrowed | None]:
        """(first own parameter, :class:`Borrowed`) of the module that calls a layer with a weight not its own."""
        module = places.owner(sys._getframe(1))
        if module is None:
            return None, Borrowed(None, "")
        own = next((p for p in module.parameters() if type(p) is Parameter), None)
        named = (name for name, tensor in module._parameters.items() if tensor is weight)
        is_layer = type(module).__module__.startswith("torch.nn.")  # its weight is computed: weight_norm, parametrized
        return own, Borrowed(module, next(named, "weight" if is_layer else ""))

    # ---- one call ---------------------------------------------------------------------------------------------

    def follow(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Tag a call's result."""
        way = self.ways.get(func)
        if way is not None:
            way(func, args, kwargs, out)
        else:
            self.carry(args, out)

    def subject(self, args: Any) -> tuple[Any, Any]:
        """The value whose units a call carries on, and its tag: the first argument that has one."""
        parameter = None
        for arg in args:
            for x in arg if isinstance(arg, (list, tuple)) else (arg,):
                tag = self.of(x)
                if tag is PARAMETER or (tag is None and self.parameter(x) is not None):
                    parameter = x
                elif tag is not None:
                    return x, tag
        return parameter, None if parameter is None else PARAMETER

    def carry(self, args: Any, out: Any) -> None:
        """A call without a rule."""
        x, tag = self.subject(args)
        if tag is PARAMETER:
            self.put(out, tag)
        elif tag is not None and (result := self.shaped(out)) is not None:
            self.put(out, kept(tag, self.shaped(x).shape, result.shape))

    def by_rule(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """A call that moves, splits or joins axes."""
        x, tag = self.subject(args)
        if tag is None or tag is PARAMETER:
            self.carry(args, out)
            return
        for part in out if isinstance(out, (list, tuple)) else (out,):
            if (shaped := self.shaped(part)) is not None:
                self.put(part, _RULES[func](tag, self.shaped(x), shaped, args, kwargs))

    def arithmetic(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Arithmetic; with plain numbers it is how losses are written."""
        self.carry(args, out)
        tag = self.of(out)
        if isinstance(tag, Tag) and not all(self.shaped(arg) is not None for arg in args[:2]):
            self.put(out, tag._replace(direct=False))

    def layer(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """A layer's call."""
        place, axis = LAYERS[func]
        self.put(out, self._made(args, out, axis, args[place] if len(args) > place else kwargs.get("weight")))

    def norm(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """A normalization's call; without a weight of its own the layer before it stays."""
        place, name, axis = NORMS[func]
        weight = args[place] if len(args) > place else kwargs.get(name)
        shape = self.shaped(weight)
        if shape is None or shape.ndim > 1 or self.shaped(out).ndim < 2:
            self.carry(args, out)
        else:
            self.put(out, self._made(args, out, axis, weight))

    def product(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """A matrix product: a layer if a factor is a parameter."""
        for x in args:
            is_own = self.of(x) is PARAMETER or self.parameter(x) is not None
            if is_own and self.shaped(x).ndim > 1:
                self.put(out, self._made(args, out, -1, x))
                return
        right: Any = args[-1] if args else None
        tag = self.of(right)
        if isinstance(tag, Tag) and tag.axis == self.shaped(right).ndim - 1 > 0 and func is not torch.einsum:
            axis = self.shaped(out).ndim - 1  # rows are mixed: an adjacency matrix times its nodes
            self.put(out, tag._replace(axis=axis, layer_call=None, output=""))

    def _made(self, args: Any, out: Any, axis: int, weight: Any) -> Tag:
        shape = self.shaped(out).shape
        axis %= len(shape)
        before = self.of(args[0]) if args else None
        depth = before.depth + 1 if isinstance(before, Tag) else 1
        layer = self.parameter(weight)
        if layer is not None:
            return Tag(axis, shape[axis], layer=layer, depth=depth)
        layer, borrowed = self.borrowed(weight)
        return Tag(axis, shape[axis], layer=layer, borrowed=borrowed, depth=depth)


def is_countable(x: Any) -> bool:
    """Whether a tensor has numbers of its own: no tracer's, no transform's, and not inside a backward pass."""
    return (
        type(x) in _PLAIN_TENSORS
        and torch._C._current_graph_task_id() == -1  # a checkpoint's second forward
        and torch._C._get_tracing_state() is None
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
    )

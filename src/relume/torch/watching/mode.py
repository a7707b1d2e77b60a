"""The eye: a TorchFunctionMode that sees every call of PyTorch's API while a step is looked at.

It runs the user's call exactly once, with the user's arguments, and counts before and after it. Whatever goes wrong
in the counting goes to ``fail`` and never to the user.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.parameter import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext

from relume.torch.watching import composed, places
from relume.torch.watching.axes import RULES, Tag, kept
from relume.torch.watching.functions import (
    ACTIVATION_CALLS,
    ARITHMETIC_CALLS,
    LAYER_CALLS,
    MATMUL_CALLS,
    NORM_CALLS,
    RECURRENT_CALLS,
    UNJUDGED_CALLS,
    Applied,
)
from relume.torch.watching.layer_calls import NormCall, call_of
from relume.torch.watching.sites import Sites, WatchedSite, is_countable, written
from relume.torch.watching.warned import Warned

_PASS_THROUGH_NS = 2_000  # what a call pays for the way into and out of this mode, and for a tag carried on
_TAGGED_NS = 3_000  # what tagging a layer's result takes
_PARAMETER = object()  # the tag of what is computed from parameters alone: no activation works on it
_PLAIN_TENSORS = (Tensor, Parameter)


class Keeper(Protocol):
    """Whom the eye works for: the probe."""

    sites: Sites

    def is_here(self) -> bool:
        """Whether the calling thread is the one that is looked at."""

    @property
    def look_cap(self) -> float:
        """Nanoseconds that a look may cost."""

    def visited_again(self) -> None:
        """A further forward begins of a look that has cost more."""

    def fail(self, error: BaseException) -> None:
        """An error of ours."""


class Eye(TorchFunctionMode):
    """Sees one thread's calls from :meth:`open` to :meth:`shut`."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.cost = 0
        self._opened_at = 0
        self._seen: set[int] = set()
        self._entered = False
        self._warned = Warned(__file__, globals())
        self._tags: dict[int, tuple[weakref.ref[Tensor], Any]] = {}
        self._compositions = composed.Compositions()
        self._blind = False
        self._handlers = self._table()

    # ---- on and off -------------------------------------------------------------------------------------------
    # The mode goes in at the bottom of the stack, above a default device: a user who leaves a mode of their own
    # pops the top, and must find theirs there.

    def open(self) -> None:
        """Begin a look; the eye is not on the stack yet."""
        self._blind = False
        self._opened_at = self.cost
        self._seen.clear()

    def shut(self) -> None:
        """End the look."""
        self._forget()
        self.leave()

    def enter(self) -> None:
        """Onto this thread's stack."""
        if not self._entered:
            self._entered = True
            self._warned.begin()
            stack = _unstack() if torch._C._len_torch_function_stack() else []
            below = 1 if stack and isinstance(stack[0], DeviceContext) else 0
            _restack([*stack[:below], self, *stack[below:]])

    def leave(self) -> None:
        """Off the stack, wherever on it the mode is by now.

        While a call is inside the mode (``Tensor.backward`` is one, and its end may be a step's), PyTorch has taken it
        off and will put it back: it stays, and sees nothing until the next :meth:`open`.
        """
        if self._entered and self.is_there():
            _restack([mode for mode in _unstack() if mode is not self])
            self._entered = False
            self._warned.end()
        elif self._entered:
            self.blind()

    def look_up(self) -> None:
        """Outside any call: a mode that is not on the stack now was taken off by somebody else."""
        self._entered = self.is_there()

    def is_there(self) -> bool:
        """Whether the mode is on this thread's stack."""
        for i in range(torch._C._len_torch_function_stack()):
            if torch._C._get_function_stack_at(i) is self:
                return True
        return False

    def blind(self) -> None:
        """See nothing until the next :meth:`open`; calls only pass through."""
        self._blind = True
        self._forget()

    def _forget(self) -> None:
        self._tags.clear()
        self._compositions.clear()

    # ---- one call ---------------------------------------------------------------------------------------------

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.cost += _PASS_THROUGH_NS
        if self._blind or torch._C._get_tracing_state() is not None:
            return func(*args, **(kwargs or {}))
        handler = self._handlers.get(func)
        if handler is not None:
            return handler(func, args, kwargs or {})
        out = func(*args, **(kwargs or {}))
        if type(out) is Tensor:
            try:
                self._carry(args, out)
            except Exception as error:  # noqa: BLE001 - as in _guarded, without its clock
                self._fail(error)
        return out

    def _guarded(self, work: Callable[..., Any], *what: Any) -> Any:
        """Do work of ours: timed, and its errors kept from the user."""
        began = perf_counter_ns()
        try:
            return work(*what)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._fail(error)
            return None
        finally:
            self.cost += perf_counter_ns() - began

    def _fail(self, error: Exception) -> None:
        self.blind()
        self._keeper.fail(error)

    def _table(self) -> dict[Any, Callable[..., Any]]:
        table: dict[Any, Callable[..., Any]] = {}
        table.update(dict.fromkeys(ACTIVATION_CALLS, self._activation))
        table.update(dict.fromkeys(UNJUDGED_CALLS, self._unjudged))
        table.update(dict.fromkeys(RECURRENT_CALLS, self._recurrent))
        for calls, tagger in (
            (LAYER_CALLS, self._tag_layer),
            (NORM_CALLS, self._tag_norm),
            (MATMUL_CALLS, self._tag_product),
            (RULES, self._tag_by_rule),
            (composed.COMPARISON_CALLS, self._note_comparison),
            (composed.CAST_CALLS, self._note_cast),
            (composed.CHOICE_CALLS, self._note_composition),
            (ARITHMETIC_CALLS, self._tag_arithmetic),
        ):
            table.update(dict.fromkeys(calls, self._then(tagger)))
        return table

    def _then(self, tagger: Callable[..., Any]) -> Callable[..., Any]:
        """A handler that runs the call and then tags its result."""

        def handler(func: Any, args: Any, kwargs: Any) -> Any:
            out = func(*args, **kwargs)
            self.cost += _TAGGED_NS
            try:
                tagger(func, args, kwargs, out)
            except Exception as error:  # noqa: BLE001 - as in _guarded, without its clock
                self._fail(error)
            return out

        return handler

    # ---- activations ------------------------------------------------------------------------------------------

    def _activation(self, func: Any, args: Any, kwargs: Any) -> Any:
        began = perf_counter_ns()
        looked = None
        try:
            looked = self._look(func, args, kwargs, sys._getframe(1))
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._fail(error)
        self.cost += perf_counter_ns() - began
        out = func(*args, **kwargs)
        began = perf_counter_ns()
        try:
            self._look_after(looked, args, out)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        self.cost += perf_counter_ns() - began
        return out

    def _look(self, func: Any, args: Any, kwargs: Any, frame: Any) -> tuple[WatchedSite, Tag] | None:
        x = args[0] if args else kwargs.get("input")
        if not isinstance(x, Tensor) or torch._C._current_graph_task_id() != -1:
            return None  # inside a backward pass: a checkpoint's second forward
        applied = ACTIVATION_CALLS[func](args, kwargs)
        if applied is None:
            return None
        tag = self._tag(x)
        if tag is _PARAMETER or (type(x) is not Tensor and isinstance(x, Parameter)):
            self._keeper.sites.unjudged(written(func), frame, "it works on a parameter, not on what a layer gives")
            return None
        return self._look_at(applied, func, args, x, tag, frame)

    def _look_at(
        self, applied: Applied, func: Any, args: Any, x: Tensor, tag: Tag | None, frame: Any
    ) -> tuple[WatchedSite, Tag] | None:
        found = self._keeper.sites.find(applied, func, args, x, tag, frame)
        if found is None:
            return None
        site, tag = found
        if site.number in self._seen and self.cost - self._opened_at > self._keeper.look_cap:
            self._keeper.visited_again()
        self._seen.add(site.number)
        if not is_countable(x):
            return None
        site.count_input(x, tag)
        if tag.made is not None:
            self._keeper.sites.keep_terms(site, x, tag)
        return site, tag

    def _look_after(self, looked: tuple[WatchedSite, Tag] | None, args: Any, out: Any) -> None:
        if looked is not None:
            site, tag = looked
            site.count_output(out, tag)
            if not self._keeper.sites.known_only and out.numel():
                site.statistics.output(out)
            self._put(out, tag._replace(made=None, site=site.number))
        elif isinstance(out, Tensor):
            self._carry(args, out)

    def _recurrent(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        self._guarded(self._look_inside, func, args, out[0], sys._getframe(1))
        return out

    def _look_inside(self, func: Any, args: Any, y: Tensor, frame: Any) -> None:
        """An output is above 0 where its pre-activation was, so it is counted in its place."""
        place = next(n for n, arg in enumerate(args) if isinstance(arg, (list, tuple)))
        weights, layers = args[place], args[place + 2]
        tag = Tag(y.ndim - 1, y.shape[-1], layer=weights[-(len(weights) // layers)])
        self._look_after(self._look_at(RECURRENT_CALLS[func], func, args, y, tag, frame), (), y)
        if layers > 1:
            why = "PyTorch computes all layers in one call; only the last one's activations are seen"
            self._keeper.sites.unjudged("relu in the lower layers of nn.RNN", frame, why)

    def _unjudged(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        self._guarded(
            self._keeper.sites.unjudged, UNJUDGED_CALLS[func], sys._getframe(1), "it is not among relume's activations"
        )
        self._guarded(self._carry, args, out)
        return out

    # ---- tags -------------------------------------------------------------------------------------------------

    def _tag(self, x: Any) -> Any:
        known = self._tags.get(id(x))
        return known[1] if known is not None and known[0]() is x else None

    def _put(self, x: Any, tag: Any) -> None:
        if type(x) in _PLAIN_TENSORS:
            self._tags[id(x)] = (weakref.ref(x), tag)

    def _subject(self, args: Any) -> tuple[Any, Any]:
        """The tensor whose units a call carries on, and its tag: the first argument that has one."""
        parameter = None
        for arg in args:
            for x in arg if type(arg) in (list, tuple) else (arg,):
                tag = _PARAMETER if type(x) is Parameter else self._tag(x)
                if tag is _PARAMETER:
                    parameter = x
                elif tag is not None:
                    return x, tag
        return parameter, None if parameter is None else _PARAMETER

    def _carry(self, args: Any, out: Any) -> None:
        x, tag = self._subject(args)
        if tag is _PARAMETER:
            self._put(out, tag)
        elif tag is not None and isinstance(out, Tensor):
            self._put(out, kept(tag, x.shape, out.shape))

    def _tag_by_rule(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        x, tag = self._subject(args)
        if tag is None or tag is _PARAMETER:
            return self._carry(args, out)
        for part in out if isinstance(out, (list, tuple)) else (out,):
            if isinstance(part, Tensor):
                self._put(part, RULES[func](tag, x, part, args, kwargs))
        return None

    def _tag_arithmetic(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        self._note_composition(func, args, kwargs, out)
        tag = self._tag(out)
        if isinstance(tag, Tag) and not all(isinstance(arg, Tensor) for arg in args[:2]):
            self._put(out, tag._replace(direct=False))

    def _note_comparison(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        tag = self._tag(args[0]) if args else None
        if isinstance(tag, Tag) and tag.direct:  # what follows arithmetic with plain numbers is often a loss
            self._compositions.compared(args, out)

    def _note_cast(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        self._compositions.cast(args, out)
        self._carry(args, out)

    def _note_composition(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        if name := self._compositions.joined(args):
            self._keeper.sites.unjudged(name, sys._getframe(), composed.WHY)
        self._carry(args, out)

    def _tag_layer(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        place, axis = LAYER_CALLS[func]
        weight = args[place] if len(args) > place else kwargs.get("weight")
        tag = _layer_tag(out, axis, weight)
        if not self._keeper.sites.known_only:
            before = self._tag(args[0]) if args else None
            upstream = before.site if isinstance(before, Tag) else -1
            tag = tag._replace(made=call_of(func, args, kwargs, out, upstream))
        self._put(out, tag)

    def _tag_norm(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        place, name, axis = NORM_CALLS[func]
        weight = args[place] if len(args) > place else kwargs.get(name)
        if weight is None or weight.ndim > 1 or out.ndim < 2:
            self._carry(args, out)
        else:
            tag, before = _layer_tag(out, axis, weight), self._tag(args[0])
            if not self._keeper.sites.known_only:
                upstream = before.made.upstream if isinstance(before, Tag) and before.made is not None else -1
                bias = args[place + 1] if len(args) > place + 1 else kwargs.get("bias")
                tag = tag._replace(made=NormCall(out, args[0], weight, bias, upstream, tag.axis))
            self._put(out, tag)

    def _tag_product(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        for x in args:
            if isinstance(x, Tensor) and x.ndim > 1 and (isinstance(x, Parameter) or self._tag(x) is _PARAMETER):
                self._put(out, _layer_tag(out, -1, x))
                return
        right: Any = args[-1] if args else None
        tag = self._tag(right)
        if isinstance(tag, Tag) and tag.axis == right.ndim - 1 > 0 and func is not torch.einsum:
            self._put(out, tag._replace(axis=out.ndim - 1, made=None))  # rows are mixed: an adjacency times its nodes


def _layer_tag(out: Tensor, axis: int, weight: Any) -> Tag:
    """The tag of a layer's result. A weight that is computed (weight_norm) is told apart by its module's first own."""
    axis %= out.ndim
    if not isinstance(weight, Parameter):
        module = places.owner(sys._getframe(1))
        weight = next(module.parameters(), None) if module is not None else None
    return Tag(axis, out.shape[axis], layer=weight)


def _unstack() -> list[Any]:
    """Take all modes off this thread's stack; the bottom one first."""
    return [torch._C._pop_torch_function_stack() for _ in range(torch._C._len_torch_function_stack())][::-1]


def _restack(modes: list[Any]) -> None:
    for mode in modes:
        torch._C._push_on_torch_function_stack(mode)

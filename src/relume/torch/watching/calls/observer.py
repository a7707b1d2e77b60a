"""The call observer: a TorchFunctionMode that sees every call of PyTorch's API while a step is looked at.

It runs the user's call exactly once, with the user's arguments, and counts before and after it. An error in the
counting goes to ``fail`` and never to the user.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.parameter import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext

from relume.torch.watching.calls import arithmetic
from relume.torch.watching.calls.codes import CODE, SCATTER_CALLS, TOPK_CALLS, Codes
from relume.torch.watching.calls.exported import ORIGINAL, with_exported
from relume.torch.watching.calls.functions import (
    ACTIVATION_CALLS,
    RECURRENT_CALLS,
    UNJUDGED_CALLS,
    Applied,
)
from relume.torch.watching.calls.losses import LOSS_CALLS, SOFTMAX_CALLS, UNFIT
from relume.torch.watching.calls.warned import Warned
from relume.torch.watching.causes.layer_calls import NormCall, call_of
from relume.torch.watching.units.axes import Tag
from relume.torch.watching.units.following import LAYERS, NORMS, PARAMETER, Follow, Follower, is_countable
from relume.torch.watching.units.values import Values
from relume.torch.watching.where import places
from relume.torch.watching.where.naming import written
from relume.torch.watching.where.sites import WatchedSite

if TYPE_CHECKING:
    from relume.torch.watching.probe import TorchProbe

_PASS_THROUGH_NS = 2_000  # what a call pays for the way into and out of this mode, and for a tag carried on
_TAGGED_NS = 3_000  # what tagging a layer's result takes
_ACTIVATIONS, _UNJUDGED = with_exported(ACTIVATION_CALLS), with_exported(UNJUDGED_CALLS)


class CallObserver(TorchFunctionMode):
    """Sees one thread's calls from :meth:`open` to :meth:`shut`."""

    def __init__(self, probe: TorchProbe) -> None:
        self._probe = probe
        self._guarded = probe.guarded
        self._opened_at = 0
        self._seen: set[int] = set()
        self._entered = False
        self._warned = Warned(__file__, globals())
        self.tags = Follower()
        self._forms = arithmetic.Forms(self.tags)
        self._softmaxes = Values()  # results: the places that gave them
        self._codes = Codes(probe, self.tags, self._forms, self._softmaxes)
        self._outputs: set[Any] = set()  # places whose softmax a loss takes
        self._blind = False
        self._handlers = self._table()

    # ---- on and off -------------------------------------------------------------------------------------------
    # The mode goes in at the bottom of the stack, above a default device: a user who leaves a mode of their own
    # pops the top, and must find theirs there.

    def open(self) -> None:
        """Begin a look; the mode is not on the stack yet."""
        self._blind = False
        self._opened_at = self._guarded.cost
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
        self.tags.clear()
        self._forms.clear()
        self._codes.clear()
        self._softmaxes.clear()

    # ---- one call ---------------------------------------------------------------------------------------------

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._guarded.cost += _PASS_THROUGH_NS
        if self._blind or torch._C._get_tracing_state() is not None:
            return func(*args, **(kwargs or {}))
        handler = self._handlers.get(func)
        if handler is not None:
            return handler(func, args, kwargs or {})
        out = func(*args, **(kwargs or {}))
        if type(out) is Tensor:
            try:
                self.tags.carry(args, out)
            except Exception as error:  # noqa: BLE001 - as a guard does, without its clock
                self._probe.fail(error)
        return out

    def _table(self) -> dict[Any, Callable[..., Any]]:
        ways: dict[Any, Follow] = {
            **self.tags.ways,
            **dict.fromkeys((*LAYERS, *NORMS), self._layer),
            **dict.fromkeys(arithmetic.NOTED, self._operand),
        }
        table: dict[Any, Callable[..., Any]] = {func: self._then(way) for func, way in ways.items()}
        table.update({func: self._joining(ways.get(func, self.tags.follow)) for func in arithmetic.JOINS})
        table.update(dict.fromkeys(_ACTIVATIONS, self._activation))
        table.update(dict.fromkeys(_UNJUDGED, self._unjudged))
        table.update(dict.fromkeys(RECURRENT_CALLS, self._recurrent))
        table.update(dict.fromkeys(SOFTMAX_CALLS, self._softmax))
        table.update(dict.fromkeys(LOSS_CALLS, self._then(self._loss)))
        table.update(dict.fromkeys(TOPK_CALLS, self._topk))
        table.update(dict.fromkeys(SCATTER_CALLS, self._scatter))
        return table

    def _then(self, way: Follow) -> Callable[..., Any]:
        """A handler that runs the call and then tags its result."""

        def handler(func: Any, args: Any, kwargs: Any) -> Any:
            out = func(*args, **kwargs)
            self._guarded.cost += _TAGGED_NS
            try:
                way(func, args, kwargs, out)
            except Exception as error:  # noqa: BLE001 - as a guard does, without its clock
                self._probe.fail(error)
            return out

        return handler

    def _joining(self, way: Follow) -> Callable[..., Any]:
        """A handler of a call that may complete an activation written as arithmetic."""
        then = self._then(way)

        def handler(func: Any, args: Any, kwargs: Any) -> Any:
            if self._guarded(self._forms.form, func, args, kwargs) is None:
                return then(func, args, kwargs)
            return self._activation(func, args, kwargs)

        return handler

    # ---- activations ------------------------------------------------------------------------------------------

    def _activation(self, func: Any, args: Any, kwargs: Any) -> Any:
        looked = self._guarded(self._look, func, args, kwargs, sys._getframe(1))
        out = func(*args, **kwargs)
        self._guarded(self._look_after, looked, args, args[0] if func is Tensor.__setitem__ else out)
        return out

    def _look(self, func: Any, args: Any, kwargs: Any, frame: Any) -> tuple[WatchedSite, Tag] | None:
        """Find the site of a call and count its input; None for a call that is not counted."""
        if torch._C._current_graph_task_id() != -1:
            return None  # inside a backward pass: a checkpoint's second forward
        applied = _ACTIVATIONS[func](args, kwargs) if func in _ACTIVATIONS else None
        applied = Applied("softmax", {}) if func in SOFTMAX_CALLS else applied
        x, call = args[0] if args else kwargs.get("input"), func
        if applied is not None and applied.name == "relu" and self._codes.rectified(x, frame):
            return None
        if applied is None and func in arithmetic.JOINS:
            form = self._form(func, args, kwargs, frame)
            if form is None:
                return None
            applied, x, call = form.applied, form.x, form.name
            if applied is None:
                self._probe.sites.unjudged(form.name, frame, arithmetic.WHY)
        if applied is None or not isinstance(x, Tensor):
            return None
        tag = self.tags.of(x)
        if tag is PARAMETER or (type(x) is not Tensor and isinstance(x, Parameter)):
            self._probe.sites.unjudged(written(call), frame, "its input is a parameter, not the output of a layer")
            return None
        if tag is not None and tag.output == applied.name == "relu" and self._probe.sites.is_code(tag.site):
            applied = CODE  # a ReLU on a sparse code
        return self._count_input(applied, call, args, x, tag, frame)

    def _form(self, func: Any, args: Any, kwargs: Any, frame: Any) -> arithmetic.Form | None:
        """The activation that a call completes; None for what outside the model looks like a part of the loss."""
        form = self._forms.form(func, args, kwargs)
        tag = self.tags.of(form.x) if form is not None else None
        if form is None or not isinstance(tag, Tag) or (form.code and self._codes.is_router(form.x)):
            return None
        if not tag.direct and not self._probe.sites.is_inside(frame, tag):
            return None
        return form if form.at_zero or places.is_in_a_call(frame) else None

    def _count_input(
        self, applied: Applied, call: Any, args: Any, x: Tensor, tag: Tag | None, frame: Any
    ) -> tuple[WatchedSite, Tag] | None:
        found = self._probe.sites.find(applied, call, args, x, tag, frame)
        if found is None:
            return None
        site, tag = found
        if site.number in self._seen and self._guarded.cost - self._opened_at > self._probe.look_cap:
            self._probe.visited_again()
        self._seen.add(site.number)
        if not is_countable(x):
            return None
        if tag.output:
            self._probe.sites.follow_on(tag.site, site)
        site.accumulator.input(x, tag, site.clock.step)
        if tag.layer_call is not None:
            self._probe.sites.keep_terms(site, x, tag)
        return site, tag._replace(output=applied.name)

    def _look_after(self, looked: tuple[WatchedSite, Tag] | None, args: Any, out: Any) -> None:
        if looked is not None:
            site, tag = looked
            site.accumulator.output(out, tag, site.clock.step)
            if not self._probe.sites.known_only and out.numel():
                site.statistics.output(out)
            self.tags.put(out, tag._replace(layer_call=None, site=site.number))
        elif isinstance(out, Tensor):
            self.tags.carry(args, out)

    def _recurrent(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        self._guarded(self._look_inside, func, args, out[0], sys._getframe(1))
        return out

    def _look_inside(self, func: Any, args: Any, y: Tensor, frame: Any) -> None:
        """An output is above 0 where its pre-activation was, so it is counted in its place."""
        place = next(n for n, arg in enumerate(args) if isinstance(arg, (list, tuple)))
        weights, layers = args[place], args[place + 2]
        tag = Tag(y.ndim - 1, y.shape[-1], layer=weights[-(len(weights) // layers)])
        self._look_after(self._count_input(RECURRENT_CALLS[func], func, args, y, tag, frame), (), y)
        if layers > 1:
            why = "PyTorch computes all layers in one call; only the last one's activations are seen"
            self._probe.sites.unjudged("relu in the lower layers of nn.RNN", frame, why)

    def _unjudged(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        name, why = _UNJUDGED[func]
        self._guarded(self._probe.sites.unjudged, name, sys._getframe(1), why)
        self._guarded(self.tags.carry, args, out)
        return out

    # ---- sparse codes by top-k -----------------------------------------------------------------------------------

    def _topk(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        self._guarded(self._codes.selected, args, kwargs, out, sys._getframe(1))
        return out

    def _scatter(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        self._guarded(self._codes.scattered, func, args, kwargs, out, sys._getframe(1))
        return out

    # ---- the network's output ---------------------------------------------------------------------------------

    def _softmax(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A softmax has no units to judge: it is a site only where a loss takes its output, which is seen later."""
        place = self._guarded(self._spot, sys._getframe(1))
        if place in self._outputs:
            return self._activation(func, args, kwargs)
        out = func(*args, **kwargs)
        self._guarded(self.tags.carry, args, out)
        self._softmaxes.put(out, place)
        return out

    def _spot(self, frame: Any) -> tuple[Any, int]:
        place = places.find(frame)
        return place.code, place.instruction

    def _loss(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """See what a loss takes; features that two networks give are compared on purpose."""
        x = args[0] if args else kwargs.get("input")
        targets = args[1] if len(args) > 1 else kwargs.get("target")
        place, tag, number = self._softmaxes.of(x), self.tags.of(x), LOSS_CALLS[func]
        unfit = UNFIT[func.__name__]
        if place is not None and "softmax" in unfit:
            self._outputs.add(place)
        is_output = isinstance(tag, Tag) and tag.site >= 0 and tag.output in unfit
        if is_output and self.tags.of(targets) is None:
            self._probe.sites.feeds(tag.site, number, targets)

    # ---- tags -------------------------------------------------------------------------------------------------

    def _operand(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        if not arithmetic.gives_zeros(func):  # zeros_like(h) has nothing of h's units
            self.tags.follow(func, args, kwargs, out)
        self._forms.note(func, args, out)

    def _layer(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """A layer or a normalization: tag its result, and in a wide look keep its call, for the causes of deaths."""
        before = self.tags.of(args[0]) if args else None
        self.tags.follow(func, args, kwargs, out)
        tag = self.tags.of(out)
        if not isinstance(tag, Tag) or self._probe.sites.known_only:  # a tracer's result has no tag
            return
        upstream = before.site if isinstance(before, Tag) else -1
        if func in LAYERS:
            self.tags.put(out, tag._replace(layer_call=call_of(ORIGINAL.get(func, func), args, kwargs, out, upstream)))
            return
        place, name, _ = NORMS[func]
        weight = args[place] if len(args) > place else kwargs.get(name)
        if weight is not None and tag.layer is weight:
            upstream = before.layer_call.upstream if isinstance(before, Tag) and before.layer_call is not None else -1
            bias = args[place + 1] if len(args) > place + 1 else kwargs.get("bias")
            self.tags.put(out, tag._replace(layer_call=NormCall(out, args[0], weight, bias, upstream, tag.axis)))


def _unstack() -> list[Any]:
    """Take all modes off this thread's stack; the bottom one first."""
    return [torch._C._pop_torch_function_stack() for _ in range(torch._C._len_torch_function_stack())][::-1]


def _restack(modes: list[Any]) -> None:
    for mode in modes:
        torch._C._push_on_torch_function_stack(mode)

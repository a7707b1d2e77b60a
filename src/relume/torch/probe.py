"""Watching PyTorch: when the eye is open, and what the taps' news means.

The data's way: taps say that a step is over; the listener says whether to look at the next; while it is looked at,
the eye hands each call to the sites, whose counts stay on the device until the listener drains them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim import Optimizer

from relume.errors import WatchError
from relume.framework import Listener, Phase, Tally
from relume.torch import places, taps
from relume.torch.clocks import KINDS, Clock, Clocks, living_optimizers, rates_of
from relume.torch.mode import Eye
from relume.torch.sites import Sites, WatchedSite


class TorchProbe:
    """The :class:`~relume.framework.Probe` of PyTorch: watches one thread of one process."""

    def __init__(self, listener: Listener, phase: Phase = "train") -> None:
        self.version = str(torch.__version__)
        self._listener = listener
        self._clocks = Clocks(listener.new_clock)
        self.sites = Sites(listener, self._clocks, phase)
        self._eye = Eye(self)
        self._own_cost = 0
        self._running = False
        self._open = False  # a look is under way
        self._hidden = False
        self._handles: list[Any] = []
        self._forwards: Any = None

    @property
    def cost(self) -> int:
        """Nanoseconds of own work so far, as seen from inside."""
        return self._own_cost + self._eye.cost

    # ---- start and stop ---------------------------------------------------------------------------------------

    def start(self, model: Any | None) -> None:
        """Begin to watch ``model`` (an nn.Module), or with None whatever trains in this process."""
        if model is not None and not isinstance(model, nn.Module):
            raise WatchError(
                f"watch() was given a {type(model).__name__}; it watches a torch.nn.Module. "
                "Give the model itself; a whole script is watched by `relume run`.",
                slug="not-a-module",
            )
        self._take_place()
        self._running = True
        taps.listen(self)
        if model is None:
            return
        if self.sites.trees.model is not model:
            self.sites.trees = places.Trees(model)
        self._clocks.model = model
        for optimizer in living_optimizers():
            self._clocks.of(optimizer)
        if not any(self._clocks):
            self._forwards = register_module_forward_hook(self._forward_ended)
            self._handles.append(self._forwards)
        if not any(self._clocks) or any(c.looking for c in self._clocks):
            self._look()

    def stop(self) -> None:
        """Leave nothing behind: no tap, no hook, no mode."""
        self._running = self._open = False
        taps.unlisten(self)
        while self._handles:
            self._handles.pop().remove()
        if threading.get_ident() == self._thread:
            self._eye.shut()
        else:
            self._eye.blind()  # another thread's stack is out of reach; the mode only passes calls on

    def forked(self) -> None:
        """In a forked child: a mode that was on the stack is there too, and must go."""
        self._running = self._open = False
        self._eye.shut()

    def _take_place(self) -> None:
        self._thread = threading.get_ident()

    def _concerns(self) -> bool:
        """Whether news is of the thread that is watched (a forked child is told by :meth:`forked`)."""
        return self._running and threading.get_ident() == self._thread

    def fail(self, error: BaseException) -> None:
        """Switch off: the user's code is running, and goes on."""
        self._listener.fault(error)

    def _guarded(self, work: Callable[..., None], *what: Any) -> None:
        began = perf_counter_ns()
        try:
            work(*what)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self.fail(error)
        finally:
            self._own_cost += perf_counter_ns() - began

    # ---- steps ------------------------------------------------------------------------------------------------

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """An optimiser was constructed: training is near, and its first step is looked at."""
        if self._running:
            self._guarded(self._begin_with, optimizer)

    def _begin_with(self, optimizer: Optimizer) -> None:
        if not any(self._clocks):
            self._take_place()  # the thread that trains need not be the one that began to watch
        clock = self._clocks.of(optimizer)
        if clock is not None:
            if clock.looking and self._concerns():
                self._look()

    def optimizer_steps(self, closure: bool) -> None:
        """A step begins: its forwards are over, and the optimiser's own arithmetic is not looked at."""
        if self._open and not closure and self._concerns():
            self._eye.leave()

    def optimizer_stepped(self, optimizer: Optimizer) -> None:
        """The end of a step."""
        if self._concerns():
            self._guarded(self._end_step, self._clocks.of, optimizer)

    def backward_begins(self, loss: Any) -> None:
        """Keep the loss of a looked-at step."""
        if self._open and self._concerns():
            first = loss[0] if isinstance(loss, (list, tuple)) and loss else loss
            if isinstance(first, Tensor) and first.numel() == 1:
                for clock in self._clocks:
                    clock.loss = first.detach()

    def backward_ended(self) -> None:
        """The end of a step, where there is no optimiser."""
        if self._clocks.best > KINDS.index("optimizer") and self._concerns():
            self._guarded(self._end_step, self._clocks.passes, "backward")

    def _forward_ended(self, module: nn.Module, args: Any, output: Any) -> None:
        """The end of a step, where there is neither optimiser nor backward."""
        if module is self.sites.trees.model and self._concerns():
            self._guarded(self._end_step, self._clocks.passes, "forward")

    def _end_step(self, find_clock: Callable[[Any], Clock | None], source: Any) -> None:
        clock = find_clock(source)
        if clock is None:
            self._look() if self._open else None  # another model's optimiser: the eye left for its step only
            return
        if clock.step == 0:
            self._first_step(clock)
        rates, loss = (rates_of(source), _number(clock.loss)) if clock.looking else ((), None)
        clock.loss = None
        clock.looking = self._listener.step_ended(clock.number, rates, loss)
        clock.step += 1
        if clock.looking or any(c.looking for c in self._clocks):
            self._look()
        elif self._open:
            self._open = False
            self._eye.shut()

    def _first_step(self, clock: Clock) -> None:
        self.sites.rehome(clock)
        if self._forwards is not None and clock.kind != "forward":
            self._forwards.remove()  # there is something better to count by, and a global hook costs every module

    def _look(self) -> None:
        if self._running:
            self._open = True
            self._eye.open()

    # ---- out of the way ---------------------------------------------------------------------------------------

    def hide(self) -> bool:
        """Take the eye off the stack while PyTorch must not see it; False where it was not on it."""
        if not self._open or not self._concerns() or not self._eye.is_open():
            return False
        self._eye.leave()
        self._hidden = True
        return True

    def show(self) -> None:
        """Put it back after a :meth:`hide`."""
        if self._hidden and self._concerns():
            self._eye.enter()
        self._hidden = False

    def compiled_code_begins(self) -> None:
        """Compiled code is not looked into."""
        if self.hide():
            self._guarded(
                self.sites.unjudged, "torch.compile", sys._getframe(1), "compiled code is not watched; run it without torch.compile"
            )  # fmt: skip

    def weary(self) -> None:
        """End the look before the step's next forward. A mode cannot leave the stack from inside itself."""

        def leave(module: nn.Module, args: Any) -> None:
            if places.is_outermost_call(sys._getframe(1)):
                handle.remove()
                if self._concerns():
                    self._eye.shut()

        if not self._eye.leaving:
            self._eye.leaving = True
            handle = register_module_forward_pre_hook(leave)
            self._handles.append(handle)

    # ---- counts -----------------------------------------------------------------------------------------------

    def _visited(self, clock: int) -> Iterator[WatchedSite]:
        return (s for s in self.sites if s.clock.number == clock and s.accumulator.looks)

    def pending(self, clock: int) -> dict[int, int]:
        """The examples counted since the last drain, for each site of the clock that was visited."""
        return {site.number: site.accumulator.examples for site in self._visited(clock)}

    def drain(self, clock: int) -> list[Tally]:
        """Hand over what was counted at the clock's sites, and begin anew."""
        return [site.drain() for site in self._visited(clock)]


def _number(loss: Tensor | None) -> float | None:
    """The loss, where reading it does not wait for a device."""
    return float(loss) if loss is not None and loss.device.type == "cpu" else None

"""Watching PyTorch: when the eye is open, and what the taps' news means.

The data's way: taps say that a step is over; the listener says whether to look at the next; while it is looked at,
the eye hands each call to the sites, whose counts stay on the device until the listener drains them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim import Optimizer

from relume.framework import Listener, Phase, Tally
from relume.torch.watching import places, taps
from relume.torch.watching.clocks import KINDS, Clock, Clocks, living_optimizers, rates_of
from relume.torch.watching.looking import Looking, compiles
from relume.torch.watching.sites import Sites, WatchedSite

if TYPE_CHECKING:
    from relume.torch.watching.compiled import Met

_NOTHING_TO_READ = 64  # steps to the next reading of signs where no site has any
_SEEN_NS = 6_000  # what an operation of ours in a compiled graph costs, also in a step that is passed over


class TorchProbe:
    """The :class:`~relume.framework.Probe` of PyTorch: watches one thread of one process."""

    def __init__(self, listener: Listener, phase: Phase = "train", *, thorough: bool = True) -> None:
        self.version = str(torch.__version__)
        self._listener = listener
        self._clocks = Clocks(listener.new_clock)
        self.sites = Sites(listener, self._clocks, phase)
        self._looking = Looking(self, thorough)
        self._own_cost = 0
        self._running = False
        self._compiled_at: places.Place | None = None
        self._forwards: Any = None
        self._counted = False  # the ends of steps are, and only the last one told

    @property
    def cost(self) -> int:
        """Nanoseconds of own work so far, as seen from inside."""
        return self._own_cost + self._looking.cost

    # ---- start and stop ---------------------------------------------------------------------------------------

    def start(self, model: Any | None) -> None:
        """Begin to watch ``model`` (an nn.Module), or with None whatever trains in this process."""
        self._looking.take_thread()
        self._running = True
        taps.listen(self)
        taps.attend(self, True)
        if model is None:
            return
        if self.sites.trees.model is not model:
            self.sites.trees = places.Trees(model)
        self._clocks.model = model
        for optimizer in living_optimizers():
            self._clocks.of(optimizer)
        if self._clocks.best > KINDS.index("optimizer") and not compiles():
            self._forwards = register_module_forward_hook(self._forward_ended)
        self._look_on()

    def stop(self) -> None:
        """Leave nothing behind: no tap, no hook, no mode."""
        self._running = False
        taps.unlisten(self)
        for clock in self._clocks:
            self._listener.steps_passed(clock.number, clock.untold())
        self._forget_forwards()
        self._looking.end()

    def forked(self) -> None:
        """In a forked child: a mode that was on the stack is there too, and must go."""
        self._running = False
        self._looking.end()

    def _concerns(self) -> bool:
        """Whether news is of the thread that is watched (a forked child is told by :meth:`forked`)."""
        return self._running and self._looking.is_here()

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
            self._looking.take_thread()  # the thread that trains need not be the one that began to watch
        clock = self._clocks.of(optimizer)
        if clock is None or not self._concerns():
            return
        self._looking.widen()
        if clock.looking and not self._looking.on:
            self._looking.begin()
            taps.attend(self, True)

    def optimizer_steps(self, closure: bool) -> None:
        """A step begins: its forwards are over, and the optimiser's own arithmetic is not looked at."""
        if self._looking.on and not closure and self._concerns():
            self._looking.rest()
            if not self.sites.known_only:
                self._guarded(self.sites.keep_gradients)

    def optimizer_stepped(self, optimizer: Optimizer) -> None:
        """The end of a step; of those that are counted, the last."""
        clock = self._clocks.by_optimizer.get(id(optimizer))
        if clock is not None and clock.look_at > clock.step + 1 and not self._looking.on:
            clock.go_on()
            if clock.read_at <= clock.step:
                self._guarded(self._read_between, clock, optimizer)
        elif self._concerns():
            self._guarded(self._end_step, self._clocks.of, optimizer)

    def backward_begins(self, loss: Any) -> None:
        """Keep the loss of a looked-at step."""
        if self._looking.on and self._concerns():
            self._guarded(self._keep_loss, loss)

    def _keep_loss(self, loss: Any) -> None:
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
            if self._looking.on:  # another model's optimiser: the eye left for its step only
                self._looking.resume()
            return
        if clock.step == 0:
            self.sites.rehome(clock)
            if clock.kind != "forward":
                self._forget_forwards()
        looked, loss, clock.loss = clock.looking, clock.loss, None
        clock.go_on()
        if clock.look_on():
            self._looking.go_on()
            return
        if clock.read_at <= clock.step:
            self._read_signs(clock, source)
        if clock.look_at <= clock.step:
            rates, loss = (rates_of(source), _number(loss)) if looked else ((), None)
            clock.plan(self._listener.steps_ended(clock.number, clock.untold(), rates, loss))
        clock.count_down()
        if clock.looking or self._looking.on or not self._counted:
            self._look_on()

    def _read_between(self, clock: Clock, optimizer: Optimizer) -> None:
        """A step is over that was passed over, and its gradients are read; where units are missed a look is urgent."""
        if self._concerns():
            self._read_signs(clock, optimizer)
            if clock.looking:
                clock.plan(self._listener.steps_ended(clock.number, clock.untold(), (), None))
                self._look_on()
            clock.count_down()

    def _read_signs(self, clock: Clock, optimizer: Optimizer) -> None:
        """Read the gradients of the step that is over; where units are missed since now, no more are passed over."""
        began, reading = perf_counter_ns(), self._clocks.optimizers[id(optimizer)][2]
        full = reading.read(optimizer, self.sites, clock.step - 1)
        fresh, missed = reading.look_through() if full else (0, 0)
        clock.readings += 1
        clock.readings_cost += perf_counter_ns() - began
        if full:
            clock.reading_cost, clock.readings, clock.readings_cost = clock.readings_cost // clock.readings, 0, 0
            clock.apart = self._listener.signs_read(clock.number, fresh, missed, clock.reading_cost)
        if fresh:
            clock.look_at = clock.step
        apart = clock.apart if reading else _NOTHING_TO_READ
        clock.read_at = clock.step + (1 if reading.lacks else apart)

    def _look_on(self) -> None:
        """Look at the step that begins, or end the look, by what the clocks want."""
        if self._running and (any(c.looking for c in self._clocks) or not any(self._clocks)):
            self._looking.begin()
        elif self._looking.on:
            self._looking.end()
        taps.attend(self, self._looking.on or self._clocks.best > KINDS.index("optimizer"))
        self._counted = not self._looking.on
        taps.count(self, self._clocks.by_optimizer if self._counted else {})

    def _forget_forwards(self) -> None:
        """Count forwards no more: a global hook costs every module's call, and compiled ones warn of it."""
        if self._forwards is not None:
            self._forwards.remove()
            self._forwards = None

    # ---- out of the way ---------------------------------------------------------------------------------------

    def hide(self) -> bool:
        """Take the eye off the stack while PyTorch must not see it; False where it was not there."""
        return self._looking.hide()

    def show(self) -> None:
        """Put it back after a :meth:`hide`."""
        at, self._compiled_at = self._compiled_at, None
        if at is not None and not self.sites.graphs:
            why = "it was compiled before the watching began; begin to watch before its first call"
            self._guarded(self.sites.say, "torch.compile", at, why)
        self._looking.show()

    def compiling(self) -> None:
        """The script has called ``torch.compile``."""
        if self._concerns():
            self._forget_forwards()
            self._looking.compiling()

    def compiled_code_begins(self) -> None:
        """Compiled code counts by operations in its graphs, and is traced without the eye."""
        if self._looking.on and self._concerns():
            self._looking.hide()
            self._compiled_at = places.find(sys._getframe(1))._replace(module=None)

    def graph_traced(self, graph: Any, inputs: Any) -> None:
        """A graph is about to be compiled: put the counting in."""
        if not self._running:
            return
        try:
            from relume.torch.watching.compiled import count_in
        except ImportError:  # an older PyTorch without effects in its graphs
            return
        self._guarded(count_in, graph, inputs, self)
        self.sites.graphs += 1

    def met_in_graph(self, met: Met) -> int:
        """The slot of an activation in a graph; −1 where it is not judged."""
        return self.sites.meet_in_graph(met)

    def unjudged_in_graph(self, name: str, modules: tuple[nn.Module, ...], file: str, line: int, why: str) -> None:
        """An activation in a graph that is not judged."""
        self.sites.unjudged_in_graph(name, modules, file, line, why)

    def seen_in_graph(self, slot: int, x: Tensor | None, y: Tensor | None) -> None:
        """Compiled code has come to an activation, has applied it, or both."""
        self._own_cost += _SEEN_NS
        if self._looking.on and self._concerns():
            self._guarded(self.sites.count_in_graph, slot, x, y)

    def is_here(self) -> bool:
        """Whether the calling thread is the one that is looked at."""
        return self._looking.is_here()

    def weary(self) -> None:
        """The look has cost much, and goes on in a further forward of the same step."""
        self._looking.weary()

    # ---- counts -----------------------------------------------------------------------------------------------

    def _visited(self, clock: int) -> Iterator[WatchedSite]:
        return (s for s in self.sites if s.clock.number == clock and s.accumulator.looks)

    def pending(self, clock: int) -> dict[int, int]:
        """The examples counted since the last drain, for each site of the clock that was visited."""
        return {site.number: site.accumulator.examples for site in self._visited(clock)}

    def missed(self, clock: int) -> int:
        """Units that were missed not long ago and have not fired in the latest looks."""
        known = ((c, reading) for _, c, reading in self._clocks.optimizers.values() if c.number == clock)
        return sum(reading.look(self.sites, c.row_at) for c, reading in known)

    def drain(self, clock: int) -> list[Tally]:
        """Hand over what was counted at the clock's sites, and begin anew."""
        return [site.drain() for site in self._visited(clock)]


def _number(loss: Tensor | None) -> float | None:
    """The loss, where reading it does not wait for a device."""
    return float(loss) if loss is not None and loss.device.type == "cpu" else None

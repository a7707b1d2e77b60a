"""Watching PyTorch: when calls are observed, and what the taps' news means.

The data's way: taps say that a step is over; the listener says whether to look at the next; while it is looked at,
the call observer hands each call to the sites, whose counts stay on the device until the listener drains them.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim import Optimizer

from relume.framework import Listener, Look, Phase, Plan, Seen
from relume.tapped import takers
from relume.torch.watching.calls.tapped import Tapped
from relume.torch.watching.schedule import taps
from relume.torch.watching.schedule.clocks import KINDS, Clocks, OptimizerClock, living_optimizers
from relume.torch.watching.schedule.looking import Looking, State, compiles
from relume.torch.watching.where import places
from relume.torch.watching.where.sites import Sites
from relume.watching.guard import Guard

_FOLLOWED = 8  # steps for which a clock follows the one that began a look: a GAN's generator steps as seldom as that
_SEEN_NS = 6_000  # what an operation of ours in a compiled graph costs, also in a step that is passed over


class TorchProbe:
    """The :class:`~relume.framework.Probe` of PyTorch: watches one thread of one process."""

    def __init__(self, listener: Listener, phase: Phase = "train", *, thorough: bool = True) -> None:
        self.version = str(torch.__version__)
        self.listener = listener
        self.guarded = Guard(listener.fault)
        self._clocks = Clocks(listener.new_clock)
        self.countdowns = self._clocks.by_optimizer
        self.sites = Sites(listener, self._clocks, phase, whole=thorough)
        self._tapped = Tapped(self.sites)
        self._looking = Looking(self, thorough)
        self._thorough = thorough
        self._owner: OptimizerClock | None = None  # whose row the look under way is
        self._owner_step = 0  # its step when another clock asked last
        self._attention = (False, False)  # what the taps report besides the ends of steps
        self._running = False
        self._compiled_at: places.Place | None = None
        self._forwards: Any = None

    @property
    def cost(self) -> int:
        """Nanoseconds of own work so far, as seen from inside."""
        return self.guarded.cost

    # ---- start and stop ---------------------------------------------------------------------------------------

    def start(self, model: Any | None) -> None:
        """Begin to watch ``model`` (an nn.Module), or with None whatever trains in this process."""
        self._looking.take_thread()
        self._running = True
        taps.subscribe(self)
        if self.tapped not in takers:
            takers.append(self.tapped)
        self._attend()
        if model is None:
            return
        if self.sites.trees.model is not model:
            self.sites.trees = places.Trees(model)
        self._clocks.model = model
        for optimizer in living_optimizers():
            self._clocks.of(optimizer)
        if self._clocks.best > KINDS.index("optimizer") and not compiles():
            self._forwards = register_module_forward_hook(self._forward_ended)
        self._look(Look.WIDE)

    def stop(self) -> None:
        """Remove every tap, hook and mode."""
        self._running, self._attention = False, (False, False)
        taps.unsubscribe(self)
        if self.tapped in takers:
            takers.remove(self.tapped)
        for clock in self._clocks:
            self._tell(clock)
            clock.begin(Plan(Look.WIDE, 1))
        self._forget_forwards()
        self._looking.end()

    def forked(self) -> None:
        """In a forked child: a mode that was on the stack is there too, and must go."""
        self._running = False
        self._looking.end()

    def _concerns(self) -> bool:
        """Whether an event is of the watched thread (a forked child gets :meth:`forked`)."""
        return self._running and self._looking.is_here()

    def fail(self, error: BaseException) -> None:
        """Switch off: the user's code is running, and continues."""
        self.listener.fault(error)

    # ---- steps ------------------------------------------------------------------------------------------------

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """An optimizer was constructed: training is near, and its first step is looked at."""
        if self._running:
            self.guarded(self._begin_with, optimizer)

    def _begin_with(self, optimizer: Optimizer) -> None:
        if not any(self._clocks):
            self._looking.take_thread()  # the thread that trains need not be the one that began to watch
        clock = self._clocks.of(optimizer)
        if clock is None or not self._concerns():
            return
        self._tell(clock)
        clock.begin(Plan(Look.WIDE, 1))
        if not self._thorough or clock.step == 0:
            self._owner = None
            self._look_alike(Look.WIDE)

    def optimizer_steps(self, closure: bool) -> None:
        """A step begins: its forwards are over, and the optimizer's own arithmetic is not looked at."""
        if self._looking.stays and not closure and self._concerns():
            self.guarded(self._rest)

    def _rest(self) -> None:
        self._looking.rest()
        if not self.sites.known_only:
            self.sites.keep_gradients()

    def optimizer_stepped(self, optimizer: Optimizer, loss: float | None) -> None:
        """The end of a step after which there is something to do."""
        if self._concerns():
            self.guarded(self._end_step, self._clocks.of(optimizer), optimizer, loss)

    def backward_ended(self, loss: float | None) -> None:
        """The end of a step, if there is no optimizer."""
        if self._clocks.best > KINDS.index("optimizer") and self._concerns():
            self.guarded(self._end_pass, "backward", loss)

    def _forward_ended(self, module: nn.Module, args: Any, output: Any) -> None:
        """The end of a step, if there is neither optimizer nor backward."""
        if module is self.sites.trees.model and self._concerns():
            self.guarded(self._end_pass, "forward", None)

    def _end_pass(self, kind: str, loss: float | None) -> None:
        clock = self._clocks.passes(kind)
        if clock is not None:
            self._end_step(clock, None, loss)

    def _end_step(self, clock: OptimizerClock | None, source: Optimizer | None, loss: float | None) -> None:
        if clock is None:  # another model's optimizer: the mode left for its step only
            self._looking.resume()
            return
        if clock.step == 0:
            self.sites.rehome(clock)
            if clock.kind != "forward":
                self._forget_forwards()
        clock.count(source, loss)
        if clock.left:
            self._looking.resume()
        elif clock.goes_on():
            self._look_like(clock)
        else:
            self._tell(clock)
            if self._thorough or self._may_plan(clock):
                self._plan(clock)
            else:
                clock.begin(Plan(clock.look, _FOLLOWED))
                self._looking.resume()

    def _may_plan(self, clock: OptimizerClock) -> bool:
        """Whether it is this clock's turn: a look continues to the end of the row of the clock that began it.

        Unless that one steps no more: an optimizer may be retired.
        """
        owner = self._owner
        if self._looking.state is State.OFF or owner is None or owner is clock or owner.step == self._owner_step:
            return True
        self._owner_step = owner.step
        return False

    def _plan(self, clock: OptimizerClock) -> None:
        """Go on as the listener says."""
        urgent, self.sites.unknown_met = self.sites.unknown_met, False
        plan = self.listener.plan(clock.number, urgent=urgent)
        if self._running:
            clock.begin(plan)
            self._look_like(clock)

    def _look_like(self, clock: OptimizerClock) -> None:
        """How much is seen changes with this clock: the same for all clocks, except with ``--every K``."""
        if self._thorough:
            looks = {other.look for other in self._clocks}
            self._look(Look.WIDE if Look.WIDE in looks else Look.OFF)
            return
        self._owner, self._owner_step = clock, clock.step
        self._look_alike(clock.look)

    def _look_alike(self, look: Look) -> None:
        for clock in self._clocks:
            if clock.look is not look:
                self._tell(clock)
                clock.begin(Plan(look, _FOLLOWED))
        self._look(look)

    def _look(self, look: Look) -> None:
        if self._running:
            self._looking.begin(look)
            self._attend()

    def _attend(self) -> None:
        """Subscribe to the starts of optimizer steps and the ends of backward passes, while they are needed."""
        attention = (self._looking.has_mode, self._clocks.best > KINDS.index("optimizer"))
        if attention != self._attention:
            self._attention = attention
            taps.attend(self, begins=attention[0], backwards=attention[1])

    def _tell(self, clock: OptimizerClock) -> None:
        steps = clock.take_steps()
        if steps is not None:
            self.listener.steps_ended(clock.number, steps)

    def _forget_forwards(self) -> None:
        """Count forwards no more: a global hook costs every module's call, and compiled ones warn of it."""
        if self._forwards is not None:
            self._forwards.remove()
            self._forwards = None

    # ---- out of the way ---------------------------------------------------------------------------------------

    def hide(self) -> bool:
        """Take the mode off the stack while PyTorch must not see it; False where it was not there."""
        return self._looking.hide()

    def show(self) -> None:
        """Put it back after a :meth:`hide`."""
        at, self._compiled_at = self._compiled_at, None
        if at is not None and not self.sites.graphs:
            why = "it was compiled before the watching began; start watching before its first call"
            self.guarded(self.sites.say, "torch.compile", at, why)
        self._looking.show()

    def compiling(self) -> None:
        """The script has called ``torch.compile``."""
        if self._concerns():
            self._forget_forwards()
            self._looking.compiling()

    def compiled_code_begins(self) -> None:
        """Compiled code counts by operations in its graphs, and is traced without the mode."""
        if self._looking.state is not State.OFF and self._concerns():
            self._looking.hide()
            self._compiled_at = places.find(sys._getframe(1))._replace(module=None)

    def graph_traced(self, graph: Any, inputs: Any) -> None:
        """A graph is about to be compiled: put the counting in."""
        if not self._running:
            return
        try:
            from relume.torch.watching.calls.compiled import count_in
        except ImportError:  # an older PyTorch without effects in its graphs
            return
        self.guarded(count_in, graph, inputs, self)
        self.sites.graphs += 1

    def seen_in_graph(self, slot: int, x: Tensor | None, y: Tensor | None) -> None:
        """Compiled code has come to an activation, has applied it, or both."""
        self.guarded.cost += _SEEN_NS
        if self._looking.state is not State.OFF and self._concerns():
            self.guarded(self.sites.count_in_graph, slot, x, y)

    @property
    def look_cap(self) -> float:
        """Nanoseconds that a look may cost."""
        return self._looking.cap

    def visited_again(self) -> None:
        """A further forward begins of a look that has cost more."""
        self._looking.visited_again()

    def tapped(self, name: str, values: Any, indices: Any, units: Any) -> None:
        """The script has called ``relume.tap``."""
        if self._looking.state is not State.OFF and self._concerns():
            self.guarded(self._tapped.take, name, values, indices, units, sys._getframe(2))

    # ---- counts -----------------------------------------------------------------------------------------------

    def kept(self) -> int:
        """How many numbers are kept until :meth:`drain`."""
        return sum(site.accumulator.kept for site in self.sites)

    def drain(self) -> list[Seen]:
        """Hand over what was counted since the last time; waits for a device."""
        return [site.drain() for site in self.sites if site.accumulator.has_rows]

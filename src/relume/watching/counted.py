"""What all frameworks with compiled steps share: clocks, sites, rows of counts, plans.

A framework's probe counts inside or next to its compiled steps, and gives :class:`CountingProbe` the counts and how
many steps are over.
"""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import numpy as np

from relume.artifacts.recording import Site
from relume.framework import Listener, Look, Phase, Plan, Rows, Seen, Steps
from relume.watching.bounds import Bounds
from relume.watching.guard import Guard


@dataclass(frozen=True)
class Where:
    """Where an activation is applied, and along which axis its units lie.

    Attributes:
        model, module, call, file, line, layer, producer: as in :class:`~relume.artifacts.recording.Site`.
        owners: from the inside out, the layers that hold the parameters before it, to find its optimizer.
        place: distinguishes two calls of one layer. ``slope``: gives the learned slopes of a PReLU.
    """

    model: str
    module: str
    call: str
    file: str
    line: int
    layer: str = ""
    producer: str = ""
    axis: int = -1
    axis_assumed: bool = False
    owners: tuple[Any, ...] = ()
    place: Any = None
    slope: Callable[[], Any] | None = None


@dataclass
class StepClock:
    """A source of steps: an optimizer, or the backward passes. ``number``: the listener's, −1 before it has one."""

    name: str
    kind: str
    number: int = -1
    steps: int = 0
    pending: int = 0  # steps that are over, of which the listener does not know
    rates: tuple[float, ...] = ()
    source: Any = None


@dataclass
class CountedSite:
    """A site and the rows counted at it: (step, examples, samples, fired, flat, magnitude)."""

    where: Where
    activation: str
    parameters: Mapping[str, Any]
    units: int
    bounds: Bounds
    number: int = -1
    clock: StepClock | None = None
    rows: list[tuple[int, float, float, Any, Any, Any]] = field(default_factory=list)
    rank: int = 2  # of its tensor
    state: Any = None  # the framework's own

    def drain(self) -> Seen:
        """Return the rows and start again."""
        rows, self.rows = self.rows, []
        steps, examples, samples, fired, flat, magnitude = (np.array(column) for column in zip(*rows, strict=True))
        has_flat = self.bounds.flat_below is not None or self.bounds.flat_above is not None
        steps, examples, samples = (numbers.astype(np.int64) for numbers in (steps, examples, samples))
        return self.seen(Rows(steps, examples, samples, fired, flat if has_flat else None, magnitude))

    def seen(self, rows: Rows) -> Seen:
        """These rows, for the listener."""
        assert self.clock is not None
        slope = None if self.where.slope is None else np.asarray(self.where.slope(), np.float64).ravel()
        if slope is not None:
            slope = np.broadcast_to(slope, (self.units,)) if len(slope) in (1, self.units) else None
        return Seen(self.number, self.clock.number, rows, slope)


_probes: weakref.WeakSet[CountingProbe] = weakref.WeakSet()


def _forked() -> None:
    for probe in _probes:
        probe.running = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)  # a child must not count into its parent's recording


class CountingProbe:
    """The part of a :class:`~relume.framework.Probe` that knows no framework.

    Attributes:
        looking: whether the steps under way are counted. ``guarded``: does own work inside the user's.
        clocks, sites: in the order in which they were met.
        applying: activations and optimizers whose own calls are under way.
    """

    version = ""

    def __init__(self, listener: Listener, phase: Phase = "train", *, thorough: bool = True) -> None:
        _probes.add(self)
        self.listener = listener
        self.phase = phase
        self.guarded = Guard(listener.fault, perf_counter_ns)
        self.running = False
        self.looking = True
        self.applying = 0
        self.look = Look.WIDE
        self.left = 1  # steps until the listener is asked again
        self.clocks: list[StepClock] = []
        self.sites: dict[Any, CountedSite] = {}
        self._keys: dict[str, int] = {}
        self._ahead: list[tuple[Look, int]] = []  # the plan: each entry for a number of steps
        self._timed = False
        self._said: set[tuple[str, str]] = set()

    @property
    def cost(self) -> int:
        """Nanoseconds of own work so far."""
        return self.guarded.cost

    def kept(self) -> int:
        """How many numbers are kept until :meth:`drain`."""
        return sum(len(site.rows) * site.units for site in self.sites.values())

    def drain(self) -> list[Seen]:
        """Return the counts since the last call."""
        return [site.drain() for site in self.sites.values() if site.rows]

    def say(self, what: str, where: str, why: str) -> None:
        """Report once what is not observed at a place."""
        if (what, where) not in self._said:
            self._said.add((what, where))
            self.listener.not_observed(what, where, why)

    # ---- what Keras's probe calls -----------------------------------------------------------------------------

    def optimizer_made(self) -> None:
        """There is an optimizer."""

    def call_begins(self) -> None:
        """A model is called."""

    def call_ends(self) -> None:
        """It has been called."""

    def aside(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call something in which no activation is a site."""
        self.applying += 1
        try:
            return real(*args, **kwargs)
        finally:
            self.applying -= 1

    # ---- calls of the listener ----------------------------------------------------------------------------

    def optimizer_clock(self, optimizer: Any) -> StepClock:
        """The clock of an optimizer, a new one if it was not met before."""
        clock = next((clock for clock in self.clocks if clock.source is optimizer), None)
        if clock is None:
            clock = StepClock(type(optimizer).__name__, "optimizer", source=optimizer)
            self.clocks.append(clock)
        return clock

    def announce(self, site: CountedSite, clock: StepClock) -> None:
        """Report a site to the listener once the clock of its steps is known."""
        site.clock = clock
        where = site.where
        model = "" if f"{where.module}/".startswith(f"{where.model}/") else where.model
        key = f"{'.'.join(part for part in (model, where.module) if part)}@{where.file}:{where.line}"
        order = self._keys[key] = self._keys.get(key, 0) + 1
        numbers = {name: number for name, number in site.parameters.items() if isinstance(number, (int, float))}
        described = Site(
            key=key if order == 1 else f"{key}#{order}",
            model=where.model,
            module=where.module,
            call=where.call,
            file=where.file,
            line=where.line,
            activation=site.activation,
            parameters=numbers,
            layer=where.layer,
            unit_axis=where.axis % site.rank,
            units=site.units,
            axis_assumed=where.axis_assumed,
            clock=clock.number,
            compiled=True,
            producer=where.producer,
        )
        site.number = self.listener.new_site(described)

    def steps_over(
        self, clock: StepClock, number: int, losses: Sequence[float | None] = (), rates: tuple[float, ...] = ()
    ) -> None:
        """Steps of a clock are over that were seen as planned."""
        if clock.number < 0:
            clock.number = self.listener.new_clock(clock.name, clock.kind)
        if not self._timed:
            self.listener.timed_by(perf_counter_ns)  # compiled steps run in threads of the framework's own
            self._timed = True
        changes = [(clock.steps, rates)] if rates and rates != clock.rates else []
        clock.rates = rates or clock.rates
        clock.steps += number
        self.listener.steps_ended(clock.number, Steps(Plan(self.look, number), number, losses, changes))

    def ask(self, clock: StepClock) -> None:
        """Continue the plan, or ask the listener for the next one."""
        if not self._ahead:
            plan = self.listener.plan(clock.number, urgent=False)
            cycle = [(Look.OFF, plan.off)] * bool(plan.off) + [(plan.look, plan.steps)]
            self._ahead = cycle * plan.cycles
        self.look, self.left = self._ahead.pop(0)
        self.looking = self.running and self.look is not Look.OFF

    def clock_of(self, site: CountedSite) -> StepClock:
        """The optimizer that holds the parameters nearest to a site."""
        optimizers = [clock for clock in self.clocks if clock.source is not None]
        held = [{id(v) for v in getattr(clock.source, "_trainable_variables", ())} for clock in optimizers]
        for owner in site.where.owners:
            own = {id(variable) for variable in owner.trainable_variables}
            for clock, variables in zip(optimizers, held, strict=True):
                if own & variables:
                    return clock
        return optimizers[0]


class CallCountingProbe(CountingProbe, ABC):
    """One that counts an activation when it is called; the others find it in the compiled step."""

    def applied(
        self,
        name: str,
        parameters: Mapping[str, Any],
        where: Callable[[], Where | None],
        real: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Apply an activation, whose own calls are no sites, and count it."""
        y = self.aside(real, *args, **kwargs)
        x = args[0] if args else next(iter(kwargs.values()))
        self.guarded(self._count, name, parameters, where, x, y)
        return y

    @abstractmethod
    def _count(
        self, name: str, parameters: Mapping[str, Any], where: Callable[[], Where | None], x: Any, y: Any
    ) -> None:
        """Count an activation that was applied to x and gave y."""

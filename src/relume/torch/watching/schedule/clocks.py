"""Whose steps a site counts by: those of the optimizer that holds its parameters, else of backwards or forwards."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from relume.framework import Look, Plan, Steps

KINDS = ("optimizer", "backward", "forward")
"""The kinds of clocks, the best first; a kind is used only if there is no better one."""


class OptimizerClock:
    """A source of steps. Optimizers that hold the same parameters share one, so that steps go on across them.

    Attributes:
        look: what is seen of the step under way.
        left: steps up to the one at whose end there is something to do.
    """

    def __init__(self, number: int, kind: str) -> None:
        self.number = number
        self.kind = kind
        self.rank = KINDS.index(kind)
        self._told = self._until = 0  # the steps up to which the listener knows, and at which ``left`` is 0
        self.left = 0
        self._losses: list[float | None] = []
        self._changes: list[tuple[int, tuple[float, ...]]] = []  # of the learning rates
        self._rates: list[Any] | None = []  # as they were last; None: some are tensors, whose numbers may change
        self._numbers: tuple[float, ...] = ()  # the same as numbers
        self._parameters: dict[int, weakref.ref[Tensor]] = {}
        self._optimizers: list[weakref.ref[Optimizer]] = []
        self.begin(Plan(Look.WIDE, 1))

    @property
    def step(self) -> int:
        """The step under way; the first is 0."""
        return self._until - self.left

    def begin(self, plan: Plan) -> None:
        """Go on by a plan of the listener's."""
        self._plan, self._cycles = plan, plan.cycles
        self._go_on(*((Look.OFF, plan.off) if plan.off else plan[:2]))

    def _go_on(self, look: Look, steps: int) -> None:
        self._until += steps - self.left
        self.look, self.left = look, steps

    def goes_on(self) -> bool:
        """Whether the plan does, of which a part has ended: its looks begin, or it passes over steps once more."""
        look, steps, off, _ = self._plan
        if self.look is Look.OFF and off:
            self._go_on(look, steps)
        elif self._cycles > 1:
            self._cycles -= 1
            self._go_on(Look.OFF, off)
        else:
            return False
        return True

    def cut(self) -> None:
        """End the plan with the step under way."""
        self._until += 1 - self.left
        self.left = self._cycles = 1

    def count(self, source: Any, loss: float | None) -> None:
        """Count a step of an optimizer, or of None; ``loss``: None if it is not known."""
        self._losses.append(loss)
        if source is not None:
            rates = [group.get("lr") for group in source.param_groups]
            if rates != self._rates:
                self._read(rates)
        self.left -= 1

    def _read(self, rates: list[Any]) -> None:
        self._rates = None if any(isinstance(rate, Tensor) for rate in rates) else rates
        known = [_without_waiting(rate) for rate in rates]
        numbers = tuple(math.nan if rate is None else rate for rate in known)
        if numbers != self._numbers:
            self._numbers = numbers
            self._changes.append((self.step, numbers))

    def take_steps(self) -> Steps | None:
        """The steps of which the listener does not know, if there are any."""
        steps, self._told = self.step - self._told, self.step
        losses, self._losses = self._losses, []
        changes, self._changes = self._changes, []
        return Steps(self._plan, steps, losses, changes) if steps else None

    def add(self, optimizer: Optimizer) -> None:
        """Take an optimizer and its parameters in."""
        self._optimizers.append(weakref.ref(optimizer))
        for parameter in parameters_of(optimizer):
            self._parameters[id(parameter)] = weakref.ref(parameter)

    def holds(self, parameter: Any) -> bool:
        """Whether this parameter is stepped by it."""
        held = self._parameters.get(id(parameter))
        return held is not None and held() is parameter

    def is_of(self, optimizer: Optimizer) -> bool:
        """Whether it counts this optimizer's steps; an id may have gone to another one."""
        for found in self._optimizers:
            if found() is optimizer:
                return True
        return False

    def optimizers(self) -> Iterator[Optimizer]:
        """Its optimizers that are alive."""
        return (optimizer for found in self._optimizers if (optimizer := found()) is not None)


class Clocks:
    """The clocks of one probe; ``new`` gives a clock its number."""

    def __init__(self, new: Callable[[str, str], int]) -> None:
        self._new_number = new
        self._all: list[OptimizerClock] = []
        self.by_optimizer: dict[int, OptimizerClock] = {}
        self._groups: dict[int, dict[str, Any]] = {}
        self.model: nn.Module | None = None
        self.best = len(KINDS)  # rank of the best clock so far

    def __iter__(self) -> Iterator[OptimizerClock]:
        return iter(self._all)

    def of(self, optimizer: Optimizer) -> OptimizerClock | None:
        """The clock of an optimizer, met before or new; None if it steps nothing of the watched model."""
        known = self.by_optimizer.get(id(optimizer))
        if known is not None and known.is_of(optimizer):
            return known
        parameters = parameters_of(optimizer)
        if self.model is not None:
            own = {id(p) for p in self.model.parameters()}
            if not any(id(p) in own for p in parameters):
                return None
        clock = next((c for c in self._all for p in parameters if c.holds(p)), None)
        clock = clock or self._new(type(optimizer).__name__, "optimizer")
        clock.add(optimizer)
        self.by_optimizer[id(optimizer)] = clock
        return clock

    def passes(self, kind: str) -> OptimizerClock | None:
        """The clock of the backward or the root forward passes; None if there is a better one to count by."""
        if self.best < KINDS.index(kind):
            return None
        return next((c for c in self._all if c.kind == kind), None) or self._new(f"{kind} passes", kind)

    def for_layer(self, layer: Any) -> OptimizerClock:
        """The clock by which a site after this layer counts: of those that hold it, one that has stepped."""
        holders = [c for c in self._all if c.holds(layer)]
        if holders:
            return max(holders, key=lambda clock: clock.step > 0)
        return self._all[0] if self._all else self._new("forward passes", "forward")

    def group_of(self, parameter: Any) -> dict[str, Any] | None:
        """The group of an optimizer that steps a parameter; None if none does."""
        known = self._groups.get(id(parameter))
        if known is not None and any(parameter is p for p in known["params"]):
            return known
        for optimizer in (o for clock in self._all for o in clock.optimizers()):
            for group in optimizer.param_groups:
                if any(parameter is p for p in group["params"]):
                    self._groups[id(parameter)] = group
                    return group
        return None

    def _new(self, name: str, kind: str) -> OptimizerClock:
        clock = OptimizerClock(self._new_number(name, kind), kind)
        self._all.append(clock)
        self._all.sort(key=lambda c: c.rank)
        self.best = self._all[0].rank
        return clock


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """All parameters that an optimizer steps."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def rate_of(group: dict[str, Any] | None) -> float:
    """A group's learning rate; nan if there is none, or if reading it would wait for a device."""
    rate = None if group is None else _without_waiting(group.get("lr"))
    return math.nan if rate is None else rate


def _without_waiting(rate: Any) -> float | None:
    """A learning rate as a number; None if it is not a number, or if reading it would wait for a device."""
    known = isinstance(rate, (int, float)) or (isinstance(rate, Tensor) and rate.device.type == "cpu")
    return float(rate) if known else None


def living_optimizers() -> list[Optimizer]:
    """The optimizers made before the watching began. ``type``, for ``isinstance`` would wake lazy proxies."""
    return [found for found in gc.get_objects() if issubclass(type(found), Optimizer)]

"""Whose steps a site counts by: those of the optimiser that holds its parameters, else of backwards or forwards."""

from __future__ import annotations

import gc
import math
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from relume.torch.watching.signs import Reading

KINDS = ("optimizer", "backward", "forward")
"""The kinds of clocks, the best first; one of a kind is used only while there is none of a better."""


class Clock:
    """A source of steps. Optimisers that hold the same parameters share one, so that steps go on across them.

    Attributes:
        left: steps to go until there is something to do at the end of one.
        look_at: the step that is looked at next. ``row``: so many from there on, and told of together. ``row_at``: the
            first of them.
        read_at: signs are read when so many steps are over.
    """

    def __init__(self, number: int, kind: str) -> None:
        self.number = number
        self.kind = kind
        self.rank = KINDS.index(kind)
        self.left = self._until = self.look_at = 0
        self.row, self.row_at = 1, 0
        self.read_at = 1 if kind == "optimizer" else sys.maxsize
        self.told = 0  # the step up to which the listener knows
        self.apart = 1  # steps from one reading of signs to the next
        self.reading_cost = 0  # of one reading, by the latest that were told
        self.readings = self.readings_cost = 0  # since then
        self.loss: Tensor | None = None
        self._parameters: dict[int, weakref.ref[Tensor]] = {}

    @property
    def step(self) -> int:
        """The step under way; the first is 0."""
        return self._until - self.left

    @property
    def looking(self) -> bool:
        """Whether it is looked at."""
        return self.look_at == self.step

    def go_on(self) -> None:
        """Go on to the next step."""
        self.left -= 1

    def plan(self, passed: int) -> None:
        """Take in what the listener has answered: how many steps to pass over, or −n to look at n in a row."""
        self.look_at = self.row_at = self.step + max(passed, 0)
        self.row = max(-passed, 1)

    def look_on(self) -> bool:
        """Whether the row goes on with the step that begins."""
        if self.row == 1:
            return False
        self.look_at, self.row = self.step, self.row - 1
        self.count_down()
        return True

    def count_down(self) -> None:
        """Count from here on to what comes first, a look or a reading."""
        step = self.step
        self._until = min(self.look_at, self.read_at)
        self.left = self._until - step

    def untold(self) -> int:
        """Count the steps that the listener has not been told of, and take them as told."""
        steps, self.told = self.step - self.told, self.step
        return steps

    def add(self, optimizer: Optimizer) -> None:
        """Take an optimiser's parameters in."""
        for parameter in parameters_of(optimizer):
            self._parameters[id(parameter)] = weakref.ref(parameter)

    def holds(self, parameter: Any) -> bool:
        """Whether this parameter is stepped by it."""
        held = self._parameters.get(id(parameter))
        return held is not None and held() is parameter


class Clocks:
    """The clocks of one probe; ``new`` gives a clock its number."""

    def __init__(self, new: Callable[[str, str], int]) -> None:
        self._new_number = new
        self._all: list[Clock] = []
        self.optimizers: dict[int, tuple[weakref.ref[Optimizer], Clock, Reading]] = {}
        self.by_optimizer: dict[int, Clock] = {}
        self._groups: dict[int, dict[str, Any]] = {}
        self.model: nn.Module | None = None
        self.best = len(KINDS)  # rank of the best clock so far

    def __iter__(self) -> Iterator[Clock]:
        return iter(self._all)

    def of(self, optimizer: Optimizer) -> Clock | None:
        """The clock of an optimiser, met before or new; None where it steps nothing of the watched model."""
        known = self.optimizers.get(id(optimizer))
        if known is not None and known[0]() is optimizer:
            return known[1]
        parameters = parameters_of(optimizer)
        if self.model is not None:
            own = {id(p) for p in self.model.parameters()}
            if not any(id(p) in own for p in parameters):
                return None
        clock = next((c for c in self._all for p in parameters if c.holds(p)), None)
        clock = clock or self._new(type(optimizer).__name__, "optimizer")
        clock.add(optimizer)
        self.optimizers[id(optimizer)] = (weakref.ref(optimizer), clock, Reading())
        self.by_optimizer[id(optimizer)] = clock
        return clock

    def passes(self, kind: str) -> Clock | None:
        """The clock of the backward or the root forward passes; None where there is a better one to count by."""
        if self.best < KINDS.index(kind):
            return None
        return next((c for c in self._all if c.kind == kind), None) or self._new(f"{kind} passes", kind)

    def for_layer(self, layer: Any) -> Clock:
        """The clock by which a site behind this layer counts."""
        holder = next((c for c in self._all if c.holds(layer)), None)
        if holder is not None:
            return holder
        return self._all[0] if self._all else self._new("forward passes", "forward")

    def group_of(self, parameter: Any) -> dict[str, Any] | None:
        """The group of an optimiser that steps a parameter; None where none does."""
        known = self._groups.get(id(parameter))
        if known is not None and any(parameter is p for p in known["params"]):
            return known
        for found, *_ in self.optimizers.values():
            optimizer = found()
            for group in optimizer.param_groups if optimizer is not None else ():
                if any(parameter is p for p in group["params"]):
                    self._groups[id(parameter)] = group
                    return group
        return None

    def _new(self, name: str, kind: str) -> Clock:
        clock = Clock(self._new_number(name, kind), kind)
        self._all.append(clock)
        self._all.sort(key=lambda c: c.rank)
        self.best = self._all[0].rank
        return clock


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """All parameters that an optimiser steps."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def rates_of(source: Any) -> list[float]:
    """The learning rate of each group of an optimiser; read where that does not wait for a device."""
    return [rate for group in getattr(source, "param_groups", ()) if not math.isnan(rate := rate_of(group))]


def rate_of(group: dict[str, Any] | None) -> float:
    """A group's learning rate; nan where there is none, or where reading it would wait for a device."""
    rate: Any = None if group is None else group.get("lr")
    known = isinstance(rate, (int, float)) or (isinstance(rate, Tensor) and rate.device.type == "cpu")
    return float(rate) if known else math.nan


def living_optimizers() -> list[Optimizer]:
    """The optimisers made before the watching began. ``type``, for ``isinstance`` would wake lazy proxies."""
    return [found for found in gc.get_objects() if issubclass(type(found), Optimizer)]

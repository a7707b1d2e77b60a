"""The running counts of a site: per unit, without waiting for a device.

A look leaves one small vector behind; vectors are added up when a pane is drained.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relume.activations import ACTIVATIONS
from relume.torch.watching.axes import Tag
from relume.torch.watching.functions import Applied
from relume.torch.watching.tables import Pile, Room, Table, Vector, table_of

Floats = NDArray[np.float64]

_KEPT = 64  # looks whose vectors are kept before they are added up


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where an activation fires and where its curve is flat, as bounds on the pre-activation."""

    fires_above: float
    flat_below: float | None
    flat_above: float | None
    never_negative: bool  # the output: its magnitude is its sum


def bounds_of(applied: Applied) -> Bounds:
    """The bounds of an activation as a call applies it."""
    parameters = dict(applied.parameters)
    bound = parameters.pop("max_val", None)
    activation = ACTIVATIONS[applied.name]
    below, above = activation.flat(**parameters)
    return Bounds(
        activation.fires_above(**parameters),
        below,
        above if bound is None else bound,
        never_negative=activation.range.startswith(("[0", "(0")),
    )


class Accumulator:
    """The running counts of one site, on its device; vectors of shape (units,)."""

    def __init__(self, units: int, bounds: Bounds, device: torch.device, room: Room) -> None:
        self.units = units
        self.room = room
        self.device = device
        self.bounds = bounds
        self.looks = self.examples = self.samples = 0
        self._inputs, self._outputs = Pile(room), Pile(room)
        self._sums: Totals | None = None
        self._forget_vectors()

    def _forget_vectors(self) -> None:
        self._steps: list[int] = []
        self._fired: list[Vector] = []
        self._flat: list[Vector] = []
        self._magnitude: list[Vector] = []

    @property
    def numbers(self) -> int:
        """How many numbers are kept."""
        return self._inputs.numbers + self._outputs.numbers + 3 * len(self._steps) * self.units

    def move(self, device: torch.device) -> None:
        """Go on counting on another device: the model has moved."""
        if self._steps:
            self._sums = self.totals()
            self._forget_vectors()
        self.device = device

    def before(self, x: Tensor, tag: Tag, step: int) -> None:
        """Count a pre-activation: must come before the call, which may write over it."""
        if len(self._steps) >= _KEPT:
            self._add_up()
        self._steps.append(step)
        samples = x.numel() // self.units
        self.looks += 1
        self.samples += samples
        self.examples += min(x.shape[0] if tag.axis else 1, samples)
        if not self._inputs.put(x, tag.axis, tag.inner):
            self._settle()
            if not self._inputs.put(x, tag.axis, tag.inner):
                self._count(table_of(x, tag.axis), tag.inner)

    def after(self, y: Tensor, tag: Tag) -> None:
        """Add Σ |output|: not finite where an output is not."""
        if not self._outputs.put(y, tag.axis, tag.inner):
            self._settle()
            if not self._outputs.put(y, tag.axis, tag.inner):
                self._measure(table_of(y, tag.axis), tag.inner)

    def since(self, step: int) -> Floats | None:
        """How often each unit fired from a step on; None where it was not visited, or that would be waited for."""
        if not self._steps or self._steps[-1] < step:
            return None
        self._settle()
        if not isinstance(self._fired[-1], np.ndarray):
            return None
        return np.sum(self._fired[bisect_left(self._steps, step) :], axis=0, dtype=np.float64)

    def _settle(self) -> None:
        """Count what was put by."""
        for table, inner in self._inputs.take():
            self._count(table, inner)
        for table, inner in self._outputs.take():
            self._measure(table, inner)

    def _count(self, table: Table, inner: int) -> None:
        bounds = self.bounds
        self._keep(self._fired, table.above(bounds.fires_above), inner)
        if bounds.flat_below is not None:
            self._keep(self._flat, table.below(bounds.flat_below), inner)
        if bounds.flat_above is not None:
            self._keep(self._flat, table.from_above(bounds.flat_above), inner)

    def _measure(self, table: Table, inner: int) -> None:
        self._keep(self._magnitude, table.magnitude(self.bounds.never_negative), inner)

    def _keep(self, vectors: list[Vector], found: Sequence[Vector], inner: int) -> None:
        """Sums along the axis → sums of the units, which may lie on it in stretches; kept where they lie together."""
        for sums in found:
            if len(sums) != self.units:
                sums = sums.reshape(-1, self.units, inner).sum((0, 2))
            vectors.append(sums if isinstance(sums, Tensor) else self.room.put(sums))

    def totals(self) -> Totals:
        """What was counted, on the host.

        The only place where a device is waited for: once a pane, never in a look.
        """
        self._settle()
        fired, flat, magnitude = (_host(kept, self.units) for kept in (self._fired, self._flat, self._magnitude))
        steps = np.asarray(self._steps, dtype=np.float64)[:, None]
        last = np.where(fired > 0, steps, -1.0).max(0, initial=-1.0)
        first = np.where(fired > 0, steps, np.inf).min(0, initial=np.inf)
        silent = np.where(steps > last, steps, np.inf).min(0, initial=np.inf)
        sums = (fired.sum(0), flat.sum(0), magnitude.sum(0))
        broken = np.where(np.isfinite(magnitude), np.inf, steps[: len(magnitude)]).min(0, initial=np.inf)
        looks = (fired > 0).sum(0, dtype=np.float64)
        latest = Totals(*sums, last, _or_never(first), _or_never(silent), looks, _or_never(broken))
        if self._sums is None:
            return latest
        before = Totals(*(x.cpu().numpy() if isinstance(x, Tensor) else x for x in self._sums))
        return before.and_then(latest, np.where) if self._steps else before

    def _add_up(self) -> None:
        """Add the vectors of many looks to sums where they lie. float64 is exact to 2⁵³."""
        self._settle()
        if isinstance(self._fired[0], Tensor):
            self._sums = self._sums_on_device()
        else:
            self._sums = self.totals()
        self._forget_vectors()

    def _sums_on_device(self) -> Totals:
        with torch.inference_mode(False), torch.no_grad():
            fired = torch.stack(self._fired).double()
            steps = torch.tensor(self._steps, dtype=torch.float64, device=self.device).unsqueeze(1)
            last = torch.where(fired > 0, steps, -1.0).amax(0)
            first = torch.where(fired > 0, steps, torch.inf).amin(0)
            silent = torch.where(steps > last, steps, torch.inf).amin(0)
            flat, magnitude = (_total(kept, fired[0]) for kept in (self._flat, self._magnitude))
            broken = torch.full_like(first, torch.inf)
            if self._magnitude:
                finite = torch.stack(self._magnitude).isfinite()
                broken = torch.where(finite, torch.inf, steps[: len(finite)]).amin(0)
            first, silent, broken = (x.where(x.isfinite(), -1.0) for x in (first, silent, broken))
            latest = Totals(fired.sum(0), flat, magnitude, last, first, silent, (fired > 0).double().sum(0), broken)
            if self._sums is None:
                return latest
            before = Totals(*(torch.as_tensor(x, device=self.device) for x in self._sums))
            return before.and_then(latest, torch.where)


class Totals(NamedTuple):
    """What a site counted over several looks; vectors of shape (units,), of NumPy or on a device.

    ``last``, ``first``: the last and the first step on which a unit fired. ``silent``: the first looked-at step behind
    the last on which it fired. −1 for none. ``looks``: how many of the looks it fired in. ``broken``: the first
    step whose magnitude was not finite.
    """

    fired: Any
    flat: Any
    magnitude: Any
    last: Any
    first: Any
    silent: Any
    looks: Any
    broken: Any

    def and_then(self, later: Totals, where: Callable[..., Any]) -> Totals:
        """Both together; ``where``: of the vectors' library."""
        went_on = (later.last < 0) & (self.silent >= 0)
        return Totals(
            self.fired + later.fired,
            self.flat + later.flat,
            self.magnitude + later.magnitude,
            where(later.last < 0, self.last, later.last),
            where(self.first < 0, later.first, self.first),
            where(went_on, self.silent, later.silent),
            self.looks + later.looks,
            where(self.broken < 0, later.broken, self.broken),
        )


def _or_never(steps: Floats) -> Floats:
    return np.where(np.isfinite(steps), steps, -1.0)


def _host(kept: list[Vector], units: int) -> Floats:
    """The vectors of some looks as one float64 array of shape (looks, units)."""
    if not kept:
        return np.zeros((0, units))
    if isinstance(kept[0], Tensor):
        return torch.stack(kept).cpu().numpy().astype(np.float64)
    return np.array(kept, dtype=np.float64)


def _total(kept: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(kept).double().sum(0) if kept else torch.zeros_like(like)

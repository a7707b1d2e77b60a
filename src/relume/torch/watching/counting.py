"""The running counts of a site: per unit, without waiting for a device.

A look leaves one small vector behind; vectors are added up when a pane is drained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relume.torch.watching.axes import Tag
from relume.torch.watching.tables import Vector, table_of

Floats = NDArray[np.float64]

_KEPT = 64  # looks whose vectors are kept before they are added up


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where an activation fires and where its curve is flat, as bounds on the pre-activation."""

    fires_above: float
    flat_below: float | None
    flat_above: float | None
    never_negative: bool  # the output: its magnitude is its sum


class Accumulator:
    """The running counts of one site, on its device; vectors of shape (units,)."""

    def __init__(self, units: int, bounds: Bounds, device: torch.device) -> None:
        self.units = units
        self.device = device
        self.bounds = bounds
        self.looks = self.examples = self.samples = 0
        self._sums: tuple[Vector, ...] | None = None
        self._forget_vectors()

    def _forget_vectors(self) -> None:
        self._steps: list[int] = []
        self._fired: list[Vector] = []
        self._flat: list[Vector] = []
        self._magnitude: list[Vector] = []

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
        bounds, table = self.bounds, table_of(x, tag.axis)
        self._fired.append(self._folded(table.above(bounds.fires_above), tag))
        self._steps.append(step)
        if bounds.flat_below is not None:
            self._flat.append(self._folded(table.below(bounds.flat_below), tag))
        if bounds.flat_above is not None:
            self._flat.append(self._folded(table.from_above(bounds.flat_above), tag))
        samples = x.numel() // self.units
        self.looks += 1
        self.samples += samples
        self.examples += min(x.shape[0] if tag.axis else 1, samples)

    def after(self, y: Tensor, tag: Tag) -> None:
        """Add Σ |output|: not finite where an output is not."""
        self._magnitude.append(self._folded(table_of(y, tag.axis).magnitude(self.bounds.never_negative), tag))

    def _folded(self, sums: Vector, tag: Tag) -> Vector:
        """Sums along the axis → sums of the units, which may lie on it in stretches."""
        return sums if len(sums) == self.units else sums.reshape(-1, self.units, tag.inner).sum((0, 2))

    def totals(self) -> tuple[Floats, Floats, Floats, Floats]:
        """(fired, flat, magnitude, last step on which it fired or −1) of each unit, on the host.

        The only place where a device is waited for: once a pane, never in a look.
        """
        fired, flat, magnitude = (_host(kept, self.units) for kept in (self._fired, self._flat, self._magnitude))
        steps = np.asarray(self._steps, dtype=np.float64)[:, None]
        last = np.where(fired > 0, steps, -1.0).max(0, initial=-1.0)
        sums = (fired.sum(0), flat.sum(0), magnitude.sum(0))
        if self._sums is None:
            return (*sums, last)
        old = [x.cpu().numpy() if isinstance(x, Tensor) else x for x in self._sums]
        return sums[0] + old[0], sums[1] + old[1], sums[2] + old[2], np.maximum(last, old[3])

    def _add_up(self) -> None:
        """Add the vectors of many looks to sums where they lie. float64 is exact to 2⁵³."""
        if isinstance(self._fired[0], Tensor):
            self._sums = self._sums_on_device()
        else:
            self._sums = self.totals()
        self._forget_vectors()

    def _sums_on_device(self) -> tuple[Tensor, ...]:
        with torch.inference_mode(False), torch.no_grad():
            fired = torch.stack(self._fired).double()
            steps = torch.tensor(self._steps, dtype=torch.float64, device=self.device).unsqueeze(1)
            last = torch.where(fired > 0, steps, -1.0).amax(0)
            sums = [fired.sum(0), *(_total(kept, fired[0]) for kept in (self._flat, self._magnitude))]
            if self._sums is not None:
                old = [torch.as_tensor(x, device=self.device) for x in self._sums]
                sums = [new + before for new, before in zip(sums, old[:3], strict=True)]
                last = torch.maximum(last, old[3])
        return (*sums, last)


def _host(kept: list[Vector], units: int) -> Floats:
    """The vectors of some looks as one float64 array of shape (looks, units)."""
    if not kept:
        return np.zeros((0, units))
    if isinstance(kept[0], Tensor):
        return torch.stack(kept).cpu().numpy().astype(np.float64)
    return np.array(kept, dtype=np.float64)


def _total(kept: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(kept).double().sum(0) if kept else torch.zeros_like(like)

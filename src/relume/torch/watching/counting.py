"""Counting on the device: per unit, without waiting for it and without touching what is counted.

Comparisons are written as 0 and 1 into a float scratch and summed by a product with ones: on a CPU that is four times
as fast as summing booleans. A look leaves one small vector behind; vectors are added up when a window is drained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relume.torch.watching.axes import Tag

Floats = NDArray[np.float64]

_PART = 1 << 22  # elements of scratch at once: 16 MB, and far below float32's 2²⁴, up to which counts are exact
_KEPT = 64  # looks whose vectors are kept before they are added up

_ones: dict[tuple[int, torch.device], Tensor] = {}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where an activation fires and where its curve is flat, as bounds on the pre-activation."""

    fires_above: float
    flat_below: float | None
    flat_above: float | None
    never_negative: bool  # the output: its magnitude is its sum


def per_unit(x: Tensor, axis: int, fill: Callable[[Tensor, Tensor], Any] | None) -> Tensor:
    """Σ over all axes but one, of x or of what ``fill(part, scratch)`` writes for it; shape (size of the axis,)."""
    if not x.is_contiguous():
        order = [i for i in range(x.ndim) if i != axis] + [axis]  # channels_last: the units lie innermost
        moved = x.permute(order)
        x, axis = (moved, x.ndim - 1) if moved.is_contiguous() else (x.contiguous(), axis)
    size = x.shape[axis]
    if axis == x.ndim - 1:
        table = x.view(-1, size)
        return _parts(table, fill, lambda part: _columns(part))
    behind = x[0].numel() // size if axis == 1 else x.numel() // max(x.shape[:axis].numel() * size, 1)
    table = x.view(-1, size, behind)
    return _parts(table, fill, lambda part: _rows(part.view(-1, behind)).view(-1, size).sum(0))


def _parts(table: Tensor, fill: Any, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Reduce a table by its first axis, in parts whose scratch is small."""
    if fill is None:
        return reduce(table)
    if table.numel() <= _PART:
        scratch = torch.empty(table.shape, dtype=torch.float32, device=table.device)
        fill(table, scratch)
        return reduce(scratch)
    rows = max(1, _PART // table[0].numel())
    sums = [_parts(part, fill, reduce).double() for part in table.split(rows)]
    return torch.stack(sums).sum(0)


def _columns(table: Tensor) -> Tensor:
    """Σ of each column. A product is not deterministic-safe on CUDA and loses digits under autocast."""
    if table.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return table.sum(0)
    return torch.mv(table.t(), _one(len(table), table.device))


def _rows(table: Tensor) -> Tensor:
    """Σ of each row."""
    if table.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return table.sum(1)
    return torch.mv(table, _one(table.shape[1], table.device))


def _one(size: int, device: torch.device) -> Tensor:
    ones = _ones.get((size, device))
    if ones is None:
        with torch.inference_mode(False):
            ones = _ones[size, device] = torch.ones(size, dtype=torch.float32, device=device)
    return ones


class Accumulator:
    """The running counts of one site, on its device; vectors of shape (units,)."""

    def __init__(self, units: int, bounds: Bounds, device: torch.device) -> None:
        self.units = units
        self.device = device
        self.bounds = bounds
        self._fires = lambda part, out: torch.gt(part, bounds.fires_above, out=out)
        self._below = lambda part, out: torch.lt(part, bounds.flat_below, out=out)
        self._above = lambda part, out: torch.ge(part, bounds.flat_above, out=out)
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.looks = self.examples = self.samples = 0
        self._sums: tuple[Tensor, ...] | None = None
        self._steps: list[int] = []
        self._fired: list[Tensor] = []
        self._flat: list[Tensor] = []
        self._magnitude: list[Tensor] = []

    def move(self, device: torch.device) -> None:
        """Go on counting on another device: the model has moved."""
        self._add_up()
        self._sums = None if self._sums is None else tuple(x.to(device) for x in self._sums)
        self.device = device

    def before(self, x: Tensor, tag: Tag, step: int) -> None:
        """Count a pre-activation: must come before the call, which may write over it."""
        if len(self._steps) >= _KEPT:
            self._add_up()
        axis = tag.axis
        self._fired.append(self._folded(per_unit(x, axis, self._fires), tag))
        self._steps.append(step)
        if self.bounds.flat_below is not None:
            self._flat.append(self._folded(per_unit(x, axis, self._below), tag))
        if self.bounds.flat_above is not None:
            self._flat.append(self._folded(per_unit(x, axis, self._above), tag))
        samples = x.numel() // self.units
        self.looks += 1
        self.samples += samples
        self.examples += min(x.shape[0] if axis else 1, samples)

    def after(self, y: Tensor, tag: Tag) -> None:
        """Add Σ |output|: not finite where an output is not."""
        plain = self.bounds.never_negative and y.dtype is torch.float32
        total = per_unit(y, tag.axis, None if plain else _magnitude)
        self._magnitude.append(self._folded(total, tag))

    def _folded(self, sums: Tensor, tag: Tag) -> Tensor:
        """Sums along the axis → sums of the units, which may lie on it in stretches."""
        return sums if len(sums) == self.units else sums.view(-1, self.units, tag.inner).sum((0, 2))

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
        old = [x.cpu().numpy() for x in self._sums]
        return sums[0] + old[0], sums[1] + old[1], sums[2] + old[2], np.maximum(last, old[3])

    def _add_up(self) -> None:
        """Add the vectors of many looks to sums on the device. float64 is exact to 2⁵³."""
        if not self._steps:
            return
        with torch.inference_mode(False), torch.no_grad():
            fired = torch.stack(self._fired).double()
            steps = torch.tensor(self._steps, dtype=torch.float64, device=self.device).unsqueeze(1)
            last = torch.where(fired > 0, steps, -1.0).amax(0)
            sums = [fired.sum(0), *(_total(kept, fired[0]) for kept in (self._flat, self._magnitude))]
        if self._sums is not None:
            sums = [new + old for new, old in zip(sums, self._sums[:3], strict=True)]
            last = torch.maximum(last, self._sums[3])
        self._sums = (*sums, last)
        self._steps, self._fired, self._flat, self._magnitude = [], [], [], []


def _host(kept: list[Tensor], units: int) -> Floats:
    """The vectors of some looks as one float64 array of shape (looks, units)."""
    if not kept:
        return np.zeros((0, units))
    return torch.stack(kept).cpu().numpy().astype(np.float64)


def _magnitude(part: Tensor, out: Tensor) -> None:
    torch.abs(out.copy_(part), out=out)


def _total(kept: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(kept).double().sum(0) if kept else torch.zeros_like(like)

"""Counting on the device: per unit, without waiting for it and without touching what is counted.

Counts of one call are exact in float32 (a call is counted in parts of at most 2²² elements) and are added up in
float64, which is exact to 2⁵³. Comparisons are written as 0 and 1 into a float scratch and summed by a product with
ones: on a CPU that is four times as fast as summing booleans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relume.torch.axes import Tag

_PART = 1 << 22  # elements of scratch at once: 16 MB, and far below float32's 2²⁴


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where an activation fires and where its curve is flat, as bounds on the pre-activation."""

    fires_above: float
    flat_below: float | None
    flat_above: float | None
    never_negative: bool  # the output: its magnitude is its sum


class Matrix:
    """A tensor seen as (examples and positions before, units, positions behind): the three axes that counting knows."""

    __slots__ = ("before", "behind", "units", "view")

    def __init__(self, x: Tensor, axis: int) -> None:
        if not x.is_contiguous():
            order = [i for i in range(x.ndim) if i != axis] + [axis]  # channels_last: the units lie innermost
            moved = x.permute(order)
            x, axis = (moved, x.ndim - 1) if moved.is_contiguous() else (x.contiguous(), axis)
        self.units = x.shape[axis]
        self.before = 1
        for size in x.shape[:axis]:
            self.before *= size
        self.behind = x.numel() // max(self.before * self.units, 1)
        self.view = x.reshape(self.before, self.units, self.behind)

    def summed(self, fill: Any) -> Tensor:
        """Σ over all but the units of what ``fill(part, scratch)`` writes for a part; float32, shape (units,)."""
        total = None
        rows = max(1, _PART // max(self.units * self.behind, 1))
        for start in range(0, self.before, rows):
            part = self.view[start : start + rows]
            scratch = torch.empty(part.shape, dtype=torch.float32, device=part.device)
            fill(part, scratch)
            sums = _sum(scratch)
            total = sums if total is None else total.double() + sums
        return total if total is not None else torch.zeros(self.units, device=self.view.device)


def _sum(x: Tensor) -> Tensor:
    """Σ over the first and the last axis of three. The product is not deterministic-safe on CUDA, the sum is slower here."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return x.sum((0, 2))
    before, units, behind = x.shape
    if behind == 1:
        return torch.mv(x.view(before, units).t(), torch.ones(before, dtype=torch.float32, device="cpu"))
    ones = torch.ones(behind, dtype=torch.float32, device="cpu")
    return torch.mv(x.view(before * units, behind), ones).view(before, units).sum(0)


class Accumulator:
    """The running counts of one site, on its device; float64, shape (units,)."""

    def __init__(self, units: int, bounds: Bounds, device: torch.device) -> None:
        self.bounds = bounds
        self.units = units
        self.device = device
        self.reset()

    def move(self, device: torch.device) -> None:
        """Go on counting on another device: the model has moved."""
        self.device = device
        self.fired, self.flat, self.magnitude, self.last_fired = (
            x.to(device) for x in (self.fired, self.flat, self.magnitude, self.last_fired)
        )

    def reset(self) -> None:
        """Begin anew, in fresh tensors: the old ones may still be on their way to the host."""
        self.looks = self.examples = self.samples = 0
        with torch.inference_mode(False):  # what is made in inference mode cannot be changed outside it
            self.fired, self.flat, self.magnitude = (
                torch.zeros(self.units, dtype=torch.float64, device=self.device) for _ in range(3)
            )
            self.last_fired = torch.full((self.units,), -1.0, dtype=torch.float64, device=self.device)

    def before(self, x: Tensor, tag: Tag, step: int) -> None:
        """Count a pre-activation: must come before the call, which may write over it."""
        matrix, bounds = Matrix(x, tag.axis), self.bounds
        fired = self._folded(matrix.summed(lambda part, out: torch.gt(part, bounds.fires_above, out=out)), tag)
        self.fired.add_(fired)
        self.last_fired.masked_fill_(fired > 0, step)
        if bounds.flat_below is not None:
            self.flat.add_(
                self._folded(matrix.summed(lambda part, out: torch.lt(part, bounds.flat_below, out=out)), tag)
            )
        if bounds.flat_above is not None:
            self.flat.add_(
                self._folded(matrix.summed(lambda part, out: torch.ge(part, bounds.flat_above, out=out)), tag)
            )
        self.looks += 1
        samples = x.numel() // self.units
        self.samples += samples
        self.examples += min(x.shape[0] if tag.axis else 1, samples)

    def after(self, y: Tensor, tag: Tag) -> None:
        """Add Σ |output|: not finite where an output is not."""
        matrix = Matrix(y, tag.axis)
        if self.bounds.never_negative and y.dtype is torch.float32:
            total = _sum(matrix.view)
        else:
            total = matrix.summed(lambda part, out: torch.abs(out.copy_(part), out=out))
        self.magnitude.add_(self._folded(total, tag))

    def _folded(self, sums: Tensor, tag: Tag) -> Tensor:
        """Sums along the axis → sums of the units, which may lie on it in stretches."""
        if sums.numel() == self.units:
            return sums
        return sums.view(-1, self.units, tag.inner).sum((0, 2))

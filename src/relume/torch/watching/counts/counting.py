"""The running counts of a site: per unit, without waiting for a device."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relume.framework import Rows
from relume.torch.watching.counts.tables import DeviceTable, StagingBuffer, Table, Vector, table_of
from relume.torch.watching.units.axes import Tag
from relume.watching.bounds import Bounds

Floats = NDArray[np.float64]

MOST_ELEMENTS = 1 << 14
"""Of a larger tensor a slice of the batch is counted, unless each step is asked for: so much costs 10 to 20 µs."""

MOST_UNITS = 1 << 15
"""A code of more units has one row for all its looks: to fold a row takes 2 µs for 1,000 units."""

FEWEST_EXAMPLES = 8  # in such a slice, however large an example is: 300 of them must be seen before a unit is dead


class Accumulator:
    """The running counts of one site, on its device: vectors of shape (units,), a row of them for each look.

    Small tensors are only copied in a look, and counted many at a time: most of the time goes into calls whose code
    has left the caches since the last look.
    """

    def __init__(self, units: int, bounds: Bounds, *, whole: bool) -> None:
        """``whole``: of large tensors, too, everything is counted."""
        self.units = units
        self.bounds = bounds
        self._whole = whole
        self.retired = False
        self._shape: Any = None  # of the latest look's tensor,
        self._sliced: int | None = None  # how many of its examples are counted, None: all,
        self._extent = (0, 0)  # and the examples and samples of that
        self._inputs, self._outputs = StagingBuffer(), StagingBuffer()
        self._begin()

    def _begin(self) -> None:
        self.kept = 0  # how many numbers
        self._entries: list[tuple[Tensor, Tensor]] = []  # of a code: times fired, and Σ |value|, of each unit
        self._visits: list[tuple[int, int, int]] = []  # step, examples, samples
        self._fired: list[Vector] = []  # arrays of shape (rows, units), or tensors on a device
        self._flat: list[Vector] = []
        self._magnitude: list[Vector] = []

    def retire(self) -> None:
        """Count no more, and forget what was not handed over."""
        self.retired = True
        self._inputs, self._outputs = StagingBuffer(), StagingBuffer()
        self._begin()

    @property
    def has_rows(self) -> bool:
        """Whether there is anything to hand over."""
        return bool(self._visits)

    def input(self, x: Tensor, tag: Tag, step: int) -> None:
        """Count the pre-activation of a look; must come before a call that may write over it."""
        if not self.retired and not self.bounds.by_output:
            self._put(self._inputs, x, tag, step)

    def output(self, y: Tensor, tag: Tag, step: int) -> None:
        """Count what the activation gave in the same look."""
        if not self.retired:
            self._put(self._outputs, y, tag, step if self.bounds.by_output else None)

    def selected(self, units: Tensor, values: Tensor, samples: int, step: int) -> None:
        """Count a sparse code by its entries: the units of ``values``, of which those fire that are not 0.

        Its examples are its samples, the tokens. A wide code has one row for all looks until :meth:`rows`.
        """
        if self.retired:
            return
        with torch.inference_mode():  # or a row that was made in it could not be added to outside
            sizes = values.detach().reshape(-1).float().abs()
            if self._entries and self.units > MOST_UNITS:
                _, examples, before = self._visits[-1]
                self._visits[-1] = (step, examples + samples, before + samples)
            else:
                self._visits.append((step, samples, samples))
                self._entries.append((sizes.new_zeros(self.units), sizes.new_zeros(self.units)))
            self.kept += min(self.units, MOST_UNITS)
            fired, magnitude = self._entries[-1]
            fired.scatter_add_(0, units.reshape(-1), (sizes > 0).float())  # 16.8 million units: 3.4 ms for
            magnitude.scatter_add_(0, units.reshape(-1), sizes)  # 131,072 entries; index_add_ takes 10.7

    def _put(self, batch: StagingBuffer, x: Tensor, tag: Tag, step: int | None) -> None:
        """Put a small tensor by, and count a large one. With a step a look begins; ``x`` has the bounds' numbers."""
        if step is not None:
            if x.shape != self._shape:
                self._take_shape(x, tag)
            self._visits.append((step, *self._extent))
            self.kept += self.units
        if (part := self._sliced) is not None:
            x = x.detach().narrow(0, len(self._visits) * part % (len(x) - part + 1), part)
        if not batch.put(x, tag.axis, tag.inner):
            self._settle()
            if not batch.put(x, tag.axis, tag.inner):
                self._count(batch, table_of(x.detach(), tag.axis), tag.inner)

    def _take_shape(self, x: Tensor, tag: Tag) -> None:
        """Decide what is counted of tensors of this shape: of a large batch a part, another one in each look."""
        self._shape, number, size = x.shape, len(x), x.numel()
        self._sliced = None
        if size > MOST_ELEMENTS and tag.axis and not self._whole:
            self._sliced = min(number, max(FEWEST_EXAMPLES, MOST_ELEMENTS * number // size))
            number, size = self._sliced, size // number * self._sliced
        samples = size // self.units
        examples = min(number if tag.axis else 1, samples)
        self._extent = (samples if self.bounds.nonzero else examples, samples)

    def _settle(self) -> None:
        """Count what was put by."""
        for batch in (self._inputs, self._outputs):
            if batch:
                self._count(batch, *batch.take())

    def _count(self, batch: StagingBuffer, table: Table | DeviceTable, inner: int) -> None:
        bounds, sums = self.bounds, []
        if batch is self._outputs:
            sums.append((self._magnitude, table.sums(None if bounds.never_negative else np.abs)))
        if (batch is self._outputs) == bounds.by_output:
            fires = np.not_equal if bounds.nonzero else np.greater
            sums.append((self._fired, table.sums(fires, bounds.fires_above)))
            flat = [] if bounds.flat_below is None else [table.sums(np.less, bounds.flat_below)]
            flat += [] if bounds.flat_above is None else [table.sums(np.greater_equal, bounds.flat_above)]
            sums += [(self._flat, sum(flat[1:], flat[0]))] if flat else []
        for rows, sizes in sums:  # along the axis, on which the units may lie in stretches
            is_of_units = sizes.shape[1] == self.units
            rows.append(sizes if is_of_units else sizes.reshape(len(sizes), -1, self.units, inner).sum((1, 3)))

    def rows(self) -> Rows:
        """Return the counts and start again: the only place that waits for a device."""
        self._settle()
        self._fired += [fired[None] for fired, _ in self._entries]
        self._magnitude += [magnitude[None] for _, magnitude in self._entries]
        steps, examples, samples = np.array(self._visits, dtype=np.int64).reshape(-1, 3).T
        fired, flat, magnitude = (self._on_host(kept) for kept in (self._fired, self._flat, self._magnitude))
        has_flat = self.bounds.flat_below is not None or self.bounds.flat_above is not None
        self._begin()
        return Rows(steps, examples, samples, fired, flat if has_flat else None, magnitude)

    def _on_host(self, kept: list[Vector]) -> Floats:
        if any(isinstance(part, Tensor) for part in kept):
            groups = itertools.groupby(kept, key=lambda part: part.device if isinstance(part, Tensor) else None)
            kept = [torch.cat(list(g)).cpu().numpy() if device else np.concatenate(list(g)) for device, g in groups]
        return np.concatenate(kept, dtype=np.float64) if kept else np.zeros((0, self.units))

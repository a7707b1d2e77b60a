"""A stored array as an audit reads it: in slabs, so that a file of any size passes through a little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLAB = 1 << 18
"""Elements read at a time: 2 MB as float64, which stays in a core's cache."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tensor:
    """An array of floats in a file, usually mapped into memory. ``bits``: ``data`` holds bfloat16 as uint16."""

    data: NDArray[Any]
    bits: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The stored shape."""
        return self.data.shape

    @np.errstate(invalid="ignore")
    def numbers(self) -> Floats:
        """All of it as float64, in the stored shape; for small ones."""
        return _as_float(self.data, self.bits).astype(np.float64)

    def slabs(self, axis: int) -> Iterator[tuple[slice, int, NDArray[Any]]]:
        """(units, axis, matrix): parts of the array as matrices, whose ``axis`` (0 or 1) is that of these units."""
        if axis % self.data.ndim == self.data.ndim - 1 and self.data.ndim > 1:
            flat, own = self.data.reshape(-1, self.shape[-1]), 1
        else:
            flat, own = np.moveaxis(self.data, axis, 0).reshape(self.shape[axis], -1), 0
        rows, columns = flat.shape
        wide = max(1, min(columns, _SLAB))
        tall = _SLAB // wide
        for top in range(0, rows, tall):
            for left in range(0, columns, wide):
                part = flat[top : top + tall, left : left + wide]
                first = (top, left)[own]
                yield slice(first, first + part.shape[own]), own, _as_float(part, self.bits)


def _as_float(data: NDArray[Any], bits: bool) -> NDArray[Any]:
    if not bits:
        return np.asarray(data)
    return (np.asarray(data).astype(np.uint32) << 16).view(np.float32)


@np.errstate(invalid="ignore")  # a signaling nan is a number that was read, and nothing to warn of
def largest(tensor: Tensor, axis: int) -> Floats:
    """max |x| of each unit, shape (units,); nan if one is nan."""
    found = np.zeros(tensor.shape[axis])
    for units, own, part in tensor.slabs(axis):
        if part.size:
            top = np.maximum(part.max(axis=1 - own), -part.min(axis=1 - own)).astype(np.float64)
            found[units] = np.maximum(found[units], top)
    return found


@np.errstate(invalid="ignore")
def squares(tensor: Tensor, axis: int) -> Floats:
    """Σ x² of each unit, shape (units,): in float64, in which the square of a float32 does not underflow."""
    found = np.zeros(tensor.shape[axis])
    for units, own, part in tensor.slabs(axis):
        wide = part.astype(np.float64)
        found[units] += np.einsum("ij,ij->i" if own == 0 else "ij,ij->j", wide, wide)
    return found


@np.errstate(invalid="ignore")
def sums(tensor: Tensor, axis: int) -> Floats:
    """Σ x of each unit, shape (units,), in float64."""
    found = np.zeros(tensor.shape[axis])
    for units, own, part in tensor.slabs(axis):
        found[units] += part.sum(axis=1 - own, dtype=np.float64)
    return found

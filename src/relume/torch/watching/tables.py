"""One tensor's numbers, summed per unit, without touching it: on the host by NumPy, elsewhere where the tensor lies.

Comparisons are written as 0 and 1 into floats and summed by a product with ones: on a CPU that is four times as fast
as summing booleans. NumPy is the faster one where a tensor is small, for most of the time goes into calls there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Vector = Any
"""Shape (size of the axis,): an array on the host, a tensor on a device, where nothing is waited for."""

_PUT_BY = 1 << 12  # elements up to which a copy costs less than a count (measured: 3 µs against 20)
_MOST_PUT_BY = 1 << 16  # elements that are put by at most, until they are counted together
_ROOM = 1 << 16  # numbers for which room is got at once: 256 kB
_SMALL = 1 << 16  # elements up to which NumPy is the faster one (measured: 2 µs against 9 at 2,048, 14 to 19 here)
_PART = 1 << 22  # elements of scratch at once: 16 MB, and far below float32's 2²⁴, up to which counts are exact


class _Scratch(threading.local):
    """Room on the host in which one table after the other is worked on.

    It is kept: 4 MB asked for anew at each site are 1,000 page faults, which cost more than the counting.
    """

    def __init__(self) -> None:
        self._floats = np.empty(0, np.float32)
        self._bools = np.empty(0, np.bool_)

    def floats(self, size: int) -> NDArray[np.float32]:
        """So many numbers, of which nothing is known."""
        if size > len(self._floats):
            self._floats = np.empty(size, np.float32)
        return self._floats[:size]

    def bools(self, size: int) -> NDArray[np.bool_]:
        """So many truths."""
        if size > len(self._bools):
            self._bools = np.empty(size, np.bool_)
        return self._bools[:size]


_scratch = _Scratch()
_ones: dict[tuple[int, torch.device], Tensor] = {}
_host_ones: dict[int, NDArray[np.float32]] = {}


class Room:
    """Room on the host for small vectors that stay, got for many of them at once.

    Between the large tensors that the training asks for and gives back in each step, small vectors that stay would
    cut the heap into pieces that no longer fit.
    """

    def __init__(self) -> None:
        self._room = np.empty(0, np.float32)
        self._used = 0

    def put(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take a vector in; returns it as it lies there."""
        end = self._used + len(numbers)
        if end > len(self._room):
            self._room = np.empty(max(_ROOM, len(numbers)), np.float32)
            self._used, end = 0, len(numbers)
        kept = self._room[self._used : end]
        self._used = end
        kept[:] = numbers
        return kept


class Table(Protocol):
    """Tensors of one shape, seen as units × the rest; each answer is a vector for each of the tensors."""

    def above(self, bound: float) -> Sequence[Vector]:
        """How many elements of each unit are greater than ``bound``."""

    def from_above(self, bound: float) -> Sequence[Vector]:
        """How many are ``bound`` or greater."""

    def below(self, bound: float) -> Sequence[Vector]:
        """How many are less than ``bound``."""

    def magnitude(self, never_negative: bool) -> Sequence[Vector]:
        """Σ |element|; where none is negative, that is their sum. Not finite where an element is not."""


def table_of(x: Tensor, axis: int) -> Table:
    """The table of a detached tensor whose units lie along ``axis``."""
    return _HostTable(x.numpy()[None], axis) if _is_on_host(x, _SMALL) else _DeviceTable(x, axis)


def _is_on_host(x: Tensor, elements: int) -> bool:
    return x.dtype is torch.float32 and x.device.type == "cpu" and x.numel() <= elements and x.is_contiguous()


class Pile:
    """Copies of small tensors of the CPU, put by to be counted together: most of the time goes into calls."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._kept: list[NDArray[np.float32]] = []
        self._like: Any = None
        self.numbers = 0

    def put(self, x: Tensor, axis: int, inner: int) -> bool:
        """Take a detached tensor in, with the axis of its units and the length of their stretches on it.

        False where it is not small, not like those that lie here, or they are many.
        """
        like = (x.shape, axis, inner)
        if not _is_on_host(x, _PUT_BY) or self.numbers >= _MOST_PUT_BY or (self._kept and self._like != like):
            return False
        self._like = like
        self._kept.append(self._room.put(x.numpy().reshape(-1)))
        self.numbers += x.numel()
        return True

    def take(self) -> Iterator[tuple[Table, int]]:
        """What lies here, if anything, and the length of the stretches; it is gone then."""
        if self._kept:
            shape, axis, inner = self._like
            table = _HostTable(np.array(self._kept).reshape(-1, *shape), axis)
            self._kept, self.numbers = [], 0
            yield table, inner


class _HostTable:
    """Small float32 tensors of the CPU, contiguous: an array of shape (tensors, …)."""

    def __init__(self, x: NDArray[np.float32], axis: int) -> None:
        self._x = x
        self._axis = axis + 1

    def above(self, bound: float) -> Sequence[Vector]:
        return self._sum(self._as_numbers(np.greater, bound))

    def from_above(self, bound: float) -> Sequence[Vector]:
        return self._sum(self._as_numbers(np.greater_equal, bound))

    def below(self, bound: float) -> Sequence[Vector]:
        return self._sum(self._as_numbers(np.less, bound))

    def magnitude(self, never_negative: bool) -> Sequence[Vector]:
        x = self._x
        return self._sum(x if never_negative else np.abs(x, out=_scratch.floats(x.size).reshape(x.shape)))

    def _as_numbers(self, compare: Any, bound: float) -> NDArray[np.float32]:
        x = self._x
        numbers = _scratch.floats(x.size).reshape(x.shape)
        numbers[...] = compare(x, bound, out=_scratch.bools(x.size).reshape(x.shape))
        return numbers

    def _sum(self, x: NDArray[np.float32]) -> Sequence[Vector]:
        size, behind = x.shape[self._axis], math.prod(x.shape[self._axis + 1 :])
        before = math.prod(x.shape[1 : self._axis])
        if behind == 1:
            return list(np.matmul(_host_one(before), x.reshape(-1, before, size)))
        rows = x.reshape(len(x) * before * size, behind).dot(_host_one(behind))
        return list(rows.reshape(len(x), before, size).sum(1))


class _DeviceTable:
    """Any other: large, strided, of another type, or on a device."""

    def __init__(self, x: Tensor, axis: int) -> None:
        if not x.is_contiguous():
            order = [i for i in range(x.ndim) if i != axis] + [axis]  # channels_last: the units lie innermost
            moved = x.permute(order)
            x, axis = (moved, x.ndim - 1) if moved.is_contiguous() else (x.contiguous(), axis)
        size = x.shape[axis]
        behind = math.prod(x.shape[axis + 1 :])
        before = x.numel() // max(size * behind, 1)
        self._innermost = behind == 1
        self._table = x.view(before, size) if self._innermost else x.view(before, size, behind)

    def above(self, bound: float) -> Sequence[Vector]:
        return self._filled(lambda part, out: torch.gt(part, bound, out=out))

    def from_above(self, bound: float) -> Sequence[Vector]:
        return self._filled(lambda part, out: torch.ge(part, bound, out=out))

    def below(self, bound: float) -> Sequence[Vector]:
        return self._filled(lambda part, out: torch.lt(part, bound, out=out))

    def magnitude(self, never_negative: bool) -> Sequence[Vector]:
        if never_negative and self._table.dtype is torch.float32:
            return [_at_home(self._reduced(self._table))]
        return self._filled(lambda part, out: torch.abs(out.copy_(part), out=out))

    def _filled(self, fill: Callable[[Tensor, Tensor], Any]) -> Sequence[Vector]:
        """Sum what ``fill(part, scratch)`` writes, in parts whose scratch is small."""
        if self._table.numel() <= _PART:
            return [_at_home(self._of_part(self._table, fill))]
        rows = max(1, _PART // self._table[0].numel())
        return [_at_home(torch.stack([self._of_part(part, fill).double() for part in self._table.split(rows)]).sum(0))]

    def _of_part(self, part: Tensor, fill: Callable[[Tensor, Tensor], Any]) -> Tensor:
        scratch = _empty(part)
        fill(part, scratch)
        return self._reduced(scratch)

    def _reduced(self, table: Tensor) -> Tensor:
        if self._innermost:
            return _product(table.t(), 1, len(table))
        before, size, behind = table.shape
        return _product(table.view(before * size, behind), 1, behind).view(before, size).sum(0)


def _empty(like: Tensor) -> Tensor:
    """Room for numbers of a tensor's shape; on the host until the next call."""
    if like.device.type != "cpu":
        return torch.empty(like.shape, dtype=torch.float32, device=like.device)  # from a pool already
    return torch.from_numpy(_scratch.floats(like.numel())).view(like.shape)


def _product(table: Tensor, axis: int, size: int) -> Tensor:
    """Sum along an axis. A product is not deterministic-safe on CUDA and loses digits under autocast."""
    if table.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return table.sum(axis)
    return torch.mv(table, _one(size, table.device))


def _at_home(vector: Tensor) -> Vector:
    return vector.numpy() if vector.device.type == "cpu" else vector


def _one(size: int, device: torch.device) -> Tensor:
    ones = _ones.get((size, device))
    if ones is None:
        with torch.inference_mode(False):
            ones = _ones[size, device] = torch.ones(size, dtype=torch.float32, device=device)
    return ones


def _host_one(size: int) -> NDArray[np.float32]:
    ones = _host_ones.get(size)
    if ones is None:
        ones = _host_ones[size] = np.ones(size, np.float32)
    return ones

"""One tensor's numbers, summed per unit, without touching it: on the host by NumPy, elsewhere where the tensor lies.

Comparisons are summed as bytes if a byte holds the sum. Otherwise they are written as 0 and 1 into floats and summed
by a product with ones: on a CPU that is four times as fast as summing booleans. NumPy is the faster one if a tensor is
small, for most of the time goes into calls there.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Vector = Any
"""Shape (tensors, size of the axis): an array on the host, a tensor on a device, for which nothing is waited."""

_PUT_BY = 1 << 14  # elements up to which a copy costs less than a count (measured in a training: 4 to 10 µs against 37)
_MOST_PUT_BY, _MOST_ROWS = 1 << 16, 64  # elements and tensors that are put by at most until they are counted together

_SMALL = 1 << 16  # elements up to which NumPy is the faster one (measured: 4 µs against 9 at 8,192, 19 to 21 here)
_MOST_BYTES = 255  # truth values of which a byte holds the sum; so summed they take half of the time
_PART = 1 << 22  # elements of scratch at once: 16 MB, and far below float32's 2²⁴, up to which counts are exact


class _Scratch(threading.local):
    """Memory on the host in which one table after the other is worked on.

    It is kept: 4 MB asked for anew at each site are 1,000 page faults, which cost more than the counting.
    """

    def __init__(self) -> None:
        self._floats = np.empty(0, np.float32)
        self._bools = np.empty(0, np.bool_)
        self._ones: dict[tuple[int, torch.device | None], Any] = {}

    def floats(self, size: int) -> NDArray[np.float32]:
        """So many numbers, of which nothing is known."""
        if size > len(self._floats):
            self._floats = np.empty(size, np.float32)
        return self._floats[:size]

    def bools(self, size: int) -> NDArray[np.bool_]:
        """So many truth values."""
        if size > len(self._bools):
            self._bools = np.empty(size, np.bool_)
        return self._bools[:size]

    def ones(self, size: int, device: torch.device | None = None) -> Any:
        """So many ones: of NumPy, or on a device."""
        ones = self._ones.get((size, device))
        if ones is None:
            with torch.inference_mode(False):
                ones = np.ones(size, np.float32) if device is None else torch.ones(size, device=device)
            self._ones[size, device] = ones
        return ones


_scratch = _Scratch()


class Table(Protocol):
    """Tensors of one shape, seen as units × the rest; each answer has a row for each of them."""

    def above(self, bound: float) -> Vector:
        """How many elements of each unit are greater than ``bound``."""

    def from_above(self, bound: float) -> Vector:
        """How many are ``bound`` or greater."""

    def below(self, bound: float) -> Vector:
        """How many are less than ``bound``."""

    def magnitude(self, never_negative: bool) -> Vector:
        """Σ |element|; if none is negative, that is their sum. Not finite if an element is not."""


def table_of(x: Tensor, axis: int) -> Table:
    """The table of a detached tensor whose units lie along ``axis``."""
    return _HostTable(x.numpy()[None], axis) if _is_on_host(x, _SMALL) else _TensorTable(x, axis)


def _is_on_host(x: Tensor, elements: int) -> bool:
    return x.dtype is torch.float32 and x.is_cpu and x.numel() <= elements and x.is_contiguous()


class Batch:
    """Copies of small tensors of the CPU, put by to be counted together."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.float32)
        self._number = self._most = self._bytes = self._address = 0
        self._shape: Any = None
        self._lie = (0, 1)

    def __bool__(self) -> bool:
        """Whether anything lies here."""
        return self._number > 0

    def put(self, x: Tensor, axis: int, inner: int) -> bool:
        """Take a tensor in, with the axis of its units and the length of their stretches on it.

        False if it is not small, not like those that lie here, or they are many. The bytes are copied without a view
        of PyTorch's or NumPy's between: to make the two takes longer than the copy.
        """
        if x.shape != self._shape and not self._is_for(x, (axis, inner)):
            return False
        if self._number == self._most or x.dtype is not torch.float32 or not x.is_cpu or not x.is_contiguous():
            return False
        ctypes.memmove(self._address + self._number * self._bytes, x.data_ptr(), self._bytes)
        self._number += 1
        return True

    def _is_for(self, x: Tensor, lie: tuple[int, int]) -> bool:
        """Make room for tensors of another shape, if they are small and nothing else lies here."""
        size = x.numel()
        if self._number or not 0 < size <= _PUT_BY:
            return False
        self._shape, self._lie = x.shape, lie
        self._most, self._bytes = min(_MOST_PUT_BY // size, _MOST_ROWS), 4 * size
        self._memory = np.empty((self._most, *x.shape), np.float32)
        self._address = self._memory.ctypes.data
        return True

    def take(self) -> tuple[Table, int]:
        """What lies here, and the length of the stretches; it is gone then."""
        axis, inner = self._lie
        number, self._number = self._number, 0
        return _HostTable(self._memory[:number], axis), inner


class _HostTable:
    """Small float32 tensors of the CPU, contiguous: an array of shape (tensors, …)."""

    def __init__(self, x: NDArray[np.float32], axis: int) -> None:
        shape = x.shape
        self._x = x.reshape(shape[0], math.prod(shape[1 : axis + 1]), shape[axis + 1], math.prod(shape[axis + 2 :]))

    def above(self, bound: float) -> Vector:
        return self._number_of(np.greater, bound)

    def from_above(self, bound: float) -> Vector:
        return self._number_of(np.greater_equal, bound)

    def below(self, bound: float) -> Vector:
        return self._number_of(np.less, bound)

    def magnitude(self, never_negative: bool) -> Vector:
        x = self._x
        return self._sum(x if never_negative else np.abs(x, out=_scratch.floats(x.size).reshape(x.shape)))

    def _number_of(self, compare: Any, bound: float) -> Vector:
        x = self._x
        found = compare(x, bound, out=_scratch.bools(x.size).reshape(x.shape))
        tensors, before, size, behind = x.shape
        if behind == 1 and before <= _MOST_BYTES:
            return np.add.reduce(found.view(np.uint8).reshape(tensors, before, size), axis=1, dtype=np.uint8)
        numbers = _scratch.floats(x.size).reshape(x.shape)
        numbers[...] = found
        return self._sum(numbers)

    def _sum(self, x: NDArray[np.float32]) -> Vector:
        tensors, before, size, behind = x.shape
        if behind == 1:
            return np.matmul(_scratch.ones(before), x.reshape(tensors, before, size))
        return (
            x.reshape(tensors * before * size, behind).dot(_scratch.ones(behind)).reshape(tensors, before, size).sum(1)
        )


class _TensorTable:
    """One tensor of any other kind: large, strided, of another type, or on a device."""

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

    def above(self, bound: float) -> Vector:
        return self._filled(lambda part, out: torch.gt(part, bound, out=out))

    def from_above(self, bound: float) -> Vector:
        return self._filled(lambda part, out: torch.ge(part, bound, out=out))

    def below(self, bound: float) -> Vector:
        return self._filled(lambda part, out: torch.lt(part, bound, out=out))

    def magnitude(self, never_negative: bool) -> Vector:
        if never_negative and self._table.dtype is torch.float32:
            return _at_home(self._reduced(self._table))
        return self._filled(lambda part, out: torch.abs(out.copy_(part), out=out))

    def _filled(self, fill: Callable[[Tensor, Tensor], Any]) -> Vector:
        """Sum what ``fill(part, scratch)`` writes, in parts whose scratch is small."""
        if self._table.numel() <= _PART:
            return _at_home(self._of_part(self._table, fill))
        rows = max(1, _PART // self._table[0].numel())
        return _at_home(torch.stack([self._of_part(part, fill).double() for part in self._table.split(rows)]).sum(0))

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
    """Memory for numbers of a tensor's shape; on the host until the next call."""
    if like.device.type != "cpu":
        return torch.empty(like.shape, dtype=torch.float32, device=like.device)  # from a pool already
    return torch.from_numpy(_scratch.floats(like.numel())).view(like.shape)


def _product(table: Tensor, axis: int, size: int) -> Tensor:
    """Sum along an axis. A product is not deterministic-safe on CUDA and loses digits under autocast."""
    if table.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return table.sum(axis)
    return torch.mv(table, _scratch.ones(size, table.device))


def _at_home(vector: Tensor) -> Vector:
    return vector.numpy()[None] if vector.device.type == "cpu" else vector[None]

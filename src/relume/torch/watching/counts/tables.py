"""Sums for each unit of one tensor, without touching it: by NumPy on the host, elsewhere where the tensor lies.

On the host, comparisons are summed as bytes if a byte holds the sum. Otherwise they are written as 0 and 1 into floats
and summed by a product with ones, which is four times as fast as summing booleans.
"""

from __future__ import annotations

import ctypes
import math
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Vector = Any
"""Shape (tensors, size of the axis): an array on the host, a tensor on a device, for which nothing is waited."""

_PUT_BY = 1 << 14  # elements up to which a copy costs less than a count (measured in a training: 4 to 10 µs against 37)
_MOST_PUT_BY, _MOST_ROWS = 1 << 16, 64  # elements and tensors that are put by at most until they are counted together

_MOST_BYTES = 255  # truth values of which a byte holds the sum; so summed they take half of the time
_PART = 1 << 16  # elements of a large tensor that are worked on at once: their scratch stays in the processor's cache


class _Scratch(threading.local):
    """Reused memory on the host: 4 MB allocated at each site are 1,000 page faults, and cost more than counting."""

    def __init__(self) -> None:
        self._memory: dict[Any, NDArray[Any]] = {}

    def of(self, kind: Any, like: NDArray[Any]) -> NDArray[Any]:
        """An array of this type and of the shape of another; of its content nothing is known."""
        memory = self._memory.get(kind)
        if memory is None or len(memory) < like.size:
            memory = self._memory[kind] = np.empty(like.size, kind)
        return memory[: like.size].reshape(like.shape)

    def ones(self, size: int) -> NDArray[np.float32]:
        """So many ones."""
        ones = self._memory.get(size)
        if ones is None:
            ones = self._memory[size] = np.ones(size, np.float32)
        return ones


_scratch = _Scratch()


class Table:
    """Arrays of one shape, seen as units × the rest."""

    def __init__(self, x: NDArray[Any], axis: int) -> None:
        """``x``: shape (tensors, …), of which ``axis`` is the one of the units in a tensor."""
        shape = x.shape
        self._x = x.reshape(shape[0], math.prod(shape[1 : axis + 1]), shape[axis + 1], math.prod(shape[axis + 2 :]))

    def sums(self, function: Any, *bound: float) -> Vector:
        """For each unit, the sum of what a function of NumPy gives.

        Args:
            function: ``np.greater``, ``np.greater_equal`` or ``np.less``: how many elements are that; ``np.abs``:
                Σ |element|; None: Σ element. The last two are not finite if an element is not.
            *bound: what elements are compared with.
        """
        x = self._x
        if x.size <= _PART or len(x) > 1:
            return _sums(function, x, *bound)
        rows = max(1, _PART // x[0, 0].size)
        parts = (_sums(function, x[:, first : first + rows], *bound) for first in range(0, x.shape[1], rows))
        return sum(parts, np.zeros((1, x.shape[2])))


def _sums(function: Any, x: NDArray[Any], *bound: float) -> Vector:
    tensors, before, size, behind = x.shape
    if bound:
        found = function(x, *bound, out=_scratch.of(np.bool_, x))
        if behind == 1 and before <= _MOST_BYTES:
            return np.add.reduce(found.view(np.uint8)[..., 0], axis=1, dtype=np.uint8)
        numbers = _scratch.of(np.float32, x)
        numbers[...] = found
    else:
        numbers = x if function is None else function(x, out=_scratch.of(x.dtype, x))
    if behind == 1:
        return np.matmul(_scratch.ones(before), numbers.reshape(tensors, before, size))
    sums = numbers.reshape(tensors * before * size, behind).dot(_scratch.ones(behind))
    return sums.reshape(tensors, before, size).sum(1)


class DeviceTable:
    """The same of one tensor that lies on a device."""

    def __init__(self, x: Tensor, axis: int) -> None:
        self._x = x if x.ndim > 1 else x[None]
        axis += self._x.ndim - x.ndim
        self._others = [other for other in range(self._x.ndim) if other != axis]

    def sums(self, function: Any, *bound: float) -> Vector:
        """As :meth:`Table.sums`."""
        x = self._x if function is None else _ON_DEVICE[function](self._x, *bound)
        return x.sum(self._others, dtype=None if bound else torch.float32)[None]


_ON_DEVICE = {
    np.greater: torch.gt,
    np.greater_equal: torch.ge,
    np.less: torch.lt,
    np.not_equal: torch.ne,
    np.abs: torch.abs,
}


def table_of(x: Tensor, axis: int) -> Table | DeviceTable:
    """The table of a detached tensor whose units lie along ``axis``."""
    if not x.is_cpu:
        return DeviceTable(x, axis)
    if not x.is_contiguous():  # channels_last: the units lie innermost
        moved = x.movedim(axis, -1)
        x, axis = (moved, x.ndim - 1) if moved.is_contiguous() else (x.contiguous(), axis)
    return Table((x.float() if x.element_size() < 4 else x).numpy(force=True)[None], axis)


class StagingBuffer:
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
        return Table(self._memory[:number], axis), inner

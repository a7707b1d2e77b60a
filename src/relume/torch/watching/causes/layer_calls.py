"""One call of a layer in a look: its input, its weight, and what its result would be with another weight.

Only some of the call's samples are used. Arrays are NumPy's if the layer is on the CPU, where NumPy's calls cost a
quarter of PyTorch's; otherwise they are tensors and stay on their device.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLED = 1 << 16
"""Numbers of a tensor that are used: 40 µs for the largest of each unit; all 128 samples of a layer of 512 units."""

_FEWEST = 8  # samples that are used if they have more numbers than that; of fewer, no offset is computed

_GROUP = 8  # samples

Array = Any
"""A NumPy array or a tensor."""


def plain(x: Tensor) -> Array:
    """The numbers of a tensor in float32: a view of them if they are float32, which the training may overwrite."""
    x = x.detach() if x.dtype is torch.float32 else x.detach().float()
    return x.numpy() if x.device.type == "cpu" else x


def sampled(x: Tensor, axis: int = 0, numbers: int = 0) -> Array:
    """Some rows of a tensor, evenly spaced, in float32.

    Args:
        x: shape (…), of which all axes up to this one are rows.
        axis: the last axis of the rows; −2 for all but the last.
        numbers: how many numbers a row stands for, if more than it has.
    """
    rows = plain(x) if x.dtype is torch.float32 else x.detach()  # NumPy's slices cost a tenth of PyTorch's
    rows = rows.reshape(-1, x.shape[-1]) if axis else rows
    most = max(_FEWEST, SAMPLED // max(math.prod(rows.shape[1:]), numbers, 1))
    rows = rows[:: -(-len(rows) // most)]
    return plain(rows) if isinstance(rows, Tensor) else rows


class LayerCall(ABC):
    """One call of a layer. It holds the call's tensors until :meth:`forget`.

    The level of a unit is its largest pre-activation in a group of eight samples, or in an example of a convolution,
    averaged over the groups. It is below the firing edge if the unit is silent, and less luck than the largest of all:
    of 64 normal samples that varies by 0.45 standard deviations, this by 0.2.

    Attributes:
        weight, bias: the layer's parameters. ``upstream``: number of the site that produced the input, −1 for none.
        trained: whether an optimizer steps the weight. ``decay``: its weight decay.
        z, x: some pre-activations and their inputs, samples first. ``square``: E‖x‖². ``offset``: γ = ‖E x‖ / ‖std x‖,
            nan if there are too few samples to vary. Known from :meth:`sample` on.
    """

    kind = ""

    def __init__(self, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, upstream: int) -> None:
        self.shape = out.shape
        self.upstream = upstream
        self.weight: Tensor | None = weight
        self.bias = bias
        self.trained, self.decay = True, 0.0
        self.z: Array = None
        self.x: Array = None
        self.square: Array = math.nan
        self.offset: Array = math.nan
        self._input: Tensor | None = x

    def fits(self, z: Tensor) -> bool:
        """Whether a tensor may be the result of this call, or that with something added."""
        return self._input is not None and z.shape == self.shape and z.numel() > 0

    def forget(self) -> None:
        """Let go of the tensors."""
        self._input = self.weight = self.bias = self.z = self.x = None

    @np.errstate(all="ignore")
    def sample(self, z: Tensor) -> None:
        """Choose some samples of a pre-activation that fits."""
        assert self._input is not None
        self.z, self.x = self._samples(z, self._input)
        axes = tuple(axis for axis in range(self.x.ndim) if axis != self._unit_axis() % self.x.ndim)
        samples = math.prod(self.x.shape[axis] for axis in axes)
        mean = self.x.sum(axes) / samples
        self.square, mean_square = (self.x * self.x).sum() / samples, (mean * mean).sum()
        if samples >= _FEWEST:
            variance = self.square - mean_square
            self.offset = (mean_square / abs(variance + 1e-7 * mean_square + 1e-30)) ** 0.5

    def _samples(self, z: Tensor, x: Tensor) -> tuple[Array, Array]:
        """The same samples of both."""
        return sampled(z, -2, x.shape[-1]), sampled(x, -2, z.shape[-1])

    def _unit_axis(self) -> int:
        return -1

    def parameters(self) -> tuple[Array, Array]:
        """Views of (weight, of shape (units, inputs of a unit); bias, of shape (units,))."""
        assert self.weight is not None
        weight = plain(self.weight)
        weight = weight.reshape(len(weight), -1)
        return weight, weight[:, 0] * 0 if self.bias is None else plain(self.bias)

    def levels(self) -> tuple[Array, Array]:
        """(largest pre-activation of each unit, its level); shapes (units,)."""
        largest = _largest(self.z)
        return largest.amax(0) if isinstance(largest, Tensor) else largest.max(0), largest.mean(0)

    def lowest(self) -> Array:
        """The smallest pre-activation of each unit; shape (units,)."""
        smallest = -_largest(-self.z)
        return smallest.amin(0) if isinstance(smallest, Tensor) else smallest.min(0)

    @abstractmethod
    def level_without(self, units: Any, weight: Array, bias: Array, known: Array) -> tuple[Array, Array]:
        """The level of some units on the same inputs, if their parameters had not changed, and its standard error.

        Args:
            units: indices, shape (n,), or ``slice(None)``.
            weight: the change of their weights, shape (n, inputs).
            bias: the change of their biases, shape (n,).
            known: their level before the change, shape (n,).
        """


class LinearCall(LayerCall):
    """``F.linear``."""

    kind = "linear"

    def level_without(self, units: Any, weight: Array, bias: Array, known: Array) -> tuple[Array, Array]:  # noqa: D102
        return _level(self.z[:, units] - self.x @ weight.T - bias)


class ConvolutionCall(LayerCall):
    """``F.conv1d``, ``F.conv2d``, ``F.conv3d`` of batches: a sample is a position of an example."""

    kind = "convolution"

    def __init__(self, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, upstream: int, how: Any) -> None:
        super().__init__(out, x, weight, bias, upstream)
        self._how = how
        self._skip = 1

    def _samples(self, z: Tensor, x: Tensor) -> tuple[Array, Array]:
        axes, wider = z.ndim - 2, max(1.0, x.shape[1] / z.shape[1])
        numbers = min(len(z), _FEWEST) * z[0].numel() * wider
        self._skip = math.ceil(max(1.0, numbers / SAMPLED) ** (1 / axes))
        z = z[(slice(None), slice(None), *[slice(None, None, self._skip)] * axes)]
        every = -(-len(z) // max(_FEWEST, int(SAMPLED / (z[0].numel() * wider))))
        return plain(z[::every]), plain(x[::every])

    def _unit_axis(self) -> int:
        return 1

    def level_without(self, units: Any, weight: Array, bias: Array, known: Array) -> tuple[Array, Array]:  # noqa: D102
        assert self.weight is not None
        change = torch.as_tensor(weight).reshape(-1, *self.weight.shape[1:])
        grouped = self._how["groups"] > 1
        if grouped:  # a unit sees the inputs of its group only: all units at once, most of them unchanged
            change = change.new_zeros(self.weight.shape).index_put_((torch.arange(len(self.weight))[units],), change)
        axes, stride = self.weight.ndim - 2, self._how["stride"]
        stride = [each * self._skip for each in np.broadcast_to(stride, axes).tolist()]
        moved = _CONVOLUTIONS[axes - 1](torch.as_tensor(self.x), change, **self._how | {"stride": stride})
        z = torch.as_tensor(self.z)[:, units] - (moved[:, units] if grouped else moved)
        level, error = _level(plain(z))
        return level - bias, error


class NormCall(LayerCall):
    """A normalization with one scale and one shift a unit: the input of a unit is its normalized pre-activation."""

    kind = "norm"

    def __init__(self, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, upstream: int, axis: int) -> None:
        super().__init__(out, x, weight, bias, upstream)
        self._last = axis == out.ndim - 1

    def _samples(self, z: Tensor, x: Tensor) -> tuple[Array, Array]:
        return super()._samples(z, x) if self._last else (sampled(z), sampled(x))

    def _unit_axis(self) -> int:
        return -1 if self._last else 1

    def parameters(self) -> tuple[Array, Array]:
        """As :meth:`LayerCall.parameters`, with the size of the scale: its sign only turns the input round."""
        scale, shift = super().parameters()
        return abs(scale), shift

    def level_without(self, units: Any, weight: Array, bias: Array, known: Array) -> tuple[Array, Array]:  # noqa: D102
        scale, shift = (part[units] for part in self.parameters())
        scale, change = scale[:, 0], weight[:, 0]
        now, error = (part[units] for part in _level(self.z))
        before = now - bias - change * (now - shift) / (scale + (scale == 0))
        where = torch.where if isinstance(before, Tensor) else np.where
        return where(scale == 0, known, before), error  # a scale of 0 hides the input, which is taken as unchanged


def _level(z: Array) -> tuple[Array, Array]:
    largest = _largest(z)
    return largest.mean(0), (largest.var(0) / len(largest)) ** 0.5


def _largest(z: Array) -> Array:
    """The largest pre-activation of each unit in each group; shape (groups, units).

    Args:
        z: shape (samples, units), of which eight are a group; or (examples, units, positions …), of which one is.
    """
    if z.ndim > 2:
        z, axis = z.reshape(len(z), z.shape[1], -1), 2
    else:
        size = min(len(z), _GROUP)
        z, axis = z[: len(z) // size * size].reshape(size, -1, z.shape[1]), 0
    return z.amax(axis) if isinstance(z, Tensor) else z.max(axis)


def call_of(func: Callable[..., Any], args: Any, kwargs: Any, out: Tensor, upstream: int) -> LayerCall | None:
    """A layer's call; None if terms are not kept of such layers."""
    if len(args) < 2 or not isinstance(args[0], Tensor):
        return None
    x, weight = args[:2]
    how = _DEFAULTS | kwargs | dict(zip(_DEFAULTS, args[2:], strict=False))
    if func is F.linear:
        return LinearCall(out, x, weight, how["bias"], upstream)
    if func not in _CONVOLUTIONS or x.ndim != weight.ndim or isinstance(how["padding"], str):
        return None  # padding="same" is worked out by the layer
    return ConvolutionCall(out, x, weight, how.pop("bias"), upstream, how)


_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_DEFAULTS: dict[str, Any] = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}

"""What a layer was given when it made a pre-activation: its input, its weights, and which of its inputs counted.

Arrays are NumPy's where the layer is on the CPU, for its calls cost a quarter of PyTorch's there; else tensors, which
stay on their device. Both know the few operations that are asked of them here and in ``factors.py``.
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

_FEWEST_SAMPLES = 8  # of a single one the mean is all there is

Array = Any
"""An array of NumPy's or a tensor, in float32 where it holds numbers."""


quiet = np.errstate(all="ignore")
"""Around arithmetic on the training's numbers: one that overflows is a finding, not a warning of ours."""


def plain(x: Tensor) -> Array:
    """A tensor's numbers; a view of them, which the training may write over."""
    x = x.detach() if x.dtype is torch.float32 else x.detach().float()
    return x.numpy() if x.device.type == "cpu" else x


class Made(ABC):
    """One call of a layer in a look. Holds the call's tensors until the site has taken what it needs.

    ``upstream`` is the number of the site that made the input, −1 where none did; ``trained`` whether an optimiser
    steps the weight; ``decay`` its weight decay.
    """

    kind = ""

    def __init__(self, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, upstream: int) -> None:
        self.shape = out.shape
        self.upstream = upstream
        self.trained = True
        self.decay = 0.0
        self.weight: Tensor | None = weight
        self._x: Tensor | None = x
        self.bias = bias

    def fits(self, z: Tensor) -> bool:
        """Whether a tensor may be what this call made, or that with something added."""
        return self._x is not None and z.shape == self.shape

    def forget(self) -> None:
        """Let the tensors go."""
        self._x = self.weight = self.bias = None

    def weights(self) -> tuple[Array, Array]:
        """(weights of shape (units, inputs of a unit), biases of shape (units,)); copies."""
        assert self.weight is not None
        weight = plain(self.weight)
        rows = weight.reshape(len(weight), -1) + 0  # a copy
        return rows, rows[:, 0] * 0 if self.bias is None else plain(self.bias) + 0

    @quiet
    def offset(self) -> Array:
        """γ = ‖mean‖ / ‖std‖ of the input's features over the look's samples; nan where these are too few to vary."""
        assert self._x is not None
        x = self._features(plain(self._x))
        if len(x) < _FEWEST_SAMPLES:
            return math.nan
        mean = x.sum(0) / len(x)
        mean_square = (mean * mean).sum()
        variance = (x * x).sum() / len(x) - mean_square
        return (mean_square / abs(variance + 1e-7 * mean_square + 1e-30)) ** 0.5

    @abstractmethod
    def largest(self, z: Tensor) -> tuple[Array, Any]:
        """(largest pre-activation of each unit, where it stands)."""

    @abstractmethod
    def inputs(self, index: Any, top: Array, weight: Array, bias: Array) -> Array:
        """The inputs of the units at their largest pre-activations; shape (units, inputs of a unit)."""

    def _features(self, x: Array) -> Array:
        return x.reshape(-1, x.shape[-1])


class MadeByLinear(Made):
    """``F.linear``."""

    kind = "linear"

    def largest(self, z: Tensor) -> tuple[Array, Any]:  # noqa: D102 - as Made.largest
        table = plain(z).reshape(-1, z.shape[-1])
        if isinstance(table, Tensor):
            top = table.max(0)
            return top.values, top.indices
        return table.max(0), table.argmax(0)

    def inputs(self, index: Any, top: Array, weight: Array, bias: Array) -> Array:  # noqa: D102 - as Made.inputs
        assert self._x is not None
        x = plain(self._x)
        return x.reshape(-1, x.shape[-1])[index]


class MadeByConvolution(Made):
    """``F.conv1d``, ``F.conv2d``, ``F.conv3d`` with batches, zero padding given in numbers."""

    kind = "convolution"

    def __init__(self, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, upstream: int, how: Any) -> None:
        super().__init__(out, x, weight, bias, upstream)
        self._stride, self._padding, self._dilation, self._groups = how

    def largest(self, z: Tensor) -> tuple[Array, Any]:  # noqa: D102 - as Made.largest
        flat = z.flatten(2)
        best = flat.amax(2).argmax(0)
        rows = flat[best, torch.arange(flat.shape[1], device=z.device)]
        top = rows.max(1)
        return plain(top.values.clone()), (best, top.indices)

    def inputs(self, index: Any, top: Array, weight: Array, bias: Array) -> Array:  # noqa: D102 - as Made.inputs
        assert self._x is not None
        assert self.weight is not None
        example, position = index
        x, kernel = self._x.detach(), self.weight.shape[2:]
        units, device = len(example), x.device
        per_group = self.weight.shape[1]
        group = torch.arange(units, device=device) // (units // self._groups)
        channels = group[:, None] * per_group + torch.arange(per_group, device=device)
        places = torch.unravel_index(position, self.shape[2:])
        axes, inside = len(kernel), torch.ones((), dtype=torch.bool, device=device)
        at = [example.view(units, 1, *[1] * axes), channels.view(units, per_group, *[1] * axes)]
        for axis, size in enumerate(kernel):
            start = places[axis] * self._stride[axis] - self._padding[axis]
            taps = torch.arange(size, device=device) * self._dilation[axis]
            line = (start[:, None] + taps).view(units, 1, *[size if a == axis else 1 for a in range(axes)])
            inside = inside & (line >= 0) & (line < x.shape[axis + 2])
            at.append(line.clamp(0, x.shape[axis + 2] - 1))
        patch = torch.where(inside, x[tuple(at)].float(), 0.0)
        return plain(patch.reshape(units, -1))

    def _features(self, x: Array) -> Array:
        return x.swapaxes(1, -1).reshape(-1, x.shape[1])


class MadeByNorm(Made):
    """A normalisation with one scale and one shift a unit: its input is what it had made of the layer's result."""

    kind = "norm"

    def __init__(self, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, upstream: int, axis: int) -> None:
        super().__init__(out, x, weight, bias, upstream)
        self._axis = axis

    def weights(self) -> tuple[Array, Array]:
        """The sizes of the scales: where one turns round, the other end of its input excites the unit most."""
        scale, shift = super().weights()
        return abs(scale), shift

    def largest(self, z: Tensor) -> tuple[Array, Any]:  # noqa: D102 - as Made.largest
        moved = z.movedim(self._axis, 0)
        return plain(moved.reshape(len(moved), -1).amax(1)), None

    def inputs(self, index: Any, top: Array, weight: Array, bias: Array) -> Array:  # noqa: D102 - as Made.inputs
        scale = weight[:, 0]
        return ((top - bias) / (scale + (scale == 0)) * (scale != 0))[:, None]

    def _features(self, x: Array) -> Array:
        return x.swapaxes(self._axis, -1).reshape(-1, x.shape[self._axis])


def made_by(func: Callable[..., Any], args: Any, kwargs: Any, out: Tensor, upstream: int) -> Made | None:
    """What a layer's call made; None for layers whose factors are not kept."""
    if not args or not isinstance(args[0], Tensor):
        return None
    if func is F.linear and len(args) >= 2:
        return MadeByLinear(out, args[0], args[1], _given(args, kwargs, 2, "bias"), upstream)
    if func in (F.conv1d, F.conv2d, F.conv3d) and len(args) >= 2 and args[0].ndim == args[1].ndim:
        axes = args[1].ndim - 2
        how = [_each(_given(args, kwargs, 3 + n, name, default), axes) for n, (name, default) in enumerate(_CONV)]
        if any(h is None for h in how):
            return None
        groups = _given(args, kwargs, 6, "groups", 1)
        return MadeByConvolution(out, args[0], args[1], _given(args, kwargs, 2, "bias"), upstream, (*how, groups))
    return None


_CONV = (("stride", 1), ("padding", 0), ("dilation", 1))


def _given(args: Any, kwargs: Any, place: int, name: str, default: Any = None) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _each(value: Any, axes: int) -> tuple[int, ...] | None:
    if isinstance(value, int):
        return (value,) * axes
    if not isinstance(value, (tuple, list)) or len(value) not in (1, axes):
        return None  # padding="same" is worked out by the layer
    return tuple(value) * (axes // len(value))

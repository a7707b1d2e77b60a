"""PReLU's slopes in the shape that PyTorch takes, and RReLU's random ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relume.activations._edge import axes_of
from relume.torch._large import CHUNK, LARGE, PReLU, is_large, is_transformed
from relume.torch._refusals import refuse_slopes


def native_prelu(input: Tensor, weight: Tensor) -> Tensor:
    fits = input.device.type == "cpu" and weight.requires_grad and not torch.is_autocast_enabled("cpu")
    if fits and is_large(input, LARGE):
        return PReLU.apply(input, weight)
    return F.prelu(input, weight)


def spread_shape(weight: Tensor, input: Tensor, axis: int | tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which the slopes broadcast: () where they are one, else of as many axes as the input."""
    if weight.numel() == 1 and weight.ndim <= 1:
        return ()
    axes = axes_of(axis)
    places = [a + input.ndim if a < 0 else a for a in axes]
    shape = [1] * input.ndim
    fits = len(axes) == weight.ndim and all(a < b for a, b in pairwise(places))
    for place, size in zip(places, weight.shape, strict=False):
        if not 0 <= place < input.ndim or size not in (1, input.shape[place]):
            fits = False
            break
        shape[place] = size
    if not fits:
        refuse_slopes(input, weight, axis)
    return tuple(shape)


def only_axis(shape: tuple[int, ...]) -> Any:
    """The one axis along which there are slopes; None where there is none, −1 where there are several."""
    found = [place for place, size in enumerate(shape) if size != 1]
    return None if not found else found[0] if len(found) == 1 else -1


def prelu_composed(input: Tensor, weight: Tensor) -> Tensor:
    above = input > 0
    below = torch.where(above, 0, input)  # so that no inf reaches the gradient of the slopes
    return torch.where(above, input, weight.to(input.dtype) * below)


def drawn_slopes(x: Tensor, lower: float, upper: float, generator: torch.Generator | None) -> Tensor:
    """A slope for each element of ``x``: 1 above 0, else from U(lower, upper)."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or is_transformed():
        return torch.where(x > 0, 1, torch.empty_like(x).uniform_(lower, upper, generator=generator))
    slopes = torch.empty_like(x)
    if x.numel() < LARGE or x.dtype is torch.float64:
        above = torch.gt(x, 0, out=torch.empty_like(x))
        return slopes.uniform_(lower, upper, generator=generator).lerp_(above, above)
    step, size = (upper - lower) / 2**16, (x.numel(),)
    flat = slopes.as_strided(size, (1,))
    signs = flat
    if x.stride() == slopes.stride():
        signs = x.as_strided(size, (1,), x.storage_offset())
    else:
        slopes.copy_(x)
    for part, out in zip(signs.split(CHUNK), flat.split(CHUNK), strict=True):
        above = torch.gt(part, 0, out=torch.empty_like(part))
        # 64 random bits for four slopes, which take one of 2¹⁶ values: uniform_ takes 4.7 ns for each, this 1.9
        bits = torch.empty((part.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None, generator=generator)
        out.copy_(bits.view(torch.int16)[: part.numel()].float().mul_(step).add_((lower + upper + step) / 2))
        out.lerp_(above, above)  # torch.where takes 6 ns for each: it mispredicts every second sign
    return slopes

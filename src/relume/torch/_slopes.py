"""The random slopes of RReLU in training."""

from __future__ import annotations

import torch
from torch import Tensor

from relume.torch._large import CHUNK, LARGE, is_transformed


def drawn(x: Tensor, lower: float, upper: float, generator: torch.Generator | None) -> Tensor:
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

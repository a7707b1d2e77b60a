"""Large tensors: operations of PyTorch whose backward keeps less, or passes over memory less often.

A ``torch.autograd.Function`` costs 25 µs a call, forward and backward: smaller tensors are left to PyTorch's own
operation. Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

LARGE = 2**18
"""From this many elements, PReLU's backward and RReLU's draws are faster than PyTorch's."""

LARGE_OUTPUT = 2**21
"""From this many elements, :class:`FromOutput` costs no time: 6 to 22 % at 1.6 M, nothing at 3.2 M and 12.8 M."""

CHUNK = 2**18
"""Elements of a chunk. PReLU's backward takes 3.3 ms for 1.6 M elements and 53 ms for 12.8 M, by PyTorch's operation
10.4 and 166 ms. With 2¹⁴ or 2²⁰ it takes 60 to 75 ms."""


def is_large(x: Tensor, least: int) -> bool:
    """Whether a Function is worth its cost: ``least`` elements or more, a recorded gradient, eager mode."""
    return (
        not torch.compiler.is_compiling()
        and x.numel() >= least
        and x.requires_grad
        and torch.is_grad_enabled()
        and not (is_transformed() or torch.jit.is_tracing())
    )


def is_transformed() -> bool:
    """Whether forward mode or one of functorch's transforms is at work."""
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()


class FromOutput(torch.autograd.Function):
    """An operation whose output tells its slope. The next layer keeps the output anyway; PyTorch keeps the input too.

    Args: the input; the operation; its backward, which takes the gradient and the output; whether the operation writes
    into the input.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, operation: Callable[..., Tensor], slope: Callable[..., Tensor], inplace: bool
    ) -> Tensor:
        y = operation(x)
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (y,) = ctx.saved_tensors
        return ctx.slope(grad, y), None, None, None


class PReLU(torch.autograd.Function):
    """PReLU on the CPU.

    PyTorch's backward mispredicts the sign of every second element, and writes a gradient of the slopes in the input's
    size before it sums it.

    Args: the input; the slopes, shape (C,) of axis 1, or one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.prelu(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        slopes = weight.reshape(-1, *[1] * (x.ndim - 2)) if weight.numel() > 1 else weight.reshape(())
        axes = [axis for axis in range(x.ndim) if axis != 1 or weight.numel() == 1]
        if torch.is_grad_enabled():  # for the second derivative
            dx, each = torch.ops.aten._prelu_kernel_backward.default(grad, x, slopes.expand_as(x[:1]))
            return dx, each.sum(axes).view_as(weight)
        wide = torch.float32 if x.itemsize < 4 else x.dtype
        dx, summed = torch.empty_like(x), torch.zeros(slopes.numel(), dtype=wide)
        rows = max(1, CHUNK * x.shape[0] // x.numel())
        for g, part, out in zip(grad.split(rows), x.split(rows), dx.split(rows), strict=True):
            torch.ops.aten.threshold_backward.grad_input(g, part, 0, grad_input=out)
            below = g - out
            out.addcmul_(below, slopes)
            summed += below.mul_(part.clamp(max=0)).sum(axes, dtype=wide)
        return dx, summed.to(weight.dtype).view_as(weight)


def leaky_relu(input: Tensor, slope: float, inplace: bool) -> Tensor:
    """LeakyReLU, with a slope that has been checked."""
    if inplace:
        return torch._C._nn.leaky_relu_(input, slope)
    if is_large(input, LARGE_OUTPUT) and isinstance(slope, (float, int)) and slope >= 0:
        return FromOutput.apply(
            input,
            partial(torch._C._nn.leaky_relu, negative_slope=slope),
            partial(torch.ops.aten.leaky_relu_backward.default, negative_slope=slope, self_is_result=True),
            False,
        )
    return torch._C._nn.leaky_relu(input, slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """PReLU with one slope, or one for each unit of axis 1."""
    fits = input.device.type == "cpu" and weight.requires_grad and not torch.is_autocast_enabled("cpu")
    if fits and is_large(input, LARGE):
        return PReLU.apply(input, weight)
    return F.prelu(input, weight)


def relu6(input: Tensor, inplace: bool) -> Tensor:
    """ReLU6 in eager mode."""
    operation = torch._C._nn.relu6_ if inplace else torch._C._nn.relu6
    if is_large(input, LARGE_OUTPUT):
        slope = partial(torch.ops.aten.hardtanh_backward.default, min_val=0, max_val=6)
        return FromOutput.apply(input, operation, slope, inplace)
    return operation(input)

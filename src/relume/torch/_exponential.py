"""ELU, CELU and SELU as one operation: PyTorch's, with what it gets wrong put right.

Its value is right in eager mode. Its slope is not in place (taken from the rounded result) nor at nan (by the tensor's
length), and the compiled value loses its digits below 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

_HALVES = (torch.bfloat16, torch.float16)
_COMPILED_EXPM1_IS_RIGHT = torch.__version__ >= (2, 15)  # before, its vector code on the CPU is exp(x) − 1


def exponential(x: Tensor, alpha: float, scale: float, shrink: float, inplace: bool) -> Tensor:
    """``scale * (x if x > 0 else alpha * expm1(shrink * x))``."""
    tracing = torch.jit.is_tracing()
    exporting = tracing or torch.compiler.is_exporting()
    if exporting and not inplace:  # ONNX exporters shrink what lies above 0 too; the tracing one knows no scale
        narrow = x if shrink == 1 else x * shrink
        bent = torch.ops.aten.elu.default(narrow, alpha, 1.0 if tracing else scale)
        bent = bent * scale if tracing and scale != 1 else bent
        return bent if shrink == 1 else torch.where(x <= 0, bent, x * scale)
    compiling = torch.compiler.is_compiling() and not exporting
    if inplace:
        if not compiling and not exporting and not differentiates(x):
            return torch.ops.aten.elu_(x, alpha, scale, shrink)
        return x.copy_(exponential(x.clone(), alpha, scale, shrink, False))  # PyTorch would keep the result alone
    if compiling and not _COMPILED_EXPM1_IS_RIGHT and x.device.type == "cpu":
        return _compiled(x, alpha, scale, shrink)
    if torch.compiler.is_compiling() or not differentiates(x):
        return torch.ops.aten.elu.default(x, alpha, scale, shrink)
    if is_transformed():
        nan = x != x
        return torch.where(nan, x * scale, torch.ops.aten.elu.default(x.masked_fill(nan, 0), alpha, scale, shrink))
    return _Exponential.apply(x, alpha, scale, shrink)


class _Exponential(torch.autograd.Function):
    """PyTorch's operation, with the slope at nan that is stated: its own vector code gives nan there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float, scale: float, shrink: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.numbers = alpha, scale, shrink
        return torch.ops.aten.elu.default(x, alpha, scale, shrink)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        safe = torch.nan_to_num(x, 1.0)  # inf becomes the greatest number, where the slope is the same
        return torch.ops.aten.elu_backward.default(grad, *ctx.numbers, False, safe), None, None, None


def _compiled(x: Tensor, alpha: float, scale: float, shrink: float) -> Tensor:
    """The same for a compiler whose expm1 is exp(x) − 1: its own result, and what that is short of.

    expm1(z) is (u − 1) z / log(u) with u = exp(z), in which the errors of u cancel (Higham 2002, Accuracy and Stability
    of Numerical Algorithms, section 1.14.1). The slope is that of PyTorch's operation, which is right.
    """
    wide = x.float() if x.dtype in _HALVES else x
    rough = torch.ops.aten.elu(wide, alpha, scale, shrink)
    z = wide.detach() * shrink
    u = torch.exp(z)
    exact = torch.where(z < -1, u - 1, torch.where(u == 1, z, (u - 1) * z / torch.log(u)))
    short = torch.where(z < 0, exact * (alpha * scale) - rough.detach(), 0.0)
    return torch.where(x == 0, wide * (alpha * scale * shrink), rough + short).to(x.dtype)


def differentiates(x: Tensor) -> bool:
    """Whether a gradient of ``x`` may be asked for, backwards or forwards."""
    return (x.requires_grad and torch.is_grad_enabled()) or forward_ad._current_level >= 0


def is_transformed() -> bool:
    """Whether forward mode or one of functorch's transforms is at work, for which a Function would be the slow way."""
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()

"""ELU, CELU and SELU as one operation: PyTorch's, with what it gets wrong put right.

Its value is right in eager mode. Its slope is not in place (taken from the rounded result) nor at nan (by the tensor's
length), nor with CELU's alpha where x / alpha is rounded, and the compiled value loses its digits below 0.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from relume.activations import ACTIVATIONS
from relume.activations._expm1 import expm1
from relume.activations._quotient import is_exact

_HALVES = (torch.bfloat16, torch.float16)
_COMPILED_EXPM1_IS_RIGHT = torch.__version__ >= (2, 15)  # before, its vector code on the CPU is exp(x) − 1


def exponential(x: Tensor, alpha: float, scale: float, shrink: float, inplace: bool) -> Tensor:
    """``scale * (x if x > 0 else alpha * expm1(shrink * x))``."""
    compiling = torch.compiler.is_compiling()  # an export's too
    rounds = shrink != 1 and x.dtype not in _HALVES and not is_exact(alpha)  # which exp makes much of
    if not (compiling or rounds or differentiates(x) or torch.jit.is_tracing()):
        return (torch._C._nn.elu_ if inplace else torch._C._nn.elu)(x, alpha, scale, shrink)
    tracing = torch.jit.is_tracing()
    exporting = tracing or torch.compiler.is_exporting()
    if exporting and not inplace:  # ONNX exporters shrink what lies above 0 too; the tracing one knows no scale
        narrow = x if shrink == 1 else x * shrink
        bent = torch.ops.aten.elu.default(narrow, alpha, 1.0 if tracing else scale)
        bent = bent * scale if tracing and scale != 1 else bent
        return bent if shrink == 1 else torch.where(x <= 0, bent, x * scale)
    if inplace:
        return x.copy_(exponential(x.clone(), alpha, scale, shrink, False))  # PyTorch would keep the result alone
    if rounds and (x.dtype is torch.float64 or x.device.type == "mps"):  # which has no float64
        return _by_definition(x, alpha)
    wide = x.double() if rounds else x
    if compiling and not exporting and not _COMPILED_EXPM1_IS_RIGHT and x.device.type == "cpu":
        return _compiled(wide, alpha, scale, shrink).to(x.dtype)
    if compiling or not differentiates(x):
        return torch.ops.aten.elu.default(wide, alpha, scale, shrink).to(x.dtype)
    if is_transformed():
        nan = x != x
        bent = torch.ops.aten.elu.default(wide.masked_fill(nan, 0), alpha, scale, shrink).to(x.dtype)
        return torch.where(nan, x * scale, bent)
    return _Exponential.apply(x, alpha, scale, shrink, rounds)


class _Exponential(torch.autograd.Function):
    """PyTorch's operation, with the slope at nan that is stated: its own vector code gives nan there."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float, scale: float, shrink: float, rounds: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.numbers, ctx.rounds = (alpha, scale, shrink), rounds
        y: Tensor = torch._C._nn.elu(x.double() if rounds else x, alpha, scale, shrink)
        return y.to(x.dtype) if rounds else y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        safe = torch.nan_to_num(x, 1.0)  # inf becomes the greatest number, where the slope is the same
        if ctx.rounds:
            wide = torch.ops.aten.elu_backward.default(grad.double(), *ctx.numbers, False, safe.double())
            return wide.to(grad.dtype), None, None, None, None
        return torch.ops.aten.elu_backward.default(grad, *ctx.numbers, False, safe), None, None, None, None


def _by_definition(x: Tensor, alpha: float) -> Tensor:
    """CELU whose x / alpha keeps what it is short of, by :mod:`relume.activations.celu`; right to any order.

    The value comes with no gradient; what is added is 0 and has the slope, and that slope's own derivatives.
    """
    below = torch.where(x < 0, x.clamp(min=-(2.0**14) * alpha), 0)  # finite: no inf − inf
    fixed = below.detach()
    value = ACTIVATIONS["celu"].value(fixed, _NAMESPACE, alpha=alpha)
    slope = ACTIVATIONS["celu"].slope(fixed, _NAMESPACE, alpha=alpha)
    off = below - fixed
    curved = torch.expm1(off / alpha) - off / alpha  # apart from its line, which alpha · (1 / alpha) would round
    return torch.where(x < 0, value + slope * (off + alpha * curved), x)


def _compiled(x: Tensor, alpha: float, scale: float, shrink: float) -> Tensor:
    """The same for a compiler whose expm1 is exp(x) − 1: its own result, and what that is short of.

    The slope is that of PyTorch's operation, which is right.
    """
    wide = x.float() if x.dtype in _HALVES else x
    rough = torch.ops.aten.elu(wide, alpha, scale, shrink)
    z = wide.detach() * shrink
    short = torch.where(z < 0, expm1(z, torch) * (alpha * scale) - rough.detach(), 0.0)
    return torch.where(x == 0, wide * (alpha * scale * shrink), rough + short).to(x.dtype)


def _expm1(z: Tensor) -> Tensor:
    compiled = torch.compiler.is_compiling() and not _COMPILED_EXPM1_IS_RIGHT and z.device.type == "cpu"
    return expm1(z, torch) if compiled else torch.expm1(z)


_NAMESPACE = SimpleNamespace(where=torch.where, round=torch.round, exp=torch.exp, expm1=_expm1)
"""What CELU's definition asks of its ``xp``."""


def differentiates(x: Tensor) -> bool:
    """Whether a gradient of ``x`` may be asked for, backwards or forwards."""
    return (x.requires_grad and torch.is_grad_enabled()) or forward_ad._current_level >= 0


def is_transformed() -> bool:
    """Whether forward mode or one of functorch's transforms is at work, for which a Function would be the slow way."""
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()

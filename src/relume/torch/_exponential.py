"""ELU, CELU and SELU under a compiler, an exporter or a tracer; in eager mode PyTorch's own are right.

A compiler's value loses its digits below 0, and exporters read ``scale`` and ``shrink`` otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relume.activations._expm1 import expm1

_HALVES = (torch.bfloat16, torch.float16)
_COMPILED_EXPM1_IS_RIGHT = torch.__version__ >= (2, 15)  # before, its vector code on the CPU is exp(x) − 1


def traced(x: Tensor, alpha: float, scale: float, shrink: float, inplace: bool) -> Tensor:
    """``scale * (x if x > 0 else alpha * expm1(shrink * x))``."""
    if inplace:
        return x.copy_(traced(x.clone(), alpha, scale, shrink, False))
    tracing = torch.jit.is_tracing()
    if tracing or torch.compiler.is_exporting():  # ONNX exporters shrink what lies above 0 too; tracers know no scale
        narrow = x if shrink == 1 else x * shrink
        bent = torch.ops.aten.elu.default(narrow, alpha, 1.0 if tracing else scale)
        bent = bent * scale if tracing and scale != 1 else bent
        return bent if shrink == 1 else torch.where(x <= 0, bent, x * scale)
    if _COMPILED_EXPM1_IS_RIGHT or x.device.type != "cpu":
        return torch.ops.aten.elu.default(x, alpha, scale, shrink)
    wide = x.float() if x.dtype in _HALVES else x
    rough = torch.ops.aten.elu(wide, alpha, scale, shrink)  # its slope is right
    z = wide.detach() * shrink
    short = torch.where(z < 0, expm1(z, torch) * (alpha * scale) - rough.detach(), 0.0)
    return torch.where(x == 0, wide * (alpha * scale * shrink), rough + short).to(x.dtype)

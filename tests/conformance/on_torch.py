"""relume.torch in the battery: eager, in place and compiled."""

from __future__ import annotations

import warnings
from typing import Any

import cases
import ml_dtypes
import numpy as np
import torch
from torch.autograd import forward_ad

import relume.torch.functional as rf

with warnings.catch_warnings():  # PyTorch's forward mode warns of its own use of torch.jit when it is first used
    warnings.simplefilter("ignore", DeprecationWarning)
    import torch._decomp.decompositions_for_jvp

DTYPES = {name: getattr(torch, name) for name in cases.DTYPES}


def tensor(x: np.ndarray) -> torch.Tensor:
    """A tensor with the strides of ``x``; bfloat16 goes by its bits."""
    if x.dtype == ml_dtypes.bfloat16:
        return (
            torch.from_numpy(x.view(np.int16) if x.ndim else x[None].view(np.int16)[0:1])
            .view(torch.bfloat16)
            .reshape(x.shape)
        )
    if x.dtype == ml_dtypes.float8_e4m3fn:
        return torch.from_numpy(x.view(np.uint8)).view(torch.float8_e4m3fn)
    return torch.from_numpy(np.asarray(x)) if x.ndim else torch.tensor(x)


def array(t: torch.Tensor) -> np.ndarray:
    t = t.detach()
    if t.dtype is torch.bfloat16:
        return t.float().numpy().astype(ml_dtypes.bfloat16)
    return t.numpy()


class Torch:
    """``relume.torch.functional``, eager."""

    name = "torch"
    dtypes = tuple(DTYPES)
    lays = dtypes
    inputs: tuple[str, ...] | None = None
    flushes = False
    inference = False

    def call(self, activation: str, x: torch.Tensor, **parameters: Any) -> torch.Tensor:
        if activation == "prelu":
            parameters["weight"] = torch.as_tensor(parameters["weight"]).to(x.dtype)
        return getattr(rf, activation)(x, **parameters)

    def value(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return array(self.call(activation, tensor(x), **tensors(parameters)))

    def gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        one = tensor(x).requires_grad_()
        out = self.call(activation, one, **tensors(parameters))
        return array(torch.autograd.grad(out, one, torch.ones_like(out))[0])

    def forward_gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        one = tensor(x)
        with forward_ad.dual_level():
            out = self.call(activation, forward_ad.make_dual(one, torch.ones_like(one)), **tensors(parameters))
            return array(forward_ad.unpack_dual(out).tangent)

    def weight_gradient(self, x: np.ndarray, dtype: str, *, weight: np.ndarray, axis: Any) -> np.ndarray:
        slopes = tensor(weight).requires_grad_()
        out = rf.prelu(tensor(x), slopes, axis)
        return array(torch.autograd.grad(out.sum(), slopes)[0])

    def drawn(self, x: np.ndarray, dtype: str, lower: float, upper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        one = tensor(x).requires_grad_()
        generator = torch.Generator().manual_seed(seed)
        out = self.call("rrelu", one, lower=lower, upper=upper, training=True, generator=generator)
        return array(out), array(torch.autograd.grad(out, one, torch.ones_like(out))[0])


def tensors(parameters: dict[str, Any]) -> dict[str, Any]:
    """Arrays among the parameters as tensors."""
    return {k: tensor(p) if isinstance(p, np.ndarray) else p for k, p in parameters.items()}


class TorchInPlace(Torch):
    """The same, written into a copy of the input where there is an in-place form."""

    name = "torch-inplace"

    def call(self, activation: str, x: torch.Tensor, **parameters: Any) -> torch.Tensor:
        negative = parameters.get("negative_slope") == -0.5  # refused in backward, as by PyTorch
        if activation == "prelu" or negative or "squared" in activation:
            return super().call(activation, x, **parameters)
        copy = x * 1 if x.requires_grad or forward_ad._current_level >= 0 else x.clone()
        out = getattr(rf, activation)(copy, inplace=True, **parameters)
        assert out is copy
        return out


ADAPTERS = [Torch(), TorchInPlace()]

"""Forward passes without side effects on the model, the random states or watchers."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.utils import _pytree as pytree

from relume.errors import CureError

ULPS = 8
"""Units in the last place of the largest output by which outputs may move.

A silent unit contributes exact zeros with any weight: 0 was measured in every network of the tests. Only another order
of summation could change the last bits.
"""

ENOUGH = 64
"""Examples for setting biases and for the proof of a revival during a run; smaller batches are combined.

Half of 64 examples is accurate to ±12 % (95 %); a batch of one has no half.
"""

_HOOKS = ("_global_forward_pre_hooks", "_global_forward_hooks")


@dataclass(frozen=True)
class Batch:
    """What the model is called with."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, batch: Any) -> Batch:
        """A tensor, a tuple of positional arguments, or a dict of keyword arguments."""
        if isinstance(batch, Batch):
            return batch
        if isinstance(batch, Mapping):
            return cls((), dict(batch))
        return cls(tuple(batch) if isinstance(batch, (tuple, list)) else (batch,), {})

    def __str__(self) -> str:
        tensors = [x for x in pytree.tree_leaves((self.args, dict(self.kwargs))) if isinstance(x, Tensor)]
        return f"a batch of {len(tensors[0]) if tensors and tensors[0].ndim else 0} examples"


@contextlib.contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Restores buffers, modes, random states, hooks and warnings after the block."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    training = [(module, module.training) for module in model.modules()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices), _unwatched(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for module, flag in training:
                module.training = flag
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


@contextlib.contextmanager
def _unwatched() -> Iterator[None]:
    """Remove function modes and global module hooks: a watch must not count a proof's computations."""
    modes = [torch._C._pop_torch_function_stack() for _ in range(torch._C._len_torch_function_stack())]
    hooks = [(getattr(modules, name), dict(getattr(modules, name))) for name in _HOOKS]
    for table, _ in hooks:
        table.clear()
    try:
        yield
    finally:
        for table, before in hooks:
            table.update(before)
        for mode in reversed(modes):
            torch._C._push_on_torch_function_stack(mode)


Outputs = dict[str, list[Tensor]]


def outputs(model: nn.Module, batch: Batch) -> Outputs:
    """The model's floating-point outputs on the batch, in evaluation mode and in train mode if the model is in it.

    Raises: CureError: the model fails on the batch, or has no finite output.
    """
    found: Outputs = {}
    with at_rest(model):
        state = torch.get_rng_state()
        for mode in ("train", "eval") if model.training else ("eval",):
            if mode == "eval":
                model.eval()
            torch.set_rng_state(state)
            with torch.no_grad():
                found[mode] = _tensors(_call(model, batch))
    if not any(found.values()):
        raise CureError("The model returns no floating-point tensor to compare.", slug="batch-does-not-fit")
    if not all(bool(torch.isfinite(x).all()) for each in found.values() for x in each):
        raise CureError(
            "The model's output on the batch is not finite. No cure for dead units repairs that: go back to an earlier "
            "checkpoint.",
            slug="output-not-finite",
        )
    return found


def _call(model: nn.Module, batch: Batch) -> Any:
    args, kwargs = pytree.tree_map_only(Tensor, Tensor.clone, (batch.args, dict(batch.kwargs)))
    try:
        return model(*args, **kwargs)  # with copies: a model may write into its input
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise CureError(
            f"The model fails on the batch ({type(error).__name__}: {first}). "
            "Give the model's arguments, on its device: a tensor, a tuple of arguments or a dict of keywords.",
            slug="batch-does-not-fit",
        ) from error


def _tensors(output: Any) -> list[Tensor]:
    """Clones: a model may return its input, or a tensor that it stores."""
    return [x.detach().clone() for x in pytree.tree_leaves(output) if isinstance(x, Tensor) and x.is_floating_point()]


def distance(before: Outputs, after: Outputs) -> tuple[float, float]:
    """(largest change of an output relative to the largest output, the same in ulp); inf if shapes differ."""
    relative, ulps = 0.0, 0.0
    for mode, tensors in before.items():
        if [x.shape for x in tensors] != [x.shape for x in after[mode]]:
            return float("inf"), float("inf")
        for one, other in zip(tensors, after[mode], strict=True):
            if one.numel() == 0:
                continue
            scale = max(float(one.abs().max()), torch.finfo(one.dtype).tiny)
            moved = float((one.double() - other.double()).abs().max()) / scale
            moved = moved if moved == moved else float("inf")
            relative, ulps = max(relative, moved), max(ulps, moved / torch.finfo(one.dtype).eps)
    return relative, ulps

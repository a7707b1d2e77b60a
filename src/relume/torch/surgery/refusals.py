"""Models, optimizers and batches that cures reject, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter, UninitializedParameter
from torch.optim import Optimizer

from relume.errors import CureError

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")


def refuse_model(model: Any) -> None:
    """Raises: CureError: a cure cannot change the model in place."""
    if not isinstance(model, nn.Module):
        raise CureError(
            f"{type(model).__name__} is not a torch.nn.Module. Give the model itself.", slug="model-not-curable"
        )
    why = _unfit(model)
    if why:
        raise CureError(f"{type(model).__name__} cannot be changed: {why}.", slug="model-not-curable")


def _unfit(model: nn.Module) -> str:
    for path, module in model.named_modules():
        kind, where = type(module), path or "it"
        if isinstance(module, torch.jit.ScriptModule):
            return f"{where} is scripted; give the module from before torch.jit"
        if "_orig_mod" in module._modules:
            return f"{where} is a wrapper of torch.compile; give its _orig_mod, which shares the weights"
        if kind.__name__ in _WRAPPERS:
            return f"{where} is a {kind.__name__}; its copies would differ; give its module before it is wrapped"
        if ".quantized" in kind.__module__:
            return f"{where} is quantized; cure the model before it is quantized"
    return _unfit_tensors(model)


def _unfit_tensors(model: nn.Module) -> str:
    devices = set()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if isinstance(tensor, UninitializedParameter):
            return f"{name} has no shape yet; run the model once"
        if type(tensor) not in (Parameter, Tensor) or type(tensor.data) is not Tensor:
            return f"{name} is a {type(tensor.data).__name__}, not a plain tensor"
        if isinstance(tensor, Parameter) and not tensor.is_floating_point():
            return f"{name} is {tensor.dtype}; floating-point weights are needed"
        devices.add(tensor.device)
    if torch.device("meta") in devices:
        return "its weights are on the meta device and have no values; load them"
    if len(devices) > 1:
        return f"its weights are on {', '.join(sorted(map(str, devices)))}; move them to one device"
    return ""


def refuse_optimizer(optimizer: Any, parameters: Iterable[tuple[str, Tensor]]) -> None:
    """Raises: CureError: not an optimizer, or it does not step these parameters."""
    if not isinstance(optimizer, Optimizer):
        raise CureError(
            f"optimizer is a {type(optimizer).__name__}. Give the torch.optim.Optimizer that trains the model.",
            slug="wrong-optimizer",
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in parameters:
        if parameter.requires_grad and id(parameter) not in held:
            raise CureError(
                f"The optimizer ({type(optimizer).__name__}) does not hold {name}. Give the optimizer that trains this "
                "model, or None if training has ended.",
                slug="wrong-optimizer",
            )

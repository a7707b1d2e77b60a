"""A reviver for each model trained in this process, found automatically."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from relume.artifacts.change import Edit
from relume.errors import RelumeError
from relume.torch.surgery.reviver import TorchReviver


class Attached:
    """Starts a :class:`TorchReviver` on each model once an optimizer has stepped its parameters for the first time.

    The models of an optimizer are the outermost modules called in training that have one of its parameters.

    Args:
        make: creates the reviver of a model and its optimizer.
    """

    def __init__(self, make: Callable[[nn.Module, Optimizer], TorchReviver]) -> None:
        self._make = make
        self._met: dict[int, nn.Module] = {}
        self._known: dict[int, weakref.ref[Optimizer]] = {}
        self._meeting: Any = None  # the hook that sees which modules are called
        self._handles: list[Any] = []
        self.revivers: list[TorchReviver] = []
        self.left: list[Edit] = []

    def start(self) -> None:
        """Begin with the next training step."""
        self._handles = [register_optimizer_step_post_hook(self._stepped)]
        self._meet()

    def stop(self) -> None:
        """Remove all hooks."""
        for handle in [*self._handles, *self.revivers]:
            handle.remove() if hasattr(handle, "remove") else handle.stop()
        self._handles = []
        self._part()

    def _meet(self) -> None:
        if self._meeting is None:
            self._meeting = register_module_forward_pre_hook(self._called)

    def _part(self) -> None:
        """Hooks on every module call cost time, and all optimizers are known."""
        if self._meeting is not None:
            self._meeting.remove()
            self._meeting = None
        self._met = {}

    def _called(self, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            return  # its compiled wrapper was met before, and is refused with the reason
        if module.training and torch.is_grad_enabled():
            self._met[id(module)] = module

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for reviver in self.revivers:
            reviver.stepped(optimizer)
        known = self._known.get(id(optimizer))
        if known is not None and known() is optimizer:
            return
        if self._meeting is None:  # a new one: its next step shows its models
            self._meet()
            return
        self._known[id(optimizer)] = weakref.ref(optimizer)
        for model in list(self._models_of(optimizer)):
            try:
                self.revivers.append(self._make(model, optimizer).start(hears_steps=False))
            except Exception as error:  # noqa: BLE001 - it is the user's training
                why = str(error) if isinstance(error, RelumeError) else f"{type(error).__name__}: {error}"
                self.left.append(Edit(type(model).__name__, (), why))
        self._part()

    def _models_of(self, optimizer: Optimizer) -> Iterator[nn.Module]:
        inner = {id(part) for module in self._met.values() for part in module.modules() if part is not module}
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        attended = {id(reviver.model) for reviver in self.revivers}
        for module in self._met.values():
            if id(module) not in inner | attended and any(id(p) in held for p in module.parameters()):
                yield module

    def changed(self) -> list[dict[str, Any]]:
        """What was revived: step, place, units."""
        return [
            {"step": step, "place": edit.place, "units": list(edit.units), "what": "revived"}
            for reviver in self.revivers
            for step, change in reviver.changes
            for edit in change.changed
        ]

    def all_left(self) -> list[dict[str, Any]]:
        """What could not be revived, and why."""
        edits = [*self.left]
        for reviver in self.revivers:
            edits += [Edit(place, units, why) for (place, units), why in reviver.left.items()]
            why = reviver.fault or reviver.too_early
            edits += [Edit(type(reviver.model).__name__, (), why)] if why else []
        if not self.revivers and not self.left:
            edits.append(Edit("the whole run", (), "no optimizer of torch.optim stepped a model's parameters"))
        return [{"place": edit.place, "units": list(edit.units), "what": edit.what} for edit in edits]

"""The treatments other than activations: rates, gradients, start, input, revived units."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from relume.artifacts.swap_plan import FirstLayer
from relume.artifacts.treatments import sentence
from relume.artifacts.trial import Contender
from relume.torch.surgery.attached import Attached
from relume.torch.surgery.verbs import reviver
from relume.torch.treatment.births import WeakModules
from relume.torch.treatment.inputs import normalize
from relume.watching.patches import Patches


class Remedies:
    """The treatments of ``TREATMENTS`` in one process, together.

    Args:
        contenders: the treatments. ``inputs``: the layers for ``normalize``, found by a survey.

    Attributes:
        factor: multiplies the rates, in :class:`~relume.torch.treatment.rates.OptimizerSteps`. ``warmup``: its steps.
        done: what is done to the whole training, a sentence each.
        attached: the revivers, None if nothing is revived.
    """

    def __init__(self, contenders: Sequence[Contender], inputs: Sequence[FirstLayer] = ()) -> None:
        self._inputs = inputs
        self._by_name = {contender.treatment: contender.parameters for contender in contenders}
        self.factor = float(self._by_name.get("lr", {}).get("factor", 1.0))
        self.warmup = int(self._by_name.get("warmup", {}).get("steps", 0))
        self.done = [sentence(c.treatment, c.parameters) for c in contenders if c.treatment != "revive"]
        self.attached: Attached | None = None
        self.notes: list[str] = []
        self._layers = WeakModules()
        self._drawn: set[int] = set()

    def start(self, patches: Patches) -> None:
        """Start treating the process; ``OptimizerSteps`` changes the rates."""
        if "clip" in self._by_name:
            patches.on_undo(register_optimizer_step_pre_hook(self._clip).remove)
        if "no_decay" in self._by_name:
            patches.on_undo(register_optimizer_step_pre_hook(_spare).remove)
        if "init" in self._by_name:
            self._hear_layers(patches)
        if "normalize" in self._by_name:
            normalize(self._inputs, patches)
            if not self._inputs:
                self._note("no network takes its data in a linear layer or a convolution, so nothing was normalized")
        if "revive" in self._by_name:
            options = dict(self._by_name["revive"])
            rule, every = str(options.pop("rule")), int(options.pop("every"))
            self.attached = Attached(lambda model, optimizer: reviver(model, optimizer, rule, options, every))
            self.attached.start()
            patches.on_undo(self.attached.stop)

    def _clip(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if len(args) > 1 or kwargs.get("closure"):
            self._note("an optimizer step with a closure computes its own gradients, which were not clipped")
            return
        held = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(held, self._by_name["clip"]["norm"])

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _hear_layers(self, patches: Patches) -> None:
        """Draws each layer's weights again when the first optimizer takes them."""
        add, draw = self._layers.add, self._draw

        def layer_made(original: Any) -> Any:
            @functools.wraps(original)
            def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
                original(self, *args, **kwargs)
                add(self)

            return init

        for kind in (nn.Linear, _ConvNd):
            patches.put(kind, "__init__", layer_made(kind.__init__))
        made = Optimizer.__init__

        @functools.wraps(made)
        def optimizer_made(self: Optimizer, *args: Any, **kwargs: Any) -> None:
            made(self, *args, **kwargs)
            draw(self)

        patches.put(Optimizer, "__init__", optimizer_made)

    def _draw(self, optimizer: Optimizer) -> None:
        order = {id(p): place for place, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
        layers = [layer for layer in self._layers if id(layer) not in self._drawn and id(layer.weight) in order]
        for layer in sorted(layers, key=lambda layer: order[id(layer.weight)]):
            self._drawn.add(id(layer))
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _spare(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Before each step, as a schedule may set the weight decay again."""
    for group in optimizer.param_groups:
        if group.get("weight_decay"):
            group["weight_decay"] = 0.0

"""The :class:`~relume.framework.Surgery` of PyTorch: a module with its verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from relume.torch.surgery.certify import certify as certify
from relume.torch.surgery.prune import prune as prune
from relume.torch.surgery.refusals import refuse_model as refuse_model
from relume.torch.surgery.revive import revive as revive
from relume.torch.surgery.revive import revive_at as revive_at
from relume.torch.surgery.reviver import TorchReviver
from relume.torch.surgery.scores import ContinualBackprop, Gaps, ReDo, Score
from relume.torch.surgery.swap import swap as swap


def reviver(model: Any, optimizer: Any, rule: str, options: Mapping[str, float], every: int) -> TorchReviver:
    """Make what :class:`relume.Reviver` stands on."""

    def make(units: int, device: torch.device) -> Score:
        if rule == "redo":
            return ReDo(options["tau"])
        if rule == "continual_backprop":
            return ContinualBackprop(units, device, options["rate"], int(options["maturity"]), options["decay"])
        return Gaps(units, device, options["false_resets"])

    return TorchReviver(model, optimizer, make, every)

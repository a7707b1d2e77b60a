"""The losses that take a network's output, and softmax, which some of them apply themselves: tables, no behavior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # the field's name for it
from torch import Tensor

from relume.artifacts.recording import LOSSES

LOSS_CALLS: dict[Callable[..., Any], int] = {getattr(F, name): number for number, name in enumerate(LOSSES)}
"""A loss → its number in ``LOSSES``."""

SOFTMAX_CALLS = frozenset((F.softmax, torch.softmax, Tensor.softmax))

UNFIT = {name: ("relu", "relu6", "softmax") if name == "cross_entropy" else ("relu", "relu6") for name in LOSSES}
"""A loss's name → the activations that do not belong on its input."""

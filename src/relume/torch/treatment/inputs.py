"""The input of a network's first layer: which layer that is, found by a survey, and its normalization in a trial."""

from __future__ import annotations

import sys
from collections.abc import Collection
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from relume.artifacts.swap_plan import Birth, FirstLayer, Spot
from relume.torch.treatment.births import Births, WeakModules, birth_of
from relume.torch.treatment.routes import spot_of
from relume.torch.watching.where import places
from relume.watching.patches import Patches

LAYERS = frozenset({F.linear, torch.conv1d, torch.conv2d, torch.conv3d})
"""The calls of the layers whose input can be normalized."""

_NORMS = {nn.Linear: nn.BatchNorm1d, nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}
_NAME = "relume_norm"


class FirstLayers:
    """The first layer of each network that is called, while a survey runs."""

    def __init__(self) -> None:
        self._made: dict[Birth, Spot] = {}
        self._seen: set[int] = set()  # ids of weights
        self._roots = WeakModules()
        self._found: dict[Birth, str] = {}

    def met(self, module: nn.Module) -> None:
        """A module begins to be: keep where a layer is made."""
        if (birth := birth_of(module)) is not None and _norm_of(module) is not None:
            frame: FrameType | None = sys._getframe(1)
            while frame is not None and frame.f_code.co_name != "__init__":
                frame = frame.f_back
            while frame is not None and frame.f_locals.get("self") is module:
                frame = frame.f_back
            if frame is not None:
                self._made[birth] = spot_of(frame.f_code, frame.f_lasti)

    def called(self, x: Any, weight: Any, frame: FrameType) -> None:
        """A layer is called; it is the first of its network if no other was called there before."""
        if id(weight) in self._seen:
            return
        self._seen.add(id(weight))
        root = places.root(frame)
        if root is None or any(root is other for other in self._roots):
            return
        self._roots.add(root)
        layer = next(
            (each for each in root.modules() if each.__dict__.get("_parameters", {}).get("weight") is weight), None
        )
        norm = None if layer is None else _norm_of(layer)
        birth = birth_of(layer)
        if birth is None or norm is None or not isinstance(x, Tensor) or x.requires_grad:
            return
        if x.ndim == (2 if isinstance(layer, nn.Linear) else weight.ndim):
            self._found[birth] = norm.__name__

    def found(self) -> tuple[FirstLayer, ...]:
        """Each with whether its place in the source makes only first layers."""
        others = {spot for birth, spot in self._made.items() if birth not in self._found}
        spots = {birth: self._made.get(birth, ("", 0, 0, 0, 0)) for birth in self._found}
        return tuple(FirstLayer(b, spots[b], norm, spots[b] not in others) for b, norm in self._found.items())


def normalize(layers: Collection[FirstLayer], patches: Patches) -> None:
    """Put a BatchNorm without scale and shift before each of these layers as soon as it is made."""
    births = {each.layer for each in layers}
    kinds = {birth.kind for birth in births}

    def made(module: nn.Module) -> None:
        norm = _norm_of(module)
        if birth_of(module) in births and norm is not None:
            module.add_module(_NAME, norm(module.weight.shape[1], affine=False))
            module.register_forward_pre_hook(_normalized)

    Births(kinds, kinds, made).start(patches)


def _norm_of(module: nn.Module) -> Any:
    if isinstance(module, _ConvNd) and module.__dict__.get("groups", 1) != 1:
        return None
    return next((norm for kind, norm in _NORMS.items() if isinstance(module, kind)), None)


def _normalized(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    return (getattr(module, _NAME)(inputs[0]), *inputs[1:])

"""What ``relume.tap`` is given: whether it fits, and as entries of a code."""

from __future__ import annotations

from types import FrameType
from typing import Any

import torch
from torch import Tensor

from relume.framework import Look
from relume.torch.watching.calls.codes import CODE
from relume.torch.watching.units.axes import Tag
from relume.torch.watching.units.following import is_countable
from relume.torch.watching.where import places
from relume.torch.watching.where.naming import CallSite
from relume.torch.watching.where.sites import Sites, WatchedSite


class Tapped:
    """The sites of ``relume.tap``, by their names and numbers of units."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._known: dict[tuple[str, int], WatchedSite] = {}

    def take(self, name: str, values: Any, indices: Any, units: Any, frame: FrameType) -> None:
        """Count what a call of the script shows, or say why it is not counted."""
        place = places.find(frame)
        if not self._sites.fits_phase(place.module) or (isinstance(values, Tensor) and not is_countable(values)):
            return
        if why := unfit(values, indices, units):
            self._sites.say(f"relume.tap({name!r})", place, why)
            return
        tag = Tag(values.ndim - 1, values.shape[-1] if indices is None else units)
        site = self._known.get((name, tag.units)) or self._meet(name, tag, place)
        if site.clock.look is Look.OFF:
            return
        if indices is None:
            site.accumulator.output(values, tag, site.clock.step)
            return
        samples = values.numel() // max(values.shape[-1], 1)
        site.accumulator.selected(*entries(values, indices, units), samples, site.clock.step)

    def _meet(self, name: str, tag: Tag, place: places.Place) -> WatchedSite:
        file, line, _ = places.source(place.frame)
        where = CallSite(None, "", name, "relume.tap", file, line)
        site = self._known[name, tag.units] = self._sites.new_site(CODE, where, tag, assumed=False, slope=None)
        self._sites.outside_modules |= not places.is_in_a_call(place.frame)
        return site


_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def unfit(values: Any, indices: Any, units: Any) -> str:
    """Why what was tapped is not counted, "" if it is."""
    if not isinstance(values, Tensor) or not isinstance(indices, Tensor | None):
        kinds = type(values).__name__, type(indices).__name__
        return f"relume.tap got a {kinds[0]} and a {kinds[1]}; expected tensors of PyTorch"
    if not values.ndim or values.is_complex() or values.layout is not torch.strided:
        return f"relume.tap got values of shape {tuple(values.shape)} ({values.dtype}, {values.layout})"
    got = f"relume.tap got values of shape {tuple(values.shape)}"
    if indices is None:
        return "" if units in (None, values.shape[-1]) else f"{got} without indices, and units={units!r}"
    if type(units) is not int or units < 1:
        return f"relume.tap got units={units!r} with indices; expected the number of units"
    if indices.shape != values.shape or indices.dtype not in _INTEGERS:
        return f"{got} and indices of shape {tuple(indices.shape)} ({indices.dtype}); expected integers of one shape"
    if indices.is_cpu and indices.numel() and int(indices.max()) >= units:  # on a device a look would wait for it
        return f"relume.tap got the index {int(indices.max())} for {units} units"
    return ""


def entries(values: Tensor, indices: Tensor, units: int) -> tuple[Tensor, Tensor]:
    """(units, values) of the entries that count: those outside of [0, units) become zeros of unit 0."""
    counts = (indices >= 0) & (indices < units)
    return (indices * counts).long(), values.detach() * counts

"""Target copies: a network that nothing trains and whose weights come from one that is trained.

The target network of a DQN, an exponential moving average, a teacher: they die as their source does, and are counted
there once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from relume.torch.watching.schedule.clocks import Clocks

if TYPE_CHECKING:
    from relume.torch.watching.where.sites import WatchedSite

Places = Mapping[tuple[Any, ...], "WatchedSite | None"]


_MOST_SOURCES = 8
"""Trained layers of the same shape and name that are compared: twin critics have two."""


class Copies:
    """Finds the sites that another one may be a copy of: the same call of the same layer in another network."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._sources: dict[int, tuple[tuple[int, int], list[WatchedSite]]] = {}

    def compare(self, site: WatchedSite, layer: Tensor, places: Places) -> None:
        """Compare at a look the weights of a layer that nothing trains with those of trained ones."""
        version = (len(places), len(self._clocks.by_optimizer))
        known = self._sources.get(site.number)
        if known is None or known[0] != version:
            known = self._sources[site.number] = (version, self._candidates(site, layer, places))
        trained = [(source.layer, source.number) for source in known[1] if source.layer is not None]
        if trained:
            site.statistics.compare(layer, trained)

    def _candidates(self, site: WatchedSite, layer: Tensor, places: Places) -> list[WatchedSite]:
        place = next((place for place, known in places.items() if known is site), None)
        found = []
        for other, source in places.items():
            if place is None or source is None or source is site or not _are_alike(place, other):
                continue
            weight = source.layer
            if weight is not None and weight.shape == layer.shape and weight.device == layer.device:
                found += [source] if self._clocks.group_of(weight) is not None else []
        return found[:_MOST_SOURCES]


def _are_alike(place: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two places are one instruction, behind layers of one name (``fc1.weight``), in two networks."""
    (*_, layer), (*_, its) = place, other
    if place[-4:-1] != other[-4:-1] or not isinstance(layer, str) or not isinstance(its, str):
        return False
    return layer.rsplit(".", 2)[-2:] == its.rsplit(".", 2)[-2:]

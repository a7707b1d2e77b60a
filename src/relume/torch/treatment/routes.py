"""Which place of the script a call comes from, and whether it is replaced."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from torch import nn

from relume.artifacts.swap_plan import Spot, SwapPlan, SwapSite
from relume.torch.treatment.births import birth_of
from relume.torch.watching.where import places
from relume.treatment.calls import OF_KERAS

_RESUMED = "torch_dynamo_resume_in"
_NOWHERE: Spot = ("", 0, 0, 0, 0)


@dataclass
class Route:
    """The decision on one place. ``sites`` are those of the plan, several if layers share a call.

    ``module`` finds the calling module, None without one.
    """

    swapped: bool
    sites: Sequence[SwapSite] = ()
    module: Callable[[], nn.Module | None] = lambda: None
    alone: bool = False
    spot: Spot = _NOWHERE


class Routes:
    """Finds the route of a call from its frames; the second time by two ids, in a method without a search."""

    def __init__(self, plan: SwapPlan, chosen: Sequence[SwapSite], unknown: bool) -> None:
        """Read the plan; ``unknown``: whether a place outside it is replaced."""
        self._chosen = {site.key for site in chosen}
        self._unknown = unknown
        self._by_place: dict[Any, list[SwapSite]] = {}
        for site in plan.sites:
            self._by_place.setdefault((site.owner, site.spot), []).append(site)
            self._by_place.setdefault(("", site.spot), []).append(site)
        owned = [site for site in plan.sites if site.alone and site.owner is not None]
        self._alone = {site.owner: [site] for site in owned if sum(other.owner == site.owner for other in owned) == 1}
        self._known: dict[tuple[int, int, int], tuple[Any, CodeType, Route]] = {}
        self._methods: dict[int, CodeType] = {}  # the script's own that apply activations themselves

    def at(self, frame: FrameType) -> Route:
        """The route of the current call, from the nearest frame outside relume."""
        code = frame.f_code
        if self._methods.get(id(code)) is code:
            route = self._known_as(_self_of(frame), code, frame.f_lasti)
            if route is not None:
                return route
        return self._found(frame)

    def _found(self, frame: FrameType) -> Route:
        place = resumed(places.find(frame))
        code = place.code
        route = self._known_as(place.module, code, place.instruction)
        if route is None:
            route = self.of(place, spot_of(code, place.instruction))
            self._known[id(place.module), id(code), place.instruction] = (route.module, code, route)
            if place.frame is frame and code.co_argcount and code.co_varnames[0] == "self":
                self._methods[id(code)] = code
        return route

    def _known_as(self, module: Any, code: CodeType, instruction: int) -> Route | None:
        known = self._known.get((id(module), id(code), instruction))
        return known[2] if known is not None and known[1] is code and known[0]() is module else None

    def of(self, place: places.Place, spot: Spot) -> Route:
        """The route of a new place."""
        sites = self._by_place.get((birth_of(place.module), spot))
        if sites is None and place.alone:  # called from elsewhere
            sites = self._alone.get(birth_of(place.module))
        if sites is None:  # in a module that the survey did not see, such as one of another width
            sites = self._by_place.get(("", spot), [])
        unknown = self._unknown and not spot[0].startswith(OF_KERAS)
        swapped = any(site.key in self._chosen for site in sites) if sites else unknown
        module = _nothing if place.module is None else weakref.ref(place.module)
        return Route(swapped, sites, module, place.alone, spot)


def local_of(code: CodeType) -> str:
    """The local that may hold a method's module: the first one, or ``self`` if dynamo has split the code."""
    return "self" if code.co_name.startswith(_RESUMED) else code.co_varnames[0] if code.co_varnames else ""


def _self_of(frame: FrameType) -> Any:
    frame_locals = frame.f_locals
    own = frame_locals.get("self")
    if type(frame_locals) is dict:  # before Python 3.13 it is a copy that keeps the script's tensors alive
        frame_locals.clear()
    return own


def resumed(place: places.Place) -> places.Place:
    """The place, with its module if dynamo has split the code off a method."""
    if place.module is not None or not place.code.co_name.startswith(_RESUMED):
        return place
    module = place.frame.f_locals.get("self")
    return place._replace(module=module) if isinstance(module, nn.Module) else place


def spot_of(code: CodeType, instruction: int) -> Spot:
    """The position of an instruction in its source file, the same in code that dynamo has rewritten."""
    for at, (line, end_line, column, end_column) in enumerate(_positions(code)):
        if at == instruction // 2:
            # without columns (python -X no_debug_ranges) the instruction distinguishes the calls of a line
            found = (line or 0, end_line or 0, instruction if column is None else column, end_column or 0)
            return (places.shown_path(code.co_filename), *found)
    return _NOWHERE


def _positions(code: CodeType) -> Iterator[tuple[int | None, int | None, int | None, int | None]]:
    return iter(code.co_positions())


def _nothing() -> None:
    return None

"""The cheapest way to look: PyTorch's global forward hook, which counts what known activation modules give.

It serves if each known site is a module of its own (``nn.ReLU`` and its kin, each called at one place). Nothing is
put on the user's modules, and nothing else of the forward pass is seen. It is written flat: in a training step most of
the time goes into code that has left the caches.
"""

from __future__ import annotations

import sys
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules import module as modules

from relume.torch.watching import places
from relume.torch.watching.sites import Meeting, is_countable

if TYPE_CHECKING:
    from relume.torch.watching.mode import Keeper

_CALLED_NS = 1_500  # what each module's call pays while there is a global hook (measured: 1.5 µs)
_DEEPEST = 6  # frames from a hook to the call of its module


class LeanHook:
    """Counts the calls of the sites' modules from :meth:`enter` to :meth:`leave`."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._known: dict[int, Meeting] = {}
        self._made_for = -1
        self._visited: set[int] = set()
        self._opened_at = 0
        self._depth = 0  # frames from here to the caller, as found the last time
        self._own = 0
        self._calls = 0

    @property
    def cost(self) -> int:
        """Nanoseconds of own work so far."""
        return self._own + _CALLED_NS * self._calls

    def may_serve(self) -> bool:
        """Whether each known site is a module of its own."""
        sites = self._keeper.sites
        if self._made_for != sites.met:
            self._made_for = sites.met
            self._known = {id(met.module): met for met in sites.modules_alone()}
        return bool(self._known)

    def open(self) -> None:
        """Begin a row of looks."""
        self._opened_at = self.cost
        self._visited.clear()

    def enter(self) -> None:
        """Into PyTorch's hooks; theirs have numbers for keys."""
        modules._global_forward_hooks[self] = self._called  # type: ignore[index]

    def leave(self) -> None:
        """Out of them."""
        modules._global_forward_hooks.pop(self, None)  # type: ignore[call-overload]

    def _called(self, module: nn.Module, args: Any, y: Any) -> None:
        self._calls += 1
        met = self._known.get(id(module))
        if met is None:
            return
        began = perf_counter_ns()
        try:
            self._count(met, module, args, y)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._keeper.fail(error)
        self._own += perf_counter_ns() - began

    def _count(self, met: Meeting, module: nn.Module, args: Any, y: Any) -> None:
        keeper, site = self._keeper, met.site
        if site is None or met.module is not module or not keeper.is_here() or not is_countable(y):
            return
        if not keeper.sites.fits_phase(module):
            return
        if (y.shape != met.shape and not met.fits(y)) or not self._is_called_at(met.at):
            keeper.sites.meet_stranger()
            return
        if site.number in self._visited and self.cost - self._opened_at > keeper.look_cap:
            keeper.visited_again()
        self._visited.add(site.number)
        site.count(args[0], y, met.tag)

    def _is_called_at(self, at: tuple[Any, int]) -> bool:
        """Whether the module's call stands at this code and instruction."""
        if self._depth:
            frame = sys._getframe(self._depth)
            if frame.f_code is at[0] and frame.f_lasti == at[1]:
                return True
        start = sys._getframe(1)
        for depth in range(2, 2 + _DEEPEST):
            frame = sys._getframe(depth)
            if (frame.f_code, frame.f_lasti) == at and places.caller(start) == at:
                self._depth = depth
                return True
        return False

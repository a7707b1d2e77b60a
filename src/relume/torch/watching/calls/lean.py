"""The cheapest way to look: PyTorch's global forward hook, which counts what known activation modules give.

It serves if each known site is a module of its own (``nn.ReLU`` and its kin, each called at one place). Nothing is
put on the user's modules, and nothing else of the forward pass is seen. It is written flat: in a training step most of
the time goes into code that has left the caches.
"""

from __future__ import annotations

import sys
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules import module as modules

from relume.framework import now_ns
from relume.torch.watching.units.following import is_countable
from relume.torch.watching.where import places
from relume.torch.watching.where.known_calls import KnownCall
from relume.torch.watching.where.sites import WatchedSite

if TYPE_CHECKING:
    from relume.torch.watching.probe import TorchProbe

_CALLED_NS = 1_500  # what each module's call pays while there is a global hook (measured: 1.5 µs)


class LeanHook:
    """Counts the calls of the sites' modules from :meth:`enter` to :meth:`leave`."""

    def __init__(self, probe: TorchProbe) -> None:
        self._probe = probe
        self._known: dict[int, KnownCall] = {}
        self._made_for = -1
        self._visited: set[WatchedSite] = set()
        self._guard = probe.guarded
        self._opened_at = 0
        self._depth = 0  # frames from here to the caller, as found the last time
        self._thread = 0
        self._fits = probe.sites.fits_phase

    def may_serve(self) -> bool:
        """Whether each known site is a module of its own."""
        sites = self._probe.sites
        if self._made_for != sites.met:
            self._made_for = sites.met
            self._known = {id(met.module): met for met in sites.modules_alone()}
        return bool(self._known)

    def open(self) -> None:
        """Begin a row of looks."""
        self._opened_at, self._thread = self._guard.cost, get_ident()
        self._visited.clear()

    def enter(self) -> None:
        """Into PyTorch's hooks; theirs have numbers for keys."""
        modules._global_forward_hooks[self] = self._called

    def leave(self) -> None:
        """Out of them."""
        modules._global_forward_hooks.pop(self, None)

    def _called(self, module: nn.Module, args: Any, y: Any) -> None:
        self._guard.cost += _CALLED_NS
        met = self._known.get(id(module))
        if met is None:
            return
        began = now_ns()
        try:
            if met.module is module and get_ident() == self._thread and is_countable(y) and self._fits(module):
                self._count(met, args, y)
        except Exception as error:  # noqa: BLE001 - the training continues after any error
            self._probe.fail(error)
        self._guard.cost += now_ns() - began

    def _count(self, met: KnownCall, args: Any, y: Any) -> None:
        site = met.site
        if site is None:
            return
        if (y.shape != met.shape and not met.fits(y)) or not self._is_called_at(met.at):
            self._probe.sites.meet_unknown()
            return
        if site in self._visited and self._guard.cost - self._opened_at > self._probe.look_cap:
            self._probe.visited_again()
        self._visited.add(site)
        step = site.clock.step
        site.accumulator.input(args[0], met.tag, step)
        site.accumulator.output(y, met.tag, step)

    def _is_called_at(self, at: tuple[Any, int]) -> bool:
        """Whether the module's call stands at this code and instruction; remembers how deep its frame is."""
        try:
            frame = sys._getframe(self._depth)
        except ValueError:  # the stack is not as deep as before
            frame = sys._getframe(0)
        if frame.f_lasti == at[1] and frame.f_code is at[0]:
            return True
        if places.caller(sys._getframe(1)) != at:
            return False
        found: FrameType | None = sys._getframe(0)
        self._depth = 0
        while found is not None and (found.f_code, found.f_lasti) != at:
            found, self._depth = found.f_back, self._depth + 1
        return True

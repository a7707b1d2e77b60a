"""The cheapest way to look: hooks on the activation modules themselves, while an outermost module is called.

It serves where each known site is a module of its own (``nn.ReLU`` and its kin, each called at one place): nothing
else of the forward pass need be seen then. The hooks lie among the modules' own and are gone when the call is over.
"""

from __future__ import annotations

import sys
from time import perf_counter_ns
from typing import Any

from torch import nn

from relume.torch.watching import places
from relume.torch.watching.following import is_countable
from relume.torch.watching.meeting import Meeting
from relume.torch.watching.mode import LOOK_CAP_NS, Keeper

_CALLED_NS = 2_000  # what a module pays for having a hook at all


class Hooks:
    """Sees the calls of the sites' modules from :meth:`enter` to :meth:`leave`, as the eye sees all calls."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.cost = 0
        self._opened_at = 0
        self._hooks: list[SiteHook] = []
        self._made_for = -1
        self._there = False

    def may_serve(self) -> bool:
        """Whether each known site is a module of its own; makes the hooks where it is."""
        sites = self.keeper.sites
        if self._made_for != sites.met:
            self._made_for = sites.met
            self._hooks = [SiteHook(self, met) for met in sites.modules_alone()]
        return bool(self._hooks)

    def open(self) -> None:
        """Begin a look."""
        self._opened_at = self.cost
        for hook in self._hooks:
            hook.called = False

    def enter(self) -> None:
        """Onto the modules that are still alive."""
        self._there = True
        for hook in self._hooks:
            module = hook.met.module
            if module is not None:
                module._forward_pre_hooks[self] = hook.before  # PyTorch's own keys are numbers
                module._forward_hooks[self] = hook.after

    def leave(self) -> None:
        """Off them."""
        if not self._there:
            return
        self._there = False
        for hook in self._hooks:
            module = hook.met.module
            if module is not None:
                module._forward_pre_hooks.pop(self, None)
                module._forward_hooks.pop(self, None)

    def is_dear(self) -> bool:
        """Whether this look has cost much."""
        return self.cost - self._opened_at > LOOK_CAP_NS


class SiteHook:
    """Counts the calls of one module."""

    def __init__(self, hooks: Hooks, met: Meeting) -> None:
        assert met.site is not None
        self.met = met
        self.called = False
        self._hooks = hooks
        self._site = met.site
        self._counts = False

    def before(self, module: nn.Module, args: Any) -> None:
        """The module's call begins; an in-place one will write over its argument."""
        began = perf_counter_ns()
        self._counts = False
        try:
            self._counts = self._count(module, args[0] if args else None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._hooks.keeper.fail(error)
        self._hooks.cost += perf_counter_ns() - began + _CALLED_NS

    def after(self, module: nn.Module, args: Any, out: Any) -> None:
        """It ends."""
        began = perf_counter_ns()
        try:
            if self._counts:
                self._site.accumulator.after(out.detach(), self.met.tag)
        except Exception as error:  # noqa: BLE001 - as above
            self._hooks.keeper.fail(error)
        self._hooks.cost += perf_counter_ns() - began + _CALLED_NS

    def _count(self, module: nn.Module, x: Any) -> bool:
        met, keeper = self.met, self._hooks.keeper
        if not keeper.is_here() or not is_countable(x) or not keeper.sites.fits_phase(module):
            return False
        if x.ndim != met.ndim or x.shape[met.tag.axis] != met.size or places.caller(sys._getframe(2)) != met.at:
            keeper.sites.strangers = True
            return False
        if not self._site.clock.looking:
            return False
        if self.called and self._hooks.is_dear():
            keeper.weary()
        self.called = True
        self._site.count(x, met.tag)
        return True

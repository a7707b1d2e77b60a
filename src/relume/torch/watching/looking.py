"""When the eye is on the stack: while modules with sites are called, in a step that is looked at, and no longer.

What a script does besides (reading data, its loss, its optimiser's arithmetic, an evaluation) makes hundreds of calls
of PyTorch's API, and each would pay for passing through the mode. So the first looks are wide, from the first forward
to the optimiser's step; those that follow are narrow, each call of an outermost module, until they meet something that
no wide look has seen. A narrow look needs no mode where each site is a module of its own: hooks on these serve. A
script that applies activations outside of modules is looked at widely always.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from torch import nn
from torch.nn.modules import module as modules
from torch.nn.modules.loss import _Loss

from relume.torch.watching import places
from relume.torch.watching.hooked import Hooks
from relume.torch.watching.mode import Eye, Keeper

_FIRST_WIDE = 1  # looks, before the first narrow one
_WIDE_EARLY = (4, 8)  # too: only wide looks show why a unit dies, and short runs have no more than 15
_WIDE_AGAIN = 16  # and one of so many later: a part of a network may come late


def compiles() -> bool:
    """Whether the script has compiled something: compiled modules warn of every global hook.

    Every optimiser loads dynamo, with a backend None; only ``torch.compile`` gives it another.
    """
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is None:
        return False
    backends = getattr(dynamo, "cached_backends", None)
    return backends is None or any(backend is not None for backend in backends.values())


class Looking:
    """Puts the eye on one thread's stack and takes it off again; ``thorough``: every look is a wide one."""

    def __init__(self, keeper: Keeper, thorough: bool) -> None:
        self.eye = Eye(keeper)
        self._hooks = Hooks(keeper)
        self._way: Eye | Hooks = self.eye
        self._sites = keeper.sites
        self._fail = keeper.fail
        self._thorough = thorough
        self._cost = 0
        self.on = False  # a look is under way
        self._eager = True  # enter without waiting for a module: the script may have none
        self._narrow = False
        self._looks = 0
        self._wide_left = self._widened = _FIRST_WIDE
        self._hidden = False
        self._leaving = False
        self._hooked: tuple[dict[Any, Any], ...] = ()  # where this looking is a key; PyTorch's own handles cost more
        self._thread = threading.get_ident()

    def take_thread(self) -> None:
        """Look at the calling thread from now on."""
        self._thread = threading.get_ident()

    def is_here(self) -> bool:
        """Whether the calling thread is the one that is looked at."""
        return threading.get_ident() == self._thread

    # ---- a look -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A looked-at step begins."""
        self.on = True
        self._leaving = False
        self._narrow = self._sites.known_only = self._may_be_narrow()
        self._way = self._hooks if self._narrow and self._hooks.may_serve() else self.eye
        self._way.open()
        if self._eager:
            self.eye.enter()
        self._arm()

    def go_on(self) -> None:
        """A further look in a row, like the one before."""
        if self._sites.strangers:
            self.begin()
            return
        self._leaving = False
        self._way.open()
        self._arm()

    def end(self) -> None:
        """It is over."""
        self.on = self._hidden = False
        self._disarm()
        self._hooks.leave()
        if self.is_here():
            self.eye.shut()
        else:
            self.eye.blind()  # another thread's stack is out of reach; there the mode only passes calls on

    def _may_be_narrow(self) -> bool:
        """Wide looks are the first, two early ones, every 16th, and ever more after each new thing that is met."""
        self._looks += 1
        if self._sites.strangers:
            self._sites.strangers = False
            self._widened *= 2
            self._wide_left = self._widened
        self._wide_left -= 1
        again = self._wide_left >= 0 or self._looks in _WIDE_EARLY or self._looks % _WIDE_AGAIN == 0
        wide = self._thorough or self._eager or again or self._sites.outside_modules
        return not wide and not compiles()

    def widen(self) -> None:
        """Something new is near: this look and the next are wide."""
        self._wide_left = max(self._wide_left, _FIRST_WIDE)
        if self.on and self._narrow:
            self.end()
            self.begin()

    @property
    def cost(self) -> int:
        """Nanoseconds of own work so far."""
        return self._cost + self.eye.cost + self._hooks.cost

    def rest(self) -> None:
        """An optimiser's step begins: nothing to be seen until the next forward."""
        self.eye.look_up()
        self._way.leave()
        self._disarm()

    def resume(self) -> None:
        """It is over, and the step goes on."""
        if not self._leaving:
            self._arm()

    def weary(self) -> None:
        """End the look before the step's next forward: it has cost much. A mode cannot leave from inside itself.

        What is asked for exactly (``--every K``) is the same on every run, however slow the machine is.
        """
        if self._leaving or self._thorough:
            return
        self._leaving = True
        if self._narrow:
            return
        self._disarm()
        if compiles():
            self.eye.blind()
            return
        self._hook_up(self._leave)

    # ---- the next module's call -------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Enter at the next module's call; at once where a compiled module would warn of the hook."""
        if compiles():
            self.eye.enter()
        elif not self._hooked:
            self._hook_up(self._enter)

    def _hook_up(self, react: Callable[[nn.Module], None]) -> None:
        self._react = react
        modules._global_forward_pre_hooks[self] = self._module_called  # theirs are numbers
        self._hooked = (modules._global_forward_pre_hooks,)

    def _module_called(self, module: nn.Module, args: Any) -> None:
        began = perf_counter_ns()
        try:
            self._react(module)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._fail(error)
        self._cost += perf_counter_ns() - began

    def compiling(self) -> None:
        """The script compiles something: no hook may be left for its call."""
        if self._hooked:
            self._disarm()
            self._way.leave()
            self._arm()

    def _disarm(self) -> None:
        for hooks in self._hooked:
            hooks.pop(self, None)
        self._hooked = ()

    def _enter(self, module: nn.Module) -> None:
        if isinstance(module, _Loss) or not self.is_here() or not self._sites.fits_phase(module):
            return
        self._disarm()
        self._eager = False
        self._sites.scripted(module)
        self._way.enter()
        if self._narrow:
            self._hooked = (module._forward_hooks, module._forward_hooks_always_called)
            module._forward_hooks[self] = self._called
            module._forward_hooks_always_called[self] = True

    def _called(self, module: nn.Module, args: Any, output: Any) -> None:
        """The outermost module has been called: away until the next one."""
        began = perf_counter_ns()
        try:
            self._disarm()
            self._way.leave()
            if self.on and not self._leaving:
                self._arm()
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._fail(error)
        self._cost += perf_counter_ns() - began

    def _leave(self, module: nn.Module) -> None:
        if self.is_here() and places.is_outermost_call(sys._getframe(1)):
            self._disarm()
            self.eye.leave()

    # ---- out of the way ---------------------------------------------------------------------------------------

    def hide(self) -> bool:
        """Take the eye off the stack while PyTorch must not see it; False where it was not there."""
        if not self.on or not self.is_here() or not self.eye.is_there():
            return False
        self.eye.leave()
        self._hidden = True
        return True

    def show(self) -> None:
        """Put it back after a :meth:`hide`."""
        if self._hidden and self.on and self.is_here():
            self.eye.enter()
        self._hidden = False

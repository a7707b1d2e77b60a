"""What is put where while a step is looked at, and taken away again: one object with named states.

What a script does besides its network's calls (reading data, its loss, its optimizer's arithmetic, an evaluation) makes
hundreds of calls of PyTorch's API, and each would pay for passing through the mode. So only a wide look keeps the mode
from the first forward to the optimizer's step. A lean look takes one of two ways: a global forward hook if each site is
a module of its own, or else the mode for the duration of each outermost module's call.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules import module as modules
from torch.nn.modules.loss import _Loss

from relume.framework import Look
from relume.torch.watching.calls.lean import LeanHook
from relume.torch.watching.calls.observer import CallObserver
from relume.torch.watching.where import places

if TYPE_CHECKING:
    from relume.torch.watching.probe import TorchProbe

LOOK_CAP_NS = 10_000_000
"""A look that has cost this much ends before the step's next forward: one step may hold a whole rollout."""


class State(Enum):
    """What the watched thread's calls meet."""

    OFF = "no hook and no mode of relume's"
    LEAN = "the global hook, or the mode inside modules' calls"
    WIDE = "the mode, from the first forward to the optimizer's step"
    HIDDEN = "nothing for the moment: PyTorch is about to do something that must not see the mode"
    ENDING = "nothing any more: the look was expensive, and its step continues"


def compiles() -> bool:
    """Whether the script has compiled something: compiled modules warn of every global hook.

    Every optimizer loads dynamo, with a backend None; only ``torch.compile`` gives it another.
    """
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is None:
        return False
    backends = getattr(dynamo, "cached_backends", None)
    return backends is None or any(backend is not None for backend in backends.values())


class Looking:
    """The looks at one thread; ``thorough``: a look omits nothing, at any cost."""

    def __init__(self, probe: TorchProbe, thorough: bool) -> None:
        self.state = State.OFF
        self._observer = CallObserver(probe)
        self._lean = LeanHook(probe)
        self._way: CallObserver | LeanHook = self._observer
        self.stays = False  # the mode is on the stack until an optimizer's step begins
        self._sites = probe.sites
        self._guarded = probe.guarded
        self._thorough = thorough
        self._before_hiding = State.OFF
        self._has_modules = False  # the script has called one; until then the mode does not wait for one
        self._hooked: tuple[dict[Any, Any], ...] = ()  # where this object is a key; PyTorch's own handles cost more
        self._react: Callable[[nn.Module], None] = self._enter
        self._thread = threading.get_ident()

    def take_thread(self) -> None:
        """Look at the calling thread from now on."""
        self._thread = threading.get_ident()

    def is_here(self) -> bool:
        """Whether the calling thread is the one that is looked at."""
        return threading.get_ident() == self._thread

    @property
    def has_mode(self) -> bool:
        """Whether the mode may be on the stack."""
        return self.state is not State.OFF and self._way is self._observer

    # ---- from look to look ------------------------------------------------------------------------------------

    def begin(self, look: Look) -> None:
        """Steps begin that are looked at like this; with ``Look.OFF`` the look ends."""
        lean = look is Look.LEAN
        self._sites.known_only = lean
        way = self._lean if lean and not compiles() and self._lean.may_serve() else self._observer
        if lean and self.state is State.LEAN and way is self._way:
            way.open()
            self.resume()
            return
        if self.state is State.LEAN and self._way is self._lean:
            self._lean.leave()
            self.state = State.OFF
        elif self.state is not State.OFF:
            self.end()
        if look is Look.OFF:
            return
        self.state, self._way = State.LEAN if lean else State.WIDE, way
        self.stays = way is self._observer and (not lean or self._sites.outside_modules or compiles())
        way.open()
        if way is self._lean:
            way.enter()
        else:
            self._go_on()

    def end(self) -> None:
        """Take away whatever is there."""
        self.state, self.stays = State.OFF, False
        self._unhook()
        self._lean.leave()
        if self.is_here():
            self._observer.shut()
        else:
            self._observer.blind()  # another thread's stack is out of reach; there the mode only passes calls on

    def rest(self) -> None:
        """An optimizer's step begins: nothing to be seen until the next forward."""
        self._observer.look_up()
        self._observer.leave()
        self._unhook()

    def resume(self) -> None:
        """The step is over, and the look continues."""
        if self.stays and self.state in (State.LEAN, State.WIDE):
            self._go_on()

    def _go_on(self) -> None:
        if not self._has_modules:
            self._observer.enter()
        self._wait_for_a_module()

    @property
    def cap(self) -> float:
        """Nanoseconds that a look may cost before it ends; what is asked for exactly (``--every K``) is never cut."""
        return math.inf if self._thorough else LOOK_CAP_NS

    def visited_again(self) -> None:
        """A further forward begins of a look that has cost too much: it ends."""
        if self.state not in (State.LEAN, State.WIDE):
            return
        self.state = State.ENDING
        self._lean.leave()
        self._unhook()
        if compiles():
            self._observer.blind()
        else:
            self._hook_up(self._leave)  # a mode cannot leave from inside itself

    # ---- the next module's call -------------------------------------------------------------------------------

    def _wait_for_a_module(self) -> None:
        """Enter at the next module's call; at once if a compiled module would warn of the hook."""
        if compiles():
            self._observer.enter()
        elif not self._hooked:
            self._hook_up(self._enter)

    def _hook_up(self, react: Callable[[nn.Module], None]) -> None:
        self._react = react
        modules._global_forward_pre_hooks[self] = self._module_called  # theirs are numbers
        self._hooked = (modules._global_forward_pre_hooks,)

    def _module_called(self, module: nn.Module, args: Any) -> None:
        self._guarded(self._react, module)

    def _unhook(self) -> None:
        for hooks in self._hooked:
            hooks.pop(self, None)
        self._hooked = ()

    def _enter(self, module: nn.Module) -> None:
        if isinstance(module, _Loss) or not self.is_here() or not self._sites.fits_phase(module):
            return
        self._unhook()
        self._has_modules = True
        self._sites.scripted(module)
        self._observer.enter()
        if not self.stays:
            self._hooked = (module._forward_hooks, module._forward_hooks_always_called)
            module._forward_hooks[self] = self._called
            module._forward_hooks_always_called[self] = True

    def _called(self, module: nn.Module, args: Any, output: Any) -> None:
        """The outermost module has been called: away until the next one."""
        self._guarded(self._leave_until_the_next)

    def _leave_until_the_next(self) -> None:
        self._unhook()
        self._observer.leave()
        if self.state is State.LEAN:
            self._wait_for_a_module()

    def _leave(self, module: nn.Module) -> None:
        if self.is_here() and places.is_outermost_call(sys._getframe(1)):
            self._unhook()
            self._observer.leave()

    # ---- out of the way ---------------------------------------------------------------------------------------

    def compiling(self) -> None:
        """The script compiles something: no hook may be left for its call."""
        if self.state in (State.LEAN, State.WIDE):
            self._lean.leave()
            self._unhook()
            self._observer.leave()
            self._wait_for_a_module()

    def hide(self) -> bool:
        """Take the mode off the stack while PyTorch must not see it; False if it was not there."""
        if self.state in (State.OFF, State.HIDDEN) or not self.is_here() or not self._observer.is_there():
            return False
        self._observer.leave()
        self._before_hiding, self.state = self.state, State.HIDDEN
        return True

    def show(self) -> None:
        """Put it back after a :meth:`hide`."""
        if self.state is State.HIDDEN and self.is_here():
            self.state = self._before_hiding
            self._observer.enter()

"""When the eye is on the stack: from the first forward of a looked-at step to the optimiser's step, and no longer.

Between the two there is little else than the network. What a script does besides (reading data, its optimiser's
arithmetic, an evaluation) makes hundreds of calls of PyTorch's API, and each would pay for passing through the mode.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from relume.torch.watching import places
from relume.torch.watching.mode import Eye


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
    """Puts the eye on one thread's stack and takes it off again."""

    def __init__(self, eye: Eye, fits_phase: Callable[[nn.Module], bool], fail: Callable[[Exception], None]) -> None:
        self.eye = eye
        self._fits_phase = fits_phase
        self._fail = fail
        self.on = False  # a look is under way
        self._eager = True  # enter without waiting for a module: the script may have none
        self._hidden = False
        self._leaving = False
        self._hook: Any = None
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
        self.eye.open()
        if self._eager:
            self.eye.enter()
        self._arm()

    def end(self) -> None:
        """It is over."""
        self.on = self._hidden = False
        self._disarm()
        if self.is_here():
            self.eye.shut()
        else:
            self.eye.blind()  # another thread's stack is out of reach; there the mode only passes calls on

    def rest(self) -> None:
        """An optimiser's step begins: nothing to be seen until the next forward."""
        self.eye.look_up()
        self.eye.leave()
        self._disarm()

    def resume(self) -> None:
        """It is over, and the step goes on."""
        if not self._leaving:
            self._arm()

    def weary(self) -> None:
        """End the look before the step's next forward: it has cost much. A mode cannot leave from inside itself."""
        if not self._leaving:
            self._leaving = True
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
        elif self._hook is None:
            self._hook_up(self._enter)

    def _hook_up(self, react: Callable[[nn.Module], None]) -> None:
        def called(module: nn.Module, args: Any) -> None:
            try:
                react(module)
            except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
                self._fail(error)

        self._hook = register_module_forward_pre_hook(called)

    def compiling(self) -> None:
        """The script compiles something: no hook may be left for its call."""
        if self._hook is not None:
            self._disarm()
            self._arm()

    def _disarm(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _enter(self, module: nn.Module) -> None:
        if self.is_here() and self._fits_phase(module):
            self._disarm()
            self._eager = False
            self.eye.enter()

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

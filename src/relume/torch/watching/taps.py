"""The few places where relume listens to PyTorch itself, set once a process however many probes listen.

Each is put in when the first probe starts and taken out when the last one stops. None of them changes what PyTorch
computes; what they cost is a Python call a backward pass and a step.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Protocol

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


class Countdown(Protocol):
    """How many steps of an optimiser are left, until there is something to do at the end of one."""

    left: int


class Ear(Protocol):
    """What a probe is told."""

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """An optimiser was constructed."""

    def optimizer_steps(self, closure: bool) -> None:
        """Its ``step()`` begins; ``closure``: a forward pass runs inside it."""

    def optimizer_stepped(self, optimizer: Optimizer) -> None:
        """Its ``step()`` is over."""

    def backward_begins(self, loss: Any) -> None:
        """A backward pass begins on this tensor, or these."""

    def backward_ended(self) -> None:
        """It is over."""

    def hide(self) -> bool:
        """Go out of the way: PyTorch is about to do something that must not see the mode. False: was not there."""

    def show(self) -> None:
        """Come back after a hide."""

    def forked(self) -> None:
        """This process is a forked child: forget the watching."""

    def compiling(self) -> None:
        """``torch.compile`` was called."""

    def fail(self, error: Exception) -> None:
        """An error of the ear's own: the user's code is running, and goes on."""

    def graph_traced(self, graph: Any, inputs: Any) -> None:
        """``torch.compile`` is about to compile a graph."""

    def compiled_code_begins(self) -> None:
        """Code of ``torch.compile`` is entered: hide."""


_ears: tuple[Ear, ...] = ()
_counts: dict[int, Mapping[int, Countdown]] = {}  # by an ear's id, what it has told :func:`count`
_counted: Mapping[int, Countdown] = {}  # that of the only ear; where there are several each counts for itself
_attentive: set[int] = set()  # the ears that want all news; the others hear of the ends of steps alone
_undo: list[Callable[[], None]] = []
_undo_attention: list[Callable[[], None]] = []


def listen(ear: Ear) -> None:
    """Tell this probe from now on."""
    global _ears
    if not _ears:
        _install()
    _ears = (*_ears, ear)
    count(ear, {})


def unlisten(ear: Ear) -> None:
    """Tell it no more."""
    global _ears
    _ears = tuple(other for other in _ears if other is not ear)
    attend(ear, False)
    count(ear, {})
    while _undo and not _ears:
        _undo.pop()()


def count(ear: Ear, countdowns: Mapping[int, Countdown]) -> None:
    """By an optimiser's id: of the ends of its steps this probe is to be told the last one only."""
    global _counted
    _counts[id(ear)] = countdowns
    for gone in _counts.keys() - {id(each) for each in _ears}:
        del _counts[gone]
    _counted = next(iter(_counts.values())) if len(_counts) == 1 else {}


def attend(ear: Ear, to_all: bool) -> None:
    """Tell this probe all news, or of the ends of steps alone: most steps are passed over, and must cost nothing."""
    (_attentive.add if to_all else _attentive.discard)(id(ear))
    if _attentive and not _undo_attention:
        _undo_attention.append(register_optimizer_step_pre_hook(_steps).remove)
        _undo_attention.append(_put(torch.autograd, "backward", _telling_backward(torch.autograd.backward)))
    while _undo_attention and not _attentive:
        _undo_attention.pop()()


def tell(news: str, *what: Any) -> list[tuple[Ear, Any]]:
    """Tell every ear; returns what each answered. An error in one of them never reaches the user."""
    answers = []
    for ear in _ears:
        try:
            answers.append((ear, getattr(ear, news)(*what)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            ear.fail(error)
    return answers


_process = os.getpid()


def forget() -> None:
    """In a forked child, once: what the parent listened with goes. In any other process this does nothing."""
    global _process
    if _process == os.getpid():
        return
    _process = os.getpid()
    tell("forked")
    for ear in _ears:
        unlisten(ear)


os.register_at_fork(after_in_child=forget)  # a data loader's workers are forked in the middle of a look


def _install() -> None:
    _undo.append(register_optimizer_step_post_hook(_stepped).remove)
    _undo.append(_replace(Optimizer, "__init__", _telling_optimizer))
    _undo.append(_replace(torch.overrides, "has_torch_function", _unseen))
    _undo.append(_replace(torch, "compile", _telling_compile))
    for wrapper in (torch._TorchCompileWrapper, torch._TorchCompileInductorWrapper):
        _undo.append(_replace(wrapper, "__call__", _telling_backend))
    _tap_compiled_calls()


def _replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Callable[[], None]:
    """Put a wrapper in a function's place; returns what undoes it."""
    original = getattr(owner, name)
    return _put(owner, name, functools.wraps(original)(wrap(original)))


def _put(owner: Any, name: str, wrapper: Any) -> Callable[[], None]:
    """Put a wrapper in the place of what it wraps; returns what undoes it, only while it is still ours."""
    original = getattr(owner, name)
    setattr(owner, name, wrapper)

    def undo() -> None:
        if getattr(owner, name) is wrapper:
            setattr(owner, name, original)

    return undo


def _steps(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    tell("optimizer_steps", len(args) > 1 or bool(kwargs))


def _stepped(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    counted = _counted.get(id(optimizer))
    if counted is not None and counted.left > 1:  # this is all that a step costs that is passed over
        counted.left -= 1
    else:
        tell("optimizer_stepped", optimizer)


def _telling_optimizer(original: Any) -> Any:
    def init(self: Optimizer, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        tell("optimizer_made", self)

    return init


@functools.cache
def _telling_backward(original: Any) -> Any:
    @functools.wraps(original)
    def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
        tell("backward_begins", tensors)
        original(tensors, *args, **kwargs)
        tell("backward_ended")

    return backward


def _unseen(original: Any) -> Any:
    """Encoder layers ask whether a mode is active before they take their fast path: answered as if ours were not."""

    def has_torch_function(tensors: Any) -> bool:
        if torch.compiler.is_compiling():
            return bool(original(tensors))
        hidden = any(hid for _, hid in tell("hide"))
        try:
            return bool(original(tensors))
        finally:
            if hidden:
                tell("show")

    return has_torch_function


def _telling_compile(original: Any) -> Any:
    def compile(*args: Any, **kwargs: Any) -> Any:
        compiled = original(*args, **kwargs)
        _tap_compiled_calls()
        tell("compiling")
        return compiled

    return compile


def _telling_backend(original: Any) -> Any:
    def call(self: Any, graph: Any, inputs: Any) -> Any:
        tell("graph_traced", graph, inputs)
        return original(self, graph, inputs)

    return call


def _tap_compiled_calls() -> None:
    """Compiled code guards on the modes that are active: ours is gone while it is entered, or it would compile twice.

    ``torch._dynamo`` sets its frame evaluation to a callback on the way in and to None or what was before on the
    way out; it is loaded by the first ``torch.compile``, and never by us.
    """
    eval_frame = sys.modules.get("torch._dynamo.eval_frame")
    if eval_frame is None or hasattr(eval_frame._maybe_set_eval_frame, "__wrapped__"):
        return

    entered: list[FrameType] = []  # the frame of the outermost entry; dynamo sets and resets within it at will

    def telling(original: Any) -> Any:
        def maybe_set_eval_frame(callback: Any) -> Any:
            caller = sys._getframe(1)
            if callable(callback) and not entered:
                entered.append(caller)
                tell("compiled_code_begins")
            elif not callable(callback) and entered and entered[0] is caller:
                entered.clear()
                tell("show")
            return original(callback)

        return maybe_set_eval_frame

    _undo.append(_replace(eval_frame, "_maybe_set_eval_frame", telling))

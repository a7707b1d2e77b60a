"""The few places where relume listens to PyTorch itself, set once a process however many probes subscribe.

Each is put in when the first probe starts and taken out when the last one stops. None of them changes what PyTorch
computes; a step that is passed over pays for two Python calls, one at its backward pass and one at its end.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

if TYPE_CHECKING:
    from relume.torch.watching.probe import TorchProbe

_subscribers: tuple[TorchProbe, ...] = ()
_attentive: set[int] = set()  # the subscribers that are told when an optimizer's step begins
_without_optimizer: set[int] = set()  # and those that are told when a backward pass ends
_undo: list[Callable[[], None]] = []
_undo_attention: list[Callable[[], None]] = []

_loss: float | None = None  # of the latest backward pass, until an optimizer has stepped


def subscribe(subscriber: TorchProbe) -> None:
    """Report events to this probe from now on."""
    global _subscribers
    first = not _subscribers
    _subscribers = (*_subscribers, subscriber)  # before installing: the garbage collector may end another watch there
    if first:
        _install()


def subscribers() -> tuple[TorchProbe, ...]:
    """The current subscribers."""
    return _subscribers


def unsubscribe(subscriber: Any) -> None:
    """Stop reporting to it."""
    global _subscribers
    _subscribers = tuple(other for other in _subscribers if other is not subscriber)
    attend(subscriber, begins=False, backwards=False)
    while _undo and not _subscribers:
        _undo.pop()()


def attend(subscriber: TorchProbe, *, begins: bool, backwards: bool) -> None:
    """Tell this probe when optimizers' steps and compiled code begin, and when backward passes end, or not.

    Most steps must cost little: every optimizer's step asks dynamo twice, whether anything is compiled or not.
    """
    for attentive, wanted in ((_attentive, begins), (_without_optimizer, backwards)):
        (attentive.add if wanted else attentive.discard)(id(subscriber))
    if _attentive and not _undo_attention:
        _undo_attention.append(register_optimizer_step_pre_hook(_steps).remove)
        _tap_compiled_calls()
    while _undo_attention and not _attentive:
        _undo_attention.pop()()


def tell(news: str, *what: Any) -> list[Any]:
    """Notify every subscriber; returns their answers. An error in one of them never reaches the user."""
    answers = []
    for subscriber in _subscribers:
        try:
            answers.append(getattr(subscriber, news)(*what))
        except Exception as error:  # noqa: BLE001 - the training continues after any error
            subscriber.fail(error)
    return answers


_process = os.getpid()


def forget() -> None:
    """In a forked child, once: what the parent listened with goes. In any other process this does nothing."""
    global _process
    if _process == os.getpid():
        return
    _process = os.getpid()
    tell("forked")
    for subscriber in _subscribers:
        unsubscribe(subscriber)


os.register_at_fork(after_in_child=forget)  # a data loader's workers are forked in the middle of a look


def _install() -> None:
    _undo.append(register_optimizer_step_post_hook(_stepped).remove)
    _undo.append(_replace(Optimizer, "__init__", _telling_optimizer))
    _undo.append(_replace(torch.autograd, "backward", _telling_backward))
    _undo.append(_replace(torch.overrides, "has_torch_function", _unseen))
    _undo.append(_replace(torch, "compile", _telling_compile))
    for wrapper in (torch._TorchCompileWrapper, torch._TorchCompileInductorWrapper):
        _undo.append(_replace(wrapper, "__call__", _telling_backend))


def _replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Callable[[], None]:
    """Put a wrapper in a function's place; returns what undoes it, only while the wrapper is still there."""
    original = getattr(owner, name)
    wrapper = functools.wraps(original)(wrap(original))
    setattr(owner, name, wrapper)

    def undo() -> None:
        if getattr(owner, name) is wrapper:
            setattr(owner, name, original)

    return undo


def _steps(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    tell("optimizer_steps", len(args) > 1 or bool(kwargs))


def _stepped(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    global _loss
    loss, _loss = _loss, None
    for subscriber in _subscribers:
        try:
            countdown = subscriber.countdowns.get(id(optimizer))
            if countdown is None or countdown.left <= 1 or id(subscriber) in _attentive:
                subscriber.optimizer_stepped(optimizer, loss)
            else:
                countdown.count(optimizer, loss)
        except Exception as error:  # noqa: BLE001 - the training continues after any error
            subscriber.fail(error)


def _telling_optimizer(original: Any) -> Any:
    def init(self: Optimizer, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        tell("optimizer_made", self)

    return init


def _telling_backward(original: Any) -> Any:
    function_modes, dispatch_modes = torch._C._len_torch_function_stack, torch._C._len_torch_dispatch_stack

    def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
        global _loss
        loss: float | None = None
        if type(tensors) is Tensor and tensors.is_cpu and not function_modes() and not dispatch_modes():
            try:
                loss = tensors.item()
            except (RuntimeError, ValueError):  # it has several elements, or a transform has wrapped it
                loss = None
        original(tensors, *args, **kwargs)
        _loss = loss
        if _without_optimizer:
            tell("backward_ended", loss)

    return backward


def _unseen(original: Any) -> Any:
    """Encoder layers ask whether a mode is active before they take their fast path: answered as if ours were not."""

    def has_torch_function(tensors: Any) -> bool:
        if torch.compiler.is_compiling():
            return bool(original(tensors))
        hidden = any(tell("hide"))
        try:
            return bool(original(tensors))
        finally:
            if hidden:
                tell("show")

    return has_torch_function


def _telling_compile(original: Any) -> Any:
    def compile(*args: Any, **kwargs: Any) -> Any:
        compiled = original(*args, **kwargs)
        if _attentive:
            _tap_compiled_calls()  # dynamo has just been loaded
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
            if callback is None and not entered:
                return original(callback)
            caller = sys._getframe(1)
            if callable(callback) and not entered:
                entered.append(caller)
                tell("compiled_code_begins")
            elif not callable(callback) and entered and entered[0] is caller:
                entered.clear()
                tell("show")
            return original(callback)

        return maybe_set_eval_frame

    _undo_attention.append(_replace(eval_frame, "_maybe_set_eval_frame", telling))

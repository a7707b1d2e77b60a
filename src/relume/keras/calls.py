"""The calls of Keras's layers and activations in this process, for those who follow them.

``Layer.__call__`` and the activations of ``keras.src.backend.nn`` are replaced while somebody follows; each calls
Keras's own. A follower may be the probe, which counts, or a treatment, which replaces.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import keras
from keras.src import backend
from keras.src.layers.layer import Layer

from relume.errors import SpecError
from relume.keras.family import FAMILY
from relume.keras.specs import to_spec
from relume.watching.counted import Where
from relume.watching.patches import Patches
from relume.watching.source import is_users, shown_path

FUNCTIONS = {member.native: name for name, member in FAMILY.items() if member.native}
COMPOSED = ("glu", "tanh_shrink", "log_sigmoid")
"""Activations outside the family that call one of the family."""

_PACKAGES = ("keras", "tensorflow", "jax", "torch")
made_at: weakref.WeakKeyDictionary[Any, tuple[str, int]] = weakref.WeakKeyDictionary()
"""Layer → the user's line that constructed it."""

replaced: weakref.WeakSet[Any] = weakref.WeakSet()
"""Activation layers that compute a contender: what they call is looked at, not they."""


class CallFollower(Protocol):
    """Who follows the calls. ``changes``: it may replace what a call computes, so it comes before those who count."""

    changes: bool

    def around_layer(self, layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        """Replaces a layer's own call."""

    def around_function(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """What is called in the place of an activation (a name of the family, or of ``COMPOSED``)."""

    def root_called(self, *, over: bool) -> None:
        """A call that no other contains begins, or is over."""


class LayerCalls:
    """The patches, for as long as there are followers.

    ``stack``: the layers whose calls are under way. ``symbolic``: they make a functional model, and compute nothing.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.symbolic = False
        self._orders: dict[Any, int] = {}  # how often a layer was called in the outermost call under way
        self._followers: list[CallFollower] = []
        self._patches = Patches()

    def follow(self, follower: CallFollower) -> None:
        """Report every call to it from now on."""
        if not self._followers:
            self._put()
        self._followers.append(follower)
        self._followers.sort(key=lambda each: each.changes)  # the last is the outermost

    def leave(self, follower: CallFollower) -> None:
        """Stop reporting calls to it."""
        if follower in self._followers:
            self._followers.remove(follower)
            if not self._followers:
                self._patches.undo()

    def _put(self) -> None:
        self._patches.put(Layer, "__new__", _noting(Layer.__new__))
        self._patches.put(Layer, "__call__", self._calling(Layer.__call__))
        self._patches.put(Layer, "stateless_call", self._calling(Layer.stateless_call))  # on JAX, of the whole model
        for native, name in (*FUNCTIONS.items(), *zip(COMPOSED, COMPOSED, strict=True)):
            if real := getattr(backend.nn, native, None):
                self._patches.put(backend.nn, native, self._function(real, name))

    def _calling(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def layer_called(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.stack:
                self._orders.clear()
                self.symbolic = backend.any_symbolic_tensors(args, kwargs)
                for each in self._followers:
                    each.root_called(over=False)
            self.stack.append(layer)
            try:
                call: Callable[..., Any] = functools.partial(real, layer)
                for each in self._followers:
                    call = each.around_layer(layer, call)
                return call(*args, **kwargs)
            finally:
                self.stack.pop()
                if not self.stack:
                    for each in self._followers:
                        each.root_called(over=True)

        return layer_called

    def _function(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(real)
        def activation(*args: Any, **kwargs: Any) -> Any:
            call = real
            for each in self._followers:
                call = each.around_function(name, call)
            return call(*args, **kwargs)

        return activation

    def where(self, written: str, *, own: bool = False, counted: bool = True) -> Where:
        """Where the called activation is.

        ``own``: the layer itself is the activation. ``counted``: number its calls that no user's line distinguishes.
        """
        (inside, between, around), through = _user_frames(sys._getframe(1), len(self.stack))
        if not self.stack:
            file, line, function = inside or ("", 0, "")
            return Where("", function, _written(written, through), file, line)
        layer = self.stack[-1]
        path = "/".join(each.name for each in self.stack)
        called = between or around or ("", 0, "")
        file, line = made_at.get(layer, (called[0], called[1]))
        if not own and inside is not None:
            (file, line, _), written = inside, _written(written, through)
        elif not own:
            written = f'activation="{written}"'
        place: Any = between
        if between is None and counted:
            place = self._orders[path, written, line] = self._orders.get((path, written, line), 0) + 1
        before = _before(layer, place) if own else layer if inside is None else None
        return Where(
            self.stack[0].name,
            path,
            written,
            file,
            line,
            layer="" if before is None else before.name if own else path,
            producer="" if before is None else _sizes(before),
            axis=_axis(before if before is not None else layer),
            owners=(*([before] if before is not None else []), *reversed(self.stack)),
            place=place,
            slope=(lambda: keras.ops.convert_to_numpy(layer.alpha)) if hasattr(layer, "alpha_initializer") else None,
        )


CALLS = LayerCalls()


def kind_of(layer: Any) -> tuple[str, dict[str, Any], str] | None:
    """(activation, parameters, why it is not counted) of a layer; None: what it calls is looked at."""
    if layer in replaced:
        return None
    if isinstance(layer, keras.layers.PReLU):
        return "prelu", {}, ""
    if isinstance(layer, keras.layers.RNN):
        return "", {}, "activations in the time loop of a recurrent layer are not counted"
    try:
        spec = to_spec(layer)
    except SpecError as error:
        return "", {}, str(error)
    return None if spec is None or spec.activation == "softmax" else (spec.activation, dict(spec.parameters), "")


def _noting(real: Callable[..., Any]) -> Any:
    """``Layer.__new__`` that notes where the layer is constructed."""

    @functools.wraps(real)
    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        layer = real(cls, *args, **kwargs)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not is_users(frame.f_code.co_filename, *_PACKAGES):
            frame = frame.f_back
        if frame is not None:
            made_at[layer] = (shown_path(frame.f_code.co_filename), frame.f_lineno)
        return layer

    return staticmethod(new)


UserFrame = tuple[str, int, str] | None


def _user_frames(frame: FrameType, layers: int) -> tuple[list[UserFrame], list[str]]:
    """The user's nearest (file, line, function) inside the innermost layer's call, between layers, and around all.

    ``layers``: how many calls are under way. Also the files of Keras that were passed before the first.
    """
    found: list[UserFrame] = [None, None, None]
    through: list[str] = []
    depth = 0
    for name, line, function in _frames(frame):
        at = 0 if not depth else 1 if depth < layers else 2
        if function == "layer_called":
            depth += 1
        elif found[at] is None and is_users(name, *_PACKAGES):
            found[at] = (shown_path(name), line, function)
        elif found[0] is None and not depth:
            through.append(name)
    return found, through


def _frames(frame: FrameType | None) -> Any:
    """(file, line, function) from the inside out, as the code was before AutoGraph."""
    if keras.backend.backend() == "tensorflow":
        from relume.tensorflow.watching.names import frames

        yield from frames()
        return
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back


def _written(name: str, through: list[str]) -> str:
    home = "activations" if any("activations" in file for file in through) else "ops"
    return f"keras.{home}.{name}"


def _before(layer: Any, order: Any) -> Any:
    """The layer before an activation in a functional or sequential model, at the activation's n-th place there."""
    nodes: list[Any] = getattr(layer, "_inbound_nodes", [])
    at = order - 1 if isinstance(order, int) and len(nodes) > 1 else -1
    parents: list[Any] = nodes[at].parent_nodes if at < len(nodes) and nodes else []
    return parents[0].operation if len(parents) == 1 and isinstance(parents[0].operation, Layer) else None


def _axis(layer: Any) -> int:
    """The axis of a layer's units: the last, or the second where its images are given channels first."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return int(layer.axis)
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def _sizes(layer: Any) -> str:
    """``Dense 8→64``, or the class."""
    kernel = getattr(layer, "kernel", None) if layer.built else None
    ends = "" if kernel is None or len(kernel.shape) < 2 else "{}→{}".format(*kernel.shape[-2:])
    return f"{type(layer).__name__} {ends}".strip()

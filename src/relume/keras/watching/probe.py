"""Watching Keras: tells the backend's probe which layer applies an activation, at which line, and when a step is over.

The counting is the backend's. Here ``Layer.__call__``, the activations of ``keras.src.backend.nn`` and
``Optimizer.apply`` are followed; each calls Keras's own as before.
"""

from __future__ import annotations

import functools
import importlib
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import keras
from keras.src import backend
from keras.src.backend.common import global_state
from keras.src.layers.layer import Layer
from keras.src.optimizers.base_optimizer import BaseOptimizer

from relume.errors import SpecError, WatchError
from relume.framework import Listener, Phase, Seen
from relume.keras.family import FAMILY
from relume.keras.specs import to_spec
from relume.watching.counted import Where
from relume.watching.patches import Patches
from relume.watching.source import is_users, shown_path

ENGINES = {
    "tensorflow": "relume.tensorflow.watching.probe",
    "jax": "relume.jax.watching.probe",
    "torch": "relume.torch.watching.eager",
}
"""Backend → the module whose ``ENGINE`` counts for it, and whose ``running`` are those that watch."""

PARAMETERS = {"leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 1.0}, "celu": {"alpha": 1.0}}
FUNCTIONS = {member.native: name for name, member in FAMILY.items() if member.native}
COMPOSED = ("glu", "tanh_shrink", "log_sigmoid")
"""Activations that are none of the family, and call one of it inside."""

_PACKAGES = ("keras", "tensorflow", "jax", "torch")
_made_at: weakref.WeakKeyDictionary[Any, tuple[str, int]] = weakref.WeakKeyDictionary()
"""Layer → the user's line that constructed it."""


class KerasProbe:
    """The :class:`~relume.framework.Probe` of Keras: names for the probe of its backend."""

    def __init__(self, listener: Listener, phase: Phase = "train", *, thorough: bool = True) -> None:
        if phase != "train":
            raise WatchError(
                f'phase is {phase!r}; a Keras model can be watched only while it trains, with phase="train".',
                slug="bad-option",
            )
        self.version = str(keras.__version__)
        self._listener, self._phase, self._thorough = listener, phase, thorough
        self._engine: Any = None
        self._owns_engine = False
        self._model: Any = None
        self._patches = Patches()
        self._stack: list[Any] = []  # the layers whose calls are under way
        self._orders: dict[Any, int] = {}  # how often a layer was called in the outermost call under way
        self._optimizing = 0

    @property
    def cost(self) -> int:
        """Nanoseconds of own work so far, where no other probe tells them."""
        return self._engine.cost if self._owns_engine else 0

    def kept(self) -> int:
        """How many numbers are kept until :meth:`drain`."""
        return self._engine.kept() if self._owns_engine else 0

    def drain(self) -> list[Seen]:
        """Hand over what was counted since the last time."""
        return self._engine.drain() if self._owns_engine else []

    def start(self, model: Any | None) -> None:
        """Watch ``model`` (a keras.Model), or with None every model that trains in this process."""
        self._model = model
        module = importlib.import_module(ENGINES[keras.backend.backend()])
        if self._engine is None:
            found = [probe for probe in module.running if probe.listener is self._listener]
            self._owns_engine = not found
            self._engine = (found or [module.ENGINE(self._listener, self._phase, thorough=self._thorough)])[0]
        if self._owns_engine:
            self._engine.start(model)
        self._patches.put(Layer, "__new__", _noting(Layer.__new__))
        self._patches.put(Layer, "__call__", self._calling(Layer.__call__))
        self._patches.put(Layer, "stateless_call", self._calling(Layer.stateless_call))  # on JAX, of the whole model
        self._patches.put(BaseOptimizer, "apply", self._stepping(BaseOptimizer.apply))
        self._patches.put(BaseOptimizer, "__init__", self._optimizer_made(BaseOptimizer.__init__))
        if jit := getattr(self._engine, "jit", None):  # Keras keeps its own reference
            self._patches.put(importlib.import_module("keras.src.backend.jax.trainer"), "jit", jit)
        for native, name in FUNCTIONS.items():
            if real := getattr(backend.nn, native, None):
                self._patches.put(backend.nn, native, self._function(real, name))
        for name in COMPOSED:
            if real := getattr(backend.nn, name, None):
                self._patches.put(backend.nn, name, self._composed(real))

        if model is not None:
            self._engine.optimizer_made()
            _trace_again(model)

    def stop(self) -> None:
        """Leave nothing behind."""
        self._patches.undo()
        if self._model is not None:
            _trace_again(self._model)
        if self._owns_engine and self._engine is not None:
            self._engine.stop()

    # ---- what is patched --------------------------------------------------------------------------------------

    def _calling(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def layer_called(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._stack and not self._engine.running:
                return real(layer, *args, **kwargs)
            if not self._stack:
                self._orders.clear()
                self._engine.call_begins()
            self._stack.append(layer)
            try:
                if self._engine.applying or not self._counts():
                    return real(layer, *args, **kwargs)
                return self._layer(layer, functools.partial(real, layer), *args, **kwargs)
            finally:
                self._stack.pop()
                if not self._stack:
                    self._engine.call_ends()

        return layer_called

    def _layer(self, layer: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a layer in a training pass; one that is an activation is a site, whatever it calls."""
        kind = self._engine.guarded(_kind_of, layer)
        if kind is None:
            return call(*args, **kwargs)
        name, parameters, why = kind
        if why:
            file, line = _made_at.get(layer, ("", 0))
            self._engine.say(type(layer).__name__, f"{file}:{line}", why)
            return self._engine.aside(call, *args, **kwargs)
        written = f"keras.layers.{type(layer).__name__}"
        return self._engine.applied(name, parameters, lambda: self._where(written, own=True), call, *args, **kwargs)

    def _function(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(real)
        def activation(x: Any, *args: Any, **kwargs: Any) -> Any:
            if self._engine.applying or not self._counts():
                return real(x, *args, **kwargs)
            defaults = PARAMETERS.get(name, {})
            given = dict(zip(defaults, args, strict=False)) | kwargs
            parameters: dict[str, Any] = {key: float(given.get(key, default)) for key, default in defaults.items()}
            if name == "gelu":
                approximate = args[0] if args else kwargs.get("approximate", True)
                parameters = {"approximate": "tanh" if approximate else "none"}
            return self._engine.applied(name, parameters, lambda: self._where(name), real, x, *args, **kwargs)

        return activation

    def _composed(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def activation(*args: Any, **kwargs: Any) -> Any:
            return self._engine.aside(real, *args, **kwargs)

        return activation

    def _optimizer_made(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            real(optimizer, *args, **kwargs)
            self._engine.optimizer_made()

        return init

    def _stepping(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def apply(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            self._optimizing += 1
            try:
                done = self._engine.aside(real, optimizer, *args, **kwargs)
            finally:
                self._optimizing -= 1
            if not self._optimizing and self._is_watched(optimizer):
                self._engine.stepped(optimizer)
            return done

        return apply

    # ---- what is asked ----------------------------------------------------------------------------------------

    def _counts(self) -> bool:
        """Whether calls belong to a training pass of the watched model."""
        context = global_state.get_global_attribute("current_call_ctx")
        if getattr(context, "training", None) is False or not self._engine.trains():
            return False
        return self._model is None or (bool(self._stack) and self._stack[0] in self._model._flatten_layers())

    def _is_watched(self, optimizer: Any) -> bool:
        if self._model is None:
            return True
        own = {id(variable) for variable in self._model.trainable_variables}
        return any(id(variable) in own for variable in getattr(optimizer, "_trainable_variables", ()))

    def _where(self, written: str, *, own: bool = False) -> Where | None:
        """Where the activation that is called lies; ``own``: the layer itself is the activation."""
        (inside, between, around), through = _user_frames(sys._getframe(1), len(self._stack))
        if not self._stack:
            file, line, function = inside or ("", 0, "")
            return Where("", function, _written(written, through), file, line)
        layer = self._stack[-1]
        path = "/".join(each.name for each in self._stack)
        called = between or around or ("", 0, "")
        file, line = _made_at.get(layer, (called[0], called[1]))
        if not own and inside is not None:
            (file, line, _), written = inside, _written(written, through)
        elif not own:
            written = f'activation="{written}"'
        place: Any = between
        if between is None:
            place = self._orders[path, written, line] = self._orders.get((path, written, line), 0) + 1
        before = _before(layer, place) if own else layer if inside is None else None
        return Where(
            self._stack[0].name,
            path,
            written,
            file,
            line,
            layer="" if before is None else before.name if own else path,
            producer="" if before is None else _sizes(before),
            axis=_axis(before if before is not None else layer),
            owners=(*([before] if before is not None else []), *reversed(self._stack)),
            place=place,
            slope=(lambda: keras.ops.convert_to_numpy(layer.alpha)) if hasattr(layer, "alpha_initializer") else None,
        )


def _trace_again(model: Any) -> None:
    """Forget the compiled training step of a model: the next one is traced as things are then."""
    if getattr(model, "train_function", None) is not None:
        model.make_train_function(force=True)


def _kind_of(layer: Any) -> tuple[str, dict[str, Any], str] | None:
    """(activation, parameters, why it is not counted) of a layer; None: what it calls is looked at."""
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
            _made_at[layer] = (shown_path(frame.f_code.co_filename), frame.f_lineno)
        return layer

    return staticmethod(new)


Found = tuple[str, int, str] | None


def _user_frames(frame: FrameType, layers: int) -> tuple[list[Found], list[str]]:
    """The user's nearest (file, line, function) inside the innermost layer's call, between layers, and around all.

    ``layers``: how many calls are under way. Also the files of Keras that were passed before the first.
    """
    found: list[Found] = [None, None, None]
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

"""Watching Keras: tells the backend's probe which layer applies an activation, at which line, and when a step is over.

The counting is the backend's. Here the calls of layers and activations (:mod:`relume.keras.calls`) and
``Optimizer.apply`` are followed.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.optimizers.base_optimizer import BaseOptimizer

from relume.errors import WatchError
from relume.framework import Listener, Phase, Seen
from relume.keras.calls import CALLS, COMPOSED, kind_of, made_at
from relume.watching.patches import Patches

ENGINES = {
    "tensorflow": "relume.tensorflow.watching.probe",
    "jax": "relume.jax.watching.probe",
    "torch": "relume.torch.watching.eager",
}
"""Backend → the module whose ``ENGINE`` counts for it, and whose ``running`` are those that watch."""

PARAMETERS = {"leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 1.0}, "celu": {"alpha": 1.0}}


class KerasProbe:
    """The :class:`~relume.framework.Probe` of Keras: names for the probe of its backend."""

    changes = False

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
        self._optimizing = 0

    @property
    def cost(self) -> int:
        """Nanoseconds of own work so far, if no other probe reports them."""
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
        CALLS.follow(self)
        self._patches.put(BaseOptimizer, "apply", self._stepping(BaseOptimizer.apply))
        self._patches.put(BaseOptimizer, "__init__", self._optimizer_made(BaseOptimizer.__init__))
        if jit := getattr(self._engine, "jit", None):  # Keras keeps its own reference
            self._patches.put(importlib.import_module("keras.src.backend.jax.trainer"), "jit", jit)
        if model is not None:
            self._engine.optimizer_made()
            _trace_again(model)

    def stop(self) -> None:
        """Leave nothing behind."""
        CALLS.leave(self)
        self._patches.undo()
        if self._model is not None:
            _trace_again(self._model)
        if self._owns_engine and self._engine is not None:
            self._engine.stop()

    # ---- what is patched --------------------------------------------------------------------------------------

    def around_layer(self, layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        """See :class:`~relume.keras.calls.CallFollower`."""
        if not self._engine.running or self._engine.applying or not self._counts():
            return call
        return functools.partial(self._layer, layer, call)

    def around_function(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """See :class:`~relume.keras.calls.CallFollower`."""
        if self._engine.applying or not self._counts():
            return call
        return functools.partial(self._function, name, call)

    def root_called(self, *, over: bool) -> None:
        """See :class:`~relume.keras.calls.CallFollower`."""
        if self._engine.running:
            (self._engine.call_ends if over else self._engine.call_begins)()

    def _layer(self, layer: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a layer in a training pass; an activation layer is a site, no matter what it calls."""
        kind = self._engine.guarded(kind_of, layer)
        if kind is None:
            return call(*args, **kwargs)
        name, parameters, why = kind
        if why:
            file, line = made_at.get(layer, ("", 0))
            self._engine.say(type(layer).__name__, f"{file}:{line}", why)
            return self._engine.aside(call, *args, **kwargs)
        written = f"keras.layers.{type(layer).__name__}"
        return self._engine.applied(name, parameters, lambda: CALLS.where(written, own=True), call, *args, **kwargs)

    def _function(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call one of Keras's functions in a training pass."""
        if name in COMPOSED:
            return self._engine.aside(call, *args, **kwargs)
        own = args[1:]
        defaults = PARAMETERS.get(name, {})
        given = dict(zip(defaults, own, strict=False)) | kwargs
        parameters: dict[str, Any] = {key: float(given.get(key, default)) for key, default in defaults.items()}
        if name == "gelu":
            approximate = own[0] if own else kwargs.get("approximate", True)
            parameters = {"approximate": "tanh" if approximate else "none"}
        return self._engine.applied(name, parameters, lambda: CALLS.where(name), call, *args, **kwargs)

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
        return self._model is None or (bool(CALLS.stack) and CALLS.stack[0] in self._model._flatten_layers())

    def _is_watched(self, optimizer: Any) -> bool:
        if self._model is None:
            return True
        own = {id(variable) for variable in self._model.trainable_variables}
        return any(id(variable) in own for variable in getattr(optimizer, "_trainable_variables", ()))


def _trace_again(model: Any) -> None:
    """Forget the compiled training step of a model: the next one is traced as things are then."""
    if getattr(model, "train_function", None) is not None:
        model.make_train_function(force=True)

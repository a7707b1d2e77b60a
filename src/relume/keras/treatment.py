"""Changes to a Keras script in one run, without an edit, on TensorFlow, JAX or PyTorch.

An activation is replaced where Keras calls it on tensors, so strings, layers, functions and functional models take the
same way. A contender is Keras's own function; one with variables is a layer, added to the layer that applies it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras.src import backend
from keras.src.initializers.random_initializers import RandomInitializer
from keras.src.layers.layer import Layer
from keras.src.optimizers.base_optimizer import BaseOptimizer

from relume.artifacts.swap_plan import OptimizerRates, Treated
from relume.artifacts.trial import Contender
from relume.keras import layers
from relume.keras.calls import CALLS, COMPOSED, kind_of, made_at, replaced
from relume.keras.family import FAMILY
from relume.treatment.calls import Act, Calls, aside
from relume.treatment.own import own
from relume.treatment.seeding import Seeding, caller_of, remapped
from relume.treatment.trials import CallCures, CallSurvey, CallTreatment, Kit
from relume.watching.counted import Where
from relume.watching.patches import Patches

_MODULUS = 2**31
"""A seed must fit the 32-bit integers with a sign in which Keras keeps it on PyTorch."""

_KERAS = (os.path.dirname(keras.__file__) + os.sep,)
_PRODUCTS = {"numpy": ("matmul", "dot", "einsum", "tensordot"), "nn": ("conv", "depthwise_conv", "conv_transpose")}


class KerasKit(Kit):
    """The :class:`~relume.treatment.trials.Kit` of Keras, and a follower of its calls."""

    package = "keras"
    changes = True

    def __init__(self) -> None:
        super().__init__()
        self._calls: Any = None
        self._optimizers: list[Any] = []
        self._own: list[Any] = []  # the contender's layers

    # ---- seeds and rates ------------------------------------------------------------------------------------------

    def seed(self, seeds: Seeding, patches: Patches) -> None:
        """See :class:`~relume.treatment.trials.Kit`."""
        if keras.backend.backend() == "tensorflow":
            from relume.tensorflow.treatment import seed_tensorflow

            seed_tensorflow(seeds, patches)
        real = keras.utils.set_random_seed

        @functools.wraps(real)
        def set_random_seed(seed: int) -> None:
            frame = sys._getframe(1)
            real(seeds.new("keras.utils.set_random_seed", seed, caller_of(frame, _KERAS), _MODULUS))

        patches.put(keras.utils, "set_random_seed", set_random_seed)
        for kind, kept in ((RandomInitializer, "_init_seed"), (keras.random.SeedGenerator, "_initial_seed")):
            patches.put(kind, "__init__", _seeded(kind, kept, seeds))

    def multiply_rates(self, factor: float, patches: Patches) -> None:
        """See :class:`~relume.treatment.trials.Kit`. Outside a step, a callback sees the script's own rates."""
        init, build, apply = BaseOptimizer.__init__, BaseOptimizer.build, BaseOptimizer.apply
        rate_of, stepping = BaseOptimizer._get_current_learning_rate, []

        @functools.wraps(init)
        def made(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            init(optimizer, *args, **kwargs)
            with contextlib.suppress(Exception):  # a rate that is not known yet
                self.rates.append(OptimizerRates(type(optimizer).__name__, (_number(optimizer.learning_rate),)))

        @functools.wraps(build)
        def built(optimizer: Any, variables: Any) -> Any:
            if not hasattr(optimizer, "inner_optimizer") and not any(optimizer is each for each in self._optimizers):
                self._optimizers.append(optimizer)
            return build(optimizer, variables)

        @functools.wraps(apply)
        def applied(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            stepping.append(optimizer)
            try:
                return apply(optimizer, *args, **kwargs)
            finally:
                stepping.pop()

        @functools.wraps(rate_of)
        def multiplied(optimizer: Any) -> Any:
            rate = rate_of(optimizer)
            return rate * factor if stepping else rate

        patches.put(BaseOptimizer, "__init__", made)
        patches.put(BaseOptimizer, "build", built)
        if factor != 1:
            patches.put(BaseOptimizer, "apply", applied)
            patches.put(BaseOptimizer, "_get_current_learning_rate", multiplied)

    def digests(self) -> Treated:
        """See :class:`~relume.treatment.trials.Kit`."""
        if not self._optimizers:
            return Treated()
        return Treated(
            parameters_added=sum(int(np.prod(v.shape)) for layer in self._own for v in layer.trainable_variables),
            weights=_digest([v for each in self._optimizers for v in each._trainable_variables]),
            steps=sum(int(_number(each.iterations)) for each in self._optimizers),
        )

    # ---- activations ----------------------------------------------------------------------------------------------

    def follow(self, calls: Calls, patches: Patches) -> None:
        """See :class:`~relume.treatment.trials.Kit`."""
        self._calls = calls
        CALLS.follow(self)
        patches.on_undo(lambda: CALLS.leave(self))
        if keras.backend.backend() == "tensorflow":
            from relume.tensorflow.treatment import follow_functions

            follow_functions(calls, patches)
        for home, names in _PRODUCTS.items():
            for name in names:
                there = getattr(backend, home)
                patches.put(there, name, self._product(getattr(there, name)))

    def root_called(self, *, over: bool) -> None:
        """See :class:`~relume.keras.calls.CallFollower`."""
        if not over:
            self._calls.root_called()

    def around_layer(self, layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        """A layer with weights hides what comes before it; one that is an activation is a site."""
        if CALLS.symbolic:
            return call
        if layer._trainable_variables:
            self._calls.layer_called()
        kind = kind_of(layer)
        if kind is None:
            return call
        name, _, why = kind
        if why:
            file, line = made_at.get(layer, ("", 0))
            self._calls.say(type(layer).__name__, f"{file}:{line}", why)
            return functools.partial(aside, call)
        return functools.partial(self._activation_layer, layer, name, call)

    def _activation_layer(self, layer: Any, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a layer as it is, or with the contender in the place of its ``call``."""
        where = functools.partial(CALLS.where, f"keras.layers.{type(layer).__name__}", own=True, counted=False)
        decided = self._calls.decide(name, where)
        if decided is None:
            return aside(call, *args, **kwargs)
        act, place = decided
        replaced.add(layer)
        object.__setattr__(layer, "call", lambda inputs, *_, **__: aside(act, inputs, place))
        return call(*args, **kwargs)

    def around_function(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """An activation called on tensors is a site, unless it is a part of another function."""
        if CALLS.stack and CALLS.symbolic:
            return call
        if name in COMPOSED:
            return functools.partial(aside, call)
        where = functools.partial(CALLS.where, name, counted=False)
        return functools.partial(self._calls.applied, name, where, call)

    def _product(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def product(*args: Any, **kwargs: Any) -> Any:
            self._calls.layer_called()
            return real(*args, **kwargs)

        return product

    # ---- contenders -----------------------------------------------------------------------------------------------

    def act(self, contender: Contender, seed: int) -> Act:
        """See :class:`~relume.treatment.trials.Kit`."""
        numbers = dict(contender.parameters)
        if contender.target:
            found = own(contender, Layer, "a keras.layers.Layer class or a function that takes a tensor")
            return self._with_layer(lambda x, place: found()) if isinstance(found, type) else lambda x, place: found(x)
        if contender.activation == "prelu":
            return self._with_layer(lambda x, place: _prelu(contender, len(x.shape), place.axis))
        if contender.activation == "rrelu":
            return self._with_layer(lambda x, place: layers.RReLU(**numbers, seed=remapped(1, seed, _MODULUS)))
        member = FAMILY[contender.activation]
        function = getattr(keras.activations, member.native) if member.native else member.function
        if contender.activation == "gelu" and numbers:
            numbers = {"approximate": numbers["approximate"] == "tanh"}
        return lambda x, place: function(x, **numbers)

    def _with_layer(self, make: Callable[[Any, Where], Any]) -> Act:
        """A contender with variables: a layer of its own at each place, tracked by the layer that applies it."""
        made: dict[tuple[int, str, int], Any] = {}

        def act(x: Any, place: Where) -> Any:
            owner = CALLS.stack[-1] if CALLS.stack else None
            key = (id(owner), place.file, place.line)
            if key not in made:
                made[key] = make(x, place)
                self._own.append(made[key])
                if owner is not None:
                    _track(owner, made[key])
            return made[key](x)

        return act


def _prelu(contender: Contender, rank: int, axis: int) -> Any:
    """Keras's layer with a slope for each unit, or one; its slopes start where Keras's do unless a start is given."""
    unit = None if contender.slopes == "shared" else axis % rank
    start = keras.initializers.Constant(contender.parameters.get("weight", 0.0))
    return keras.layers.PReLU(start, shared_axes=[each for each in range(1, rank) if each != unit])


def _track(owner: Any, layer: Any) -> None:
    """Make a layer one of another's, which may be built already."""
    locked = owner._tracker.locked
    owner._tracker.unlock()
    setattr(owner, f"relume_{layer.name}", layer)
    if locked:
        owner._lock_state()


def _seeded(kind: type, kept: str, seeds: Seeding) -> Callable[..., None]:
    """The ``__init__`` of a class with a seed: the user's is remapped, and its configuration keeps the user's."""
    real: Any = kind.__init__  # type: ignore[misc]

    @functools.wraps(real)
    def init(thing: Any, seed: Any = None, *args: Any, **kwargs: Any) -> None:
        own = type(seed) is int
        frame = sys._getframe(1)
        real(thing, _remapped(kind, seed, frame, seeds) if own else seed, *args, **kwargs)
        if own:
            setattr(thing, kept, seed)

    return init


def _remapped(kind: type, seed: int, frame: Any, seeds: Seeding) -> Any:
    return seeds.new(f"keras {kind.__name__}", seed, caller_of(frame, _KERAS), _MODULUS)


def _number(value: Any) -> float:
    return float(np.asarray(keras.ops.convert_to_numpy(value)))


def _digest(variables: Any) -> str:
    """SHA-256 of variables, "" if they have no values: a step that failed has taken them away."""
    digest = hashlib.sha256()
    try:
        for variable in variables:
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    except (RuntimeError, ValueError):
        return ""
    return digest.hexdigest()


class KerasSurvey(CallSurvey):
    """The :class:`~relume.framework.Surveyor` of Keras."""

    kit = KerasKit


class KerasTreatment(CallTreatment):
    """The :class:`~relume.framework.TrialTreatment` of Keras."""

    kit = KerasKit


class KerasCures(CallCures):
    """The :class:`~relume.framework.Cures` of Keras."""

    kit = KerasKit

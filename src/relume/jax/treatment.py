"""Changes to a JAX script in one run, without an edit: Flax, Equinox, Optax or plain functions.

The functions of ``jax.nn`` are replaced as soon as JAX is imported, before the script or a library takes a reference.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.core import Tracer  # x @ w is called on it, and it has no public name

from relume.artifacts.swap_plan import OptimizerRates
from relume.artifacts.trial import Contender
from relume.errors import StudyError
from relume.jax.family import FAMILY
from relume.jax.watching.program import PACKAGES
from relume.treatment.calls import OF_KERAS, Act, Calls, aside
from relume.treatment.own import own
from relume.treatment.seeding import Seeding, caller_of
from relume.treatment.trials import CallCures, CallSurvey, CallTreatment, Kit
from relume.watching.counted import Where
from relume.watching.patches import Patches
from relume.watching.source import is_users, shown_path

_THROUGH = tuple(f"-packages{os.sep}{os.path.join(*path, '')}" for path in (("jax",), ("flax", "nnx"), ("haiku",)))
"""Between the script and a seeding call: ``nnx.Rngs(0)`` calls ``jax.random.key(0)``. Linen makes keys of its own."""

_CELLS = ("recurrent.py", "rnn.py", "_rnn.py")
"""Files of Flax and Equinox with recurrent cells, whose activations are gates."""

_PRODUCTS = (
    *((jnp, name) for name in ("dot", "matmul", "einsum", "tensordot")),
    *((jax.lax, name) for name in ("dot_general", "conv_general_dilated", "conv")),
    *((Tracer, name) for name in ("__matmul__", "__rmatmul__")),
)
_MODULUS = 2**32
_OWN = "a function that takes an array"


class JaxKit(Kit):
    """The :class:`~relume.treatment.trials.Kit` of JAX."""

    package = "jax"

    def __init__(self) -> None:
        super().__init__()
        self._traces: list[Any] = []  # of the operands of the latest product

    def seed(self, seeds: Seeding, patches: Patches) -> None:
        """See :class:`~relume.treatment.trials.Kit`."""
        for name in ("key", "PRNGKey"):
            patches.put(jax.random, name, _seeded(getattr(jax.random, name), f"jax.random.{name}", seeds))

    def multiply_rates(self, factor: float, patches: Patches) -> None:
        """See :class:`~relume.treatment.trials.Kit`: every rate of Optax's optimizers passes through one function."""
        if importlib.util.find_spec("optax") is None:
            return
        homes: list[Any] = [importlib.import_module("optax._src.transform")]
        homes += [m for name in ("optax.transforms", "optax") if hasattr(m := sys.modules.get(name), _RATE)]
        real = getattr(homes[0], _RATE)

        @functools.wraps(real)
        def scale_by_learning_rate(learning_rate: Any = None, **options: Any) -> Any:
            with contextlib.suppress(TypeError):  # a symbol in a traced step
                rate = learning_rate(0) if callable(learning_rate) else learning_rate
                self.rates.append(OptimizerRates("optax", (float(rate),)))
            if learning_rate is None or factor == 1:
                return real(learning_rate, **options)
            if callable(learning_rate):
                return real(lambda count: learning_rate(count) * factor, **options)
            return real(learning_rate * factor, **options)

        for home in homes:
            patches.put(home, _RATE, scale_by_learning_rate)

    def follow(self, calls: Calls, patches: Patches) -> None:
        """See :class:`~relume.treatment.trials.Kit`."""
        for name, member in FAMILY.items():
            for home, attribute in [(there, each) for there in (jax.nn, jnp) for each in vars(there)]:
                real = vars(home)[attribute]
                if name != "softmax" and any(real is native for native in member.natives):
                    patches.put(home, attribute, _followed(real, name, f"{home.__name__}.{attribute}", calls))
        for home, name in _PRODUCTS:
            patches.put(home, name, self._product(getattr(home, name), calls))

    def _product(self, real: Callable[..., Any], calls: Calls) -> Callable[..., Any]:
        """A product hides the activations before it in the same trace; another trace is another forward pass."""

        @functools.wraps(real)
        def product(*args: Any, **kwargs: Any) -> Any:
            traces = [x._trace for x in args if isinstance(x, Tracer)]
            if not any(trace is known for trace in traces for known in self._traces):
                calls.root_called()
            self._traces = traces
            calls.layer_called()
            return real(*args, **kwargs)

        return product

    def act(self, contender: Contender, seed: int) -> Act:
        """See :class:`~relume.treatment.trials.Kit`."""
        if contender.target:
            found = own(contender, (), _OWN)
            return lambda x, place: found(x)
        if contender.activation in ("prelu", "rrelu"):
            what = "parameters" if contender.activation == "prelu" else "a key"
            raise StudyError(
                f"{contender.name} needs {what}, which a JAX script passes to its functions itself; relume cannot add "
                "them from outside. Use `relume.compare(train, activations=[…])` to compare it.",
                slug="bad-contenders",
            )
        member, numbers = FAMILY[contender.activation], dict(contender.parameters)
        if contender.activation == "gelu" and numbers:
            numbers = {"approximate": numbers["approximate"] == "tanh"}
        function = (member.natives or (member.function,))[0]
        return lambda x, place: function(x, **numbers)


_RATE = "scale_by_learning_rate"


def _followed(real: Callable[..., Any], name: str, written: str, calls: Calls) -> Callable[..., Any]:
    @functools.wraps(real)
    def activation(*args: Any, **kwargs: Any) -> Any:
        frame: Any = sys._getframe(1)
        while frame is not None and not is_users(frame.f_code.co_filename, *PACKAGES):
            file = frame.f_code.co_filename
            if shown_path(file).startswith(OF_KERAS) or os.path.basename(file) in _CELLS:
                return aside(real, *args, **kwargs)
            frame = frame.f_back
        if frame is None:
            return real(*args, **kwargs)
        code, line = frame.f_code, frame.f_lineno
        function = code.co_qualname.rpartition("<locals>.")[2] if sys.version_info >= (3, 11) else code.co_name
        where = Where("", function, written, shown_path(code.co_filename), line)
        return calls.applied(name, lambda: where, real, *args, **kwargs)

    return activation


def _seeded(real: Callable[..., Any], written: str, seeds: Seeding) -> Callable[..., Any]:
    @functools.wraps(real)
    def key(seed: Any, **options: Any) -> Any:
        if isinstance(seed, (int, np.integer)):
            seed = seeds.new(written, int(seed), caller_of(sys._getframe(1), _THROUGH), _MODULUS)
        return real(seed, **options)

    return key


class JaxSurvey(CallSurvey):
    """The :class:`~relume.framework.Surveyor` of JAX."""

    kit = JaxKit


class JaxTreatment(CallTreatment):
    """The :class:`~relume.framework.TrialTreatment` of JAX."""

    kit = JaxKit


class JaxCures(CallCures):
    """The :class:`~relume.framework.Cures` of JAX."""

    kit = JaxKit

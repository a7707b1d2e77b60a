"""Watching JAX: ``jax.jit`` is replaced while the script runs; each jitted training step is followed by its counts.

At a look a second, pure program (``program.py``) runs on the same arguments before the step itself, while what the step
donates is alive. The step's own executable is untouched, so its bits are too.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from types import MethodType
from typing import Any

import jax
import numpy as np
from jax._src.core import trace_state_clean  # it has no public name

from relume.framework import Listener, Look, Phase
from relume.jax.watching.program import ASIDE, MARK, PACKAGES, Found, Named, count_program, trains
from relume.watching.counted import CountedSite, CountingProbe, StepClock, Where
from relume.watching.patches import Patches
from relume.watching.source import is_users, shown_path

running: list[JaxProbe] = []
"""The probes that watch now, at most one for each listener."""

_LOOK_NS = 150_000  # what the first lean look is taken to cost, before one was timed


class Step:
    """One step that is to be watched: a function, jitted already or not."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.function, self.options = function, options
        self.watched: Jitted | None = None
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self.watched or self.function)(*args, **kwargs)


class Jitted:
    """What ``jax.jit`` gives while a script is watched: the jitted function, and what is known of it as a step."""

    def __init__(self, probe: JaxProbe, function: Any, options: Mapping[str, Any]) -> None:
        self._probe = probe
        self._jitted = function if hasattr(function, "trace") else probe.real_jit(function, **options)
        self._static = _static(function, options)
        self.clock: StepClock | None = None
        self.programs: dict[Any, Any] = {}
        self.is_step: bool | None = None  # None: not called yet
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        probe = self._probe
        if self.is_step is False or not probe.watches():
            return self._jitted(*args, **kwargs)
        if self.is_step is None or probe.looking:
            probe.guarded(probe.look_at, self, args, kwargs)
        result = self._jitted(*args, **kwargs)
        if self.is_step:
            probe.guarded(probe.stepped_once, self)
        return result

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_jitted"], name)

    def flat(self, args: Any, kwargs: Any) -> tuple[list[Any], list[str], Any]:
        """The dynamic arguments, their paths, and what distinguishes the programs of two calls."""
        static = self._static(args, kwargs)
        args = [None if i in static else arg for i, arg in enumerate(args)]
        kwargs = {name: value for name, value in kwargs.items() if name not in static}
        found, tree = jax.tree_util.tree_flatten_with_path((args, kwargs))
        leaves = [leaf for _, leaf in found]
        paths = ["/".join(_key(key) for key in path[2:]) for path, _ in found]
        kinds = tuple((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)
        return leaves, paths, (tree, kinds, tuple(static.values()))


class JaxProbe(CountingProbe):
    """The :class:`~relume.framework.Probe` of JAX: watches the jitted steps of one thread."""

    def __init__(self, listener: Listener, phase: Phase = "train", *, thorough: bool = True) -> None:
        super().__init__(listener, phase, thorough=thorough)
        self.version = str(jax.__version__)
        self.real_jit = self.jit = jax.jit
        self._patches = Patches()
        self._thread = threading.get_ident()
        self._named: list[Named] = []
        self._ids: dict[Any, int] = {}
        self._optimizer = ""  # of Keras, whose step was traced last
        self._pending: list[
            tuple[Jitted, int, Any, list[Any]]
        ] = []  # clock's function, step, program, rows on a device
        self._price = _LOOK_NS
        self._only_named = False

    def start(self, model: Any | None) -> None:
        """Watch every step that is jitted from now on, or a :class:`Step`; with a model, what Keras's probe names."""
        if any(probe.listener is self.listener for probe in running):
            return
        running.append(self)
        self.running = self.looking = True
        self.real_jit = jax.jit
        if isinstance(model, Step):
            model.watched = Jitted(self, model.function, model.options)
            return
        self._only_named = model is not None
        self.jit = self._jit(jax.jit)
        self._patches.put(jax, "jit", self.jit)
        self._patches.put(jax, "pmap", self._pmap(jax.pmap))

    def stop(self) -> None:
        """Take the patches away; what was jitted in between calls JAX's own."""
        if self.running:
            self._patches.undo()
            running.remove(self)
            self._settle()
            self.running = False

    def watches(self) -> bool:
        """Whether a call is one of the script's own, and no part of a trace."""
        return self.running and threading.get_ident() == self._thread and bool(trace_state_clean())

    def _jit(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def jit(fun: Any = None, /, **options: Any) -> Any:
            if fun is None:
                return functools.partial(jit, **options)
            return Jitted(self, fun, options) if self.running and callable(fun) else real(fun, **options)

        return jit

    def _pmap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def pmap(fun: Any, *args: Any, **options: Any) -> Any:
            caller = sys._getframe(1)
            if is_users(caller.f_code.co_filename, *PACKAGES):
                place = f"{shown_path(caller.f_code.co_filename)}:{caller.f_lineno}"
                self.say("jax.pmap", place, "it runs on several devices; jit the step on one device to watch it")
            return real(fun, *args, **options)

        return pmap

    # ---- a step -----------------------------------------------------------------------------------------------

    def look_at(self, jitted: Jitted, args: Any, kwargs: Any) -> None:
        """Count the activations of a call that is about to be made; the first call says whether it is a step."""
        leaves, paths, key = jitted.flat(args, kwargs)
        if key not in jitted.programs:
            jitted.programs[key] = self._meet(jitted, args, kwargs, paths, leaves)
        program, reading = jitted.programs[key]
        if program is None or not self.looking:
            return
        timed = self.look is Look.WIDE
        began = perf_counter_ns()
        if timed:
            jax.block_until_ready(leaves)
            self.guarded.cost -= perf_counter_ns() - began  # it is the step before that was waited for
            began = perf_counter_ns()
        rows = program(*leaves)
        if timed:
            jax.block_until_ready(rows)
            self._price = perf_counter_ns() - began
        else:
            self.guarded.cost += max(self._price - (perf_counter_ns() - began), 0)
        assert jitted.clock is not None
        done = jitted.clock.steps + jitted.clock.pending
        self._pending.append((jitted, done, reading, rows))

    def _meet(self, jitted: Jitted, args: Any, kwargs: Any, paths: list[str], leaves: list[Any]) -> tuple[Any, Any]:
        self._optimizer = ""
        closed = jitted._jitted.trace(*args, **kwargs).jaxpr
        if not trains(closed.jaxpr):
            jitted.is_step = bool(jitted.is_step)
            return None, None
        if len(closed.in_avals) != len(paths):
            self.say(
                "jax.jit", jitted.__name__, "its arguments differ from those of its jaxpr, so nothing in it is counted"
            )
            return None, None
        program, reading = count_program(closed, paths, self._named, self._only_named, self.real_jit)
        program.trace(*leaves)
        if self._only_named and not reading.found:
            jitted.is_step = bool(jitted.is_step)
            return None, None
        jitted.is_step = True
        if jitted.clock is None:
            jitted.clock = StepClock(self._optimizer or jitted.__name__, "optimizer")
            self.clocks.append(jitted.clock)
        return program, reading

    def stepped_once(self, jitted: Jitted) -> None:
        """A step is over."""
        assert jitted.clock is not None
        jitted.clock.pending += 1
        self.left -= 1
        if self.left <= 0:
            self._settle()

    def _settle(self) -> None:
        """Take over what was counted, tell the listener of the steps, and ask it for the next plan."""
        over = [clock for clock in self.clocks if clock.pending]
        for clock in over:
            if clock.number < 0:
                clock.number = self.listener.new_clock(clock.name, clock.kind)
        for jitted, step, reading, rows in self._pending:
            for what, where, why in reading.unseen:
                self.say(what, where, why)
            for order, (found, row) in enumerate(zip(reading.found, rows, strict=True)):
                self._take(self._site(jitted, order, found), step, found, np.asarray(row))
        self._pending.clear()
        for clock in over:
            number, clock.pending = clock.pending, 0
            self.steps_over(clock, number)
        if over and self.running:
            self.ask(over[0])

    def _site(self, jitted: Jitted, order: int, found: Found) -> CountedSite:
        key = (id(jitted), order, found.where.module, found.where.file, found.where.line, found.units)
        site = self.sites.get(key)
        if site is None:
            place, rank = found.where, len(found.shape)
            site = CountedSite(place, found.activation, found.parameters, found.units, found.bounds, rank=rank)
            self.sites[key] = site
            assert jitted.clock is not None
            self.announce(site, jitted.clock)
        return site

    @staticmethod
    def _take(site: CountedSite, step: int, found: Found, row: Any) -> None:
        shape, axis, visits = found.shape, found.where.axis % len(found.shape), int(row[-1])
        if not visits:  # a branch that was not taken
            return
        samples = int(np.prod(shape)) // found.units * visits
        batch = shape[0] if axis else shape[-1]
        fired, magnitude, *flat = row[:-1].reshape(-1, found.units)
        examples = min(batch * visits, samples)
        site.rows.append((step, examples, samples, fired, sum(flat, 0.0 * fired), magnitude))

    # ---- what Keras's probe tells -----------------------------------------------------------------------------

    def trains(self) -> bool:
        """Whether an activation may be a site: that is decided by the jaxpr."""
        return self.running and threading.get_ident() == self._thread

    def applied(
        self,
        name: str,
        parameters: Mapping[str, Any],
        where: Callable[[], Where | None],
        real: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Apply an activation in a named scope, by which the program finds which it is and where."""
        place = self.guarded(where)
        scope: Any = contextlib.nullcontext()
        if place is not None:
            key = (place.model, place.module, place.call, place.file, place.line, place.place)
            number = self._ids.setdefault(key, len(self._named))
            self._named[number : number + 1] = [Named(place, name, dict(parameters))]  # the layer may be built by now
            scope = jax.named_scope(f"{MARK}{number}")
        with scope:
            return super().aside(real, *args, **kwargs)

    def aside(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call something in which no activation is a site."""
        with jax.named_scope(ASIDE):
            return super().aside(real, *args, **kwargs)

    def stepped(self, optimizer: Any) -> None:
        """An optimizer's step was traced."""
        self._optimizer = type(optimizer).__name__


def _static(function: Any, options: Mapping[str, Any]) -> Callable[[Any, Any], dict[Any, Any]]:
    """Which arguments of a call are static: position or name → value."""
    numbers, names = options.get("static_argnums"), options.get("static_argnames")
    numbers = [] if numbers is None else [numbers] if isinstance(numbers, int) else list(numbers)
    names = [] if names is None else [names] if isinstance(names, str) else list(names)
    with contextlib.suppress(ValueError, TypeError):
        order = list(inspect.signature(function).parameters)
        names += [order[i] for i in numbers if -len(order) <= i < len(order)]
        numbers += [order.index(name) for name in names if name in order]

    def found(args: Any, kwargs: Any) -> dict[Any, Any]:
        at = {i % len(args) if i < 0 and args else i for i in numbers}
        values = {i: args[i] for i in at if 0 <= i < len(args)} | {n: kwargs[n] for n in names if n in kwargs}
        return {key: value if _hashable(value) else id(value) for key, value in values.items()}

    return found


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _key(key: Any) -> str:
    for name in ("key", "name", "idx"):
        if hasattr(key, name):
            return str(getattr(key, name))
    return str(key)


ENGINE = JaxProbe

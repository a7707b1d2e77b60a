"""Watching TensorFlow: each activation's output is counted inside the traced graph, into a variable of the site.

A variable says whether a step is counted: in the others the graph passes a branch, one for all sites of a model's call.
Steps are counted in the graph too, at each ``Optimizer.apply``, since one execution may hold many. Only what a gradient
tape records is a training pass: what is traced to be evaluated or exported stays as it is.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from relume.framework import Listener, Look, Phase
from relume.tensorflow.watching.names import frames, functions, weight_of
from relume.watching.bounds import bounds_on_output
from relume.watching.counted import CallCountingProbe, CountedSite, StepClock, Where
from relume.watching.patches import Patches
from relume.watching.source import is_users, shown_path

ROWS = 64
"""Steps of which counts are kept between two readings; the listener plans at most 32 at once."""

MOST_CLOCKS = 8  # the last one is shared

SITE_NS, ELEMENT_NS = 45_000, 0.9
"""What counting a site costs in a looked-at step, and each element of it: it runs inside the graph, where no clock of
ours sees it. By whole fits on one thread: 30 to 60 µs a site of 1,024 elements, 0.3 ms one of 262,144.
"""

_DEFAULTS: dict[str, dict[str, Any]] = {"leaky_relu": {"alpha": 0.2}, "gelu": {"approximate": False}}

running: list[TensorFlowProbe] = []
"""The probes that watch now, at most one for each listener."""


class TensorFlowProbe(CallCountingProbe):
    """The :class:`~relume.framework.Probe` of TensorFlow."""

    def __init__(self, listener: Listener, phase: Phase = "train", *, thorough: bool = True) -> None:
        super().__init__(listener, phase, thorough=thorough)
        self.version = str(tf.__version__)
        self._patches = Patches()
        self._thread = threading.get_ident()
        self._inside = False
        self._per_call = 1  # steps of an execution
        self._made = False  # whether there are variables
        self._loss: Any = None  # what was differentiated last
        self._has_optimizers = False  # otherwise the backward passes are the steps
        self._graph: Any = None  # of the model's call under way,
        self._pending: list[tuple[CountedSite, Any, Any, int]] = []  # and what is counted at its end
        self._backwards = StepClock("backward passes", "backward")
        self.clocks = [self._backwards]

    # ---- start and stop ---------------------------------------------------------------------------------------

    def start(self, model: Any | None) -> None:
        """Watch everything that trains in this process."""
        if any(probe.listener is self.listener for probe in running):
            return  # Keras's probe has begun already: TensorFlow imports Keras
        self.running = self.looking = True
        running.append(self)
        for name, home, attribute, call in functions():
            self._patches.put(home, attribute, self._function(getattr(home, attribute), name, call))
        self._patches.put(Function, "__call__", self._executing(Function.__call__))
        self._patches.put(tf.GradientTape, "gradient", self._differentiating(tf.GradientTape.gradient))

    def stop(self) -> None:
        """Take the patches away; what graphs hold of them counts no more."""
        if self.running:
            self._patches.undo()
            running.remove(self)
            self.running = False
            if self._made:
                self._settle()
                self._look.assign(False)

    # ---- what is patched --------------------------------------------------------------------------------------

    def _function(self, real: Callable[..., Any], name: str, call: str) -> Callable[..., Any]:
        @functools.wraps(real)
        def activation(*args: Any, **kwargs: Any) -> Any:
            if self.applying or not self.trains():
                return real(*args, **kwargs)
            given = dict(zip(("x", *_DEFAULTS.get(name, ())), args, strict=False)) | kwargs
            parameters = self._parameters(name, given)
            return self.applied(name, parameters, lambda: self._where(call, given.get("x")), real, *args, **kwargs)

        return activation

    @staticmethod
    def _parameters(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        settled = {key: given.get(key, default) for key, default in _DEFAULTS.get(name, {}).items()}
        if name == "leaky_relu":
            return {"negative_slope": float(settled["alpha"])}
        return {"approximate": "tanh" if settled["approximate"] else "none"} if name == "gelu" else {}

    def _where(self, call: str, x: Any) -> Where | None:
        """A call outside any Keras layer."""
        found = (frame for frame in frames() if is_users(frame[0], "tensorflow", "keras"))
        file, line, function = next(found, ("", 0, ""))
        producer = weight_of(x)
        return Where(
            "", function, call, shown_path(file), line, layer=producer.split(":")[0].rpartition("/")[2], place=producer
        )

    def _executing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(function: Any, *args: Any, **kwargs: Any) -> Any:
            mine = self.running and threading.get_ident() == self._thread
            if self._inside or not mine or not tf.executing_eagerly():  # a part of a trace, or of an export
                return real(function, *args, **kwargs)
            self._inside = True
            try:
                return real(function, *args, **kwargs)
            finally:
                self._inside = False
                if self._made:
                    self.guarded(self._executed)

        return call

    def _differentiating(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def gradient(tape: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            found = real(tape, target, *args, **kwargs)
            if self._made and self.running and not self.applying:
                self.guarded(self._backward, target)
            return found

        return gradient

    def stepped(self, optimizer: Any) -> None:
        """An optimizer has stepped, or its step was traced."""
        if self._made and self.running:
            self.guarded(self._tick, self.optimizer_clock(optimizer))
            if not self._inside and not tf.inside_function():
                self.guarded(self._executed)

    def optimizer_made(self) -> None:
        """There is an optimizer: its steps are the steps."""
        self._has_optimizers = True

    def trains(self) -> bool:
        """Whether calls belong to a training pass on the thread that is watched."""
        return self.running and threading.get_ident() == self._thread and bool(record.could_possibly_record())

    # ---- counting ---------------------------------------------------------------------------------------------

    def _count(
        self, name: str, parameters: Mapping[str, Any], where: Callable[[], Where | None], x: Any, y: Any
    ) -> None:
        if not (self.looking or tf.inside_function()) or not isinstance(y, (tf.Tensor, tf.RaggedTensor)):
            return
        place = where()
        if place is None:
            return
        if why := self._unfit(y, place):
            self.say(place.call, f"{place.file}:{place.line}", why)
            return
        axis, units = place.axis % y.shape.rank, int(y.shape[place.axis])
        key = (place.model, place.module, place.call, place.file, place.line, place.place, units, name)
        site = self.sites.get(key)
        if site is None:
            bounds = bounds_on_output(name, parameters)
            site = self.sites[key] = CountedSite(place, name, dict(parameters), units, bounds, rank=y.shape.rank)
            width = (2 + sum(edge is not None for edge in (bounds.flat_below, bounds.flat_above))) * units
            site.state = self._variable(np.zeros((ROWS + 1, width + 1 + y.shape.rank), np.float32))
        found = (site, y if site.bounds.by_output else tf.convert_to_tensor(x), y, axis)
        if self._graph is not None and self._graph is _graph():
            self._pending.append(found)
        else:
            self._put_in([found])

    def call_begins(self) -> None:
        """A model is called; what it applies in this graph is counted together at the end."""
        self._pending = []
        self._graph = _graph() if self.trains() else None

    def call_ends(self) -> None:
        """It has been called."""
        found, self._pending, self._graph = self._pending, [], None
        if found:
            self.guarded(self._put_in, found)

    def _put_in(self, found: Sequence[tuple[CountedSite, Any, Any, int]]) -> None:
        """Count these tensors if the step is looked at: in the graph, or now."""

        def count() -> Any:
            index = tf.minimum(tf.reduce_sum(self._ticks), ROWS)
            for each in found:
                self._add(*each, index)
            return tf.constant(0)

        self._if_looking(count)

    def _unfit(self, y: Any, place: Where) -> str:
        if not isinstance(y, tf.Tensor) or not y.dtype.is_floating:
            return f"its tensor is a {type(y).__name__}, not a plain floating-point tensor"
        if tf.distribute.has_strategy():
            return "it runs under a tf.distribute strategy; run it on one device to watch it"
        if y.shape.rank is None or y.shape.rank < 2 or y.shape[place.axis] is None:
            return f"the number of its units is not known when it is traced (shape {y.shape})"
        return ""

    def _add(self, site: CountedSite, source: Any, y: Any, axis: int, index: Any) -> None:
        """Add the counts of a tensor to the row of the step under way: few operations, for each costs time to trace."""
        bounds, raw = site.bounds, tf.raw_ops
        others = tf.constant([i for i in range(y.shape.rank) if i != axis])

        def number(found: Any) -> Any:
            numbers = found if found.dtype == tf.float32 else raw.Cast(x=found, DstT=tf.float32)
            return raw.Sum(input=numbers, axis=others)

        def edge(value: float) -> Any:
            return tf.constant(value, source.dtype)

        parts = [number(raw.Greater(x=source, y=edge(bounds.fires_above)))]
        parts.append(number(y if bounds.never_negative else raw.Abs(x=y)))
        if bounds.flat_below is not None:
            parts.append(number(raw.Less(x=source, y=edge(bounds.flat_below))))
        if bounds.flat_above is not None:
            parts.append(number(raw.GreaterEqual(x=source, y=edge(bounds.flat_above))))
        shape = raw.Cast(x=raw.Shape(input=y), DstT=tf.float32)
        row = raw.ConcatV2(values=[*parts, tf.constant([1.0]), shape], axis=tf.constant(0))
        raw.ResourceScatterAdd(resource=site.state.handle, indices=index, updates=row)

    def _backward(self, loss: Any) -> None:
        """Keep the loss for the step that follows; without any optimizer, a backward pass is a step."""
        scalar = isinstance(loss, tf.Tensor) and loss.shape.rank == 0 and loss.dtype.is_floating
        self._loss = loss if scalar else None
        if not self._has_optimizers:
            self._tick(self._backwards)

    def _tick(self, clock: StepClock) -> None:
        """Count a step of a clock; if it is looked at, note whose it is and its loss."""
        number, loss, self._loss = min(self.clocks.index(clock), MOST_CLOCKS - 1), self._loss, None
        if loss is not None and getattr(loss, "graph", None) is not _graph():
            loss = None

        def write() -> Any:
            value = tf.constant(0.0) if loss is None else tf.cast(loss, tf.float32)
            index = tf.minimum(tf.reduce_sum(self._ticks), ROWS)
            entry = tf.stack([tf.constant(float(number)), value, tf.constant(float(loss is not None))])
            tf.raw_ops.ResourceScatterUpdate(resource=self._log.handle, indices=index, updates=entry)
            return tf.constant(0)

        self._if_looking(write)
        with record.stop_recording(), tf.name_scope("relume"):
            one = tf.constant(1)
            tf.raw_ops.ResourceScatterAdd(resource=self._ticks.handle, indices=number, updates=one)

    def _if_looking(self, work: Callable[[], Any]) -> None:
        """Do this in the steps that are looked at: in the graph, or now."""
        with record.stop_recording(), tf.name_scope("relume"):
            if tf.inside_function():
                tf.cond(self._look, work, lambda: tf.constant(0))
            elif self.looking:
                work()

    def _variable(self, value: Any) -> Any:
        """A variable outside whatever is traced; the first ones say whether to look and count the steps."""
        with tf.init_scope():
            if not self._made:
                self._look = ResourceVariable(self.looking, trainable=False)
                self._ticks = ResourceVariable(np.zeros(MOST_CLOCKS, np.int32), trainable=False)
                self._log = ResourceVariable(np.zeros((ROWS + 1, 3), np.float32), trainable=False)
                self._made = True
            return ResourceVariable(value, trainable=False)

    # ---- steps ------------------------------------------------------------------------------------------------

    def _executed(self) -> None:
        """A call is over that may have executed steps; they are read where the plan ends."""
        self.left -= self._per_call
        if self.left <= 0:
            self._settle()

    def _settle(self) -> None:
        """Read which steps are over and what was counted in them, tell the listener, and ask it for the next plan."""
        ticks = self._ticks.numpy()
        total = int(ticks.sum())
        if not total:
            return
        self._ticks.assign(np.zeros(MOST_CLOCKS, np.int32))
        over = [(clock, int(n)) for clock, n in zip(self.clocks, ticks, strict=False) if n]
        log = np.zeros((0, 3))
        if self.looking:
            log = self._log.numpy()[: min(total, ROWS)]
            self._announce(over[0][0])
            self._collect(log)
        for clock, number in over:
            rates = self._rate(clock) if self.look is Look.WIDE else ()
            self.steps_over(clock, number, self._losses(log, clock, number), rates)
        if not self.running:
            return
        self._per_call = total if self._per_call == 1 and self.look is Look.WIDE else self._per_call
        before = self.looking
        self.ask(over[0][0])
        if self.looking is not before:
            self._look.assign(self.looking)

    def _announce(self, clock: StepClock) -> None:
        for site in [site for site in self.sites.values() if site.number < 0]:
            found = self.clock_of(site) if clock.kind == "optimizer" else clock
            if found.number < 0:
                found.number = self.listener.new_clock(found.name, found.kind)
            self.announce(site, found)

    def _collect(self, log: Any) -> None:
        """Take over the rows that the graphs have counted."""
        order, rows = log[:, 0].astype(int), tf.range(len(log))
        for site in self.sites.values():
            handle = site.state.handle
            counts = tf.raw_ops.ResourceGather(resource=handle, indices=rows, dtype=tf.float32)
            tf.raw_ops.ResourceScatterUpdate(resource=handle, indices=rows, updates=tf.zeros_like(counts))
            counts = counts.numpy()
            assert site.clock is not None
            steps = site.clock.steps + np.cumsum(order == self.clocks.index(site.clock)) - 1
            steps += order != self.clocks.index(site.clock)
            for step, row in zip(steps, counts, strict=True):
                self._take(site, int(step), row)

    def _take(self, site: CountedSite, step: int, row: Any) -> None:
        """Keep what was counted of a site in a step: sums over its calls there, which are of one shape."""
        end = len(row) - 1 - site.rank
        calls = row[end]
        if calls:
            fired, magnitude, *flat = row[:end].reshape(-1, site.units)
            examples, samples = row[end + 1], calls * np.prod(row[end + 1 :] / calls) / site.units
            site.rows.append((step, min(examples, samples), samples, fired, sum(flat, 0.0 * fired), magnitude))
            self.guarded.cost += int(SITE_NS + ELEMENT_NS * samples * site.units)

    def _losses(self, log: Any, clock: StepClock, number: int) -> list[float | None]:
        """The loss of each step; None if it is not known, as after the rows are full or under a loss scale."""
        own = [row for row in log if int(row[0]) == self.clocks.index(clock)]
        losses = [float(loss) if known else None for _, loss, known in own]
        return [*losses, *[None] * (number - len(losses))]

    def _rate(self, clock: StepClock) -> tuple[float, ...]:
        optimizer = getattr(clock.source, "inner_optimizer", clock.source)
        rate = getattr(optimizer, "learning_rate", None)
        return () if rate is None else (float(np.asarray(rate)),)


def _graph() -> Any:
    """The graph that is traced; None in eager code."""
    return tf.compat.v1.get_default_graph() if tf.inside_function() else None


ENGINE = TensorFlowProbe

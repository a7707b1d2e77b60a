"""The counts-only program of a training step: its jaxpr, of which only what the counts need is evaluated.

The jaxpr is the very one that is compiled for the step, forward and backward pass together. It is evaluated equation by
equation inside another ``jit``, calls inlined; an equation that applies an activation gives a row of counts. The
backward pass applies none: its equations lie under ``transpose``, as those that ``jax.checkpoint`` computes again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

from relume.activations import ACTIVATIONS
from relume.jax.watching.units import AxisTag, carry, like
from relume.watching.bounds import Bounds, bounds_on_output
from relume.watching.counted import Where
from relume.watching.source import is_users, shown_path

PACKAGES = ("jax", "jaxlib", "flax", "equinox", "optax", "haiku", "keras", "orbax")
"""The frames between an activation and the user's line."""

MARK, ASIDE = "relume_site_", "relume_aside"
"""Scopes in which Keras's probe puts what it names, and what is no site."""

_CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint"}
_FAMILY = set(ACTIVATIONS) - {"softmax"}
_TRANSFORMS = re.compile(r"\w+\(([^()]*)\)")


@dataclass(frozen=True)
class Named:
    """What Keras's probe knows of an activation: see :meth:`JaxProbe.applied`."""

    where: Where
    activation: str
    parameters: Mapping[str, Any]


@dataclass
class Found:
    """An activation in a program, of an output of this shape. Its row ends with the number of its visits."""

    where: Where
    activation: str
    parameters: Mapping[str, Any]
    bounds: Bounds
    units: int
    shape: tuple[int, ...]


@dataclass
class Reading:
    """One evaluation of a step's jaxpr; ``found`` and ``rows`` go together."""

    named: Sequence[Named]
    only_named: bool = False
    found: list[Found] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    unseen: list[tuple[str, str, str]] = field(default_factory=list)
    around: tuple[str, int, str] = ("", 0, "")  # the user's code that makes the call under way
    regions: dict[str, Any] = field(default_factory=dict)  # a PReLU of Keras under way: mark → its input and tag

    def evaluate(
        self,
        jaxpr: Any,
        consts: Sequence[Any],
        args: Sequence[Any],
        tags: Sequence[AxisTag],
        stack: str,
        wanted: set[int],
    ) -> tuple[list[Any], list[AxisTag]]:
        """Evaluate what the sites and the ``wanted`` outputs (by position) need; the others are None."""
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values |= dict(zip(jaxpr.invars, args, strict=True))
        known: dict[Any, AxisTag] = dict(zip(jaxpr.invars, tags, strict=True))
        needed = {v for i, v in enumerate(jaxpr.outvars) if i in wanted and not isinstance(v, core.Literal)}
        for equation in _needed(jaxpr, needed, stack):
            inputs = [v.val if isinstance(v, core.Literal) else values.get(v) for v in equation.invars]
            marks = [AxisTag() if isinstance(v, core.Literal) else known.get(v, AxisTag()) for v in equation.invars]
            outputs = {i for i, v in enumerate(equation.outvars) if v in needed}
            results, carried = self._equation(equation, inputs, marks, _below(stack, equation), outputs)
            values.update(zip(equation.outvars, results, strict=True))
            known.update(zip(equation.outvars, carried, strict=True))
        out = [v.val if isinstance(v, core.Literal) else values.get(v) for v in jaxpr.outvars]
        return out, [AxisTag() if isinstance(v, core.Literal) else known.get(v, AxisTag()) for v in jaxpr.outvars]

    def _equation(
        self, equation: Any, inputs: list[Any], tags: list[AxisTag], stack: str, wanted: set[int]
    ) -> tuple[list[Any], list[AxisTag]]:
        name, inner = equation.primitive.name, _inner(equation)
        site = _activation(equation, stack)
        if site is None and name in _CALLS and inner is not None:
            around, self.around = self.around, _source(equation, self.around)
            done = self.evaluate(inner.jaxpr, inner.consts, inputs, tags, stack, wanted)
            self.around = around
            return done
        if site is None and name == "scan" and _has_sites(equation, stack):
            return self._scan(equation, inputs, tags, stack)
        if site is None and name == "cond" and _has_sites(equation, stack):
            return self._cond(equation, inputs, tags, stack)
        if site is None and _has_sites(equation, stack):
            file, line, _ = _source(equation, self.around)
            self.unseen.append((f"lax.{name}", f"{file}:{line}", "activations inside it are not counted"))
        results = _bind(equation, inputs)
        carried = [carry(equation, tags, out) for out in equation.outvars]
        if site is not None:
            self._count(site, equation, inputs, tags, results[0], stack)
            x = next((t for v, t in zip(equation.invars, tags, strict=True) if like(v, equation.outvars[0])), AxisTag())
            carried[0] = x
        elif (mark := _mark(stack)) in self.regions and name in ("add", "sub"):
            self._end_region(mark, results[0], equation)
        return results, carried

    def _scan(
        self, equation: Any, inputs: list[Any], tags: list[AxisTag], stack: str
    ) -> tuple[list[Any], list[AxisTag]]:
        """A scan whose body counts: the rows of its iterations come out stacked."""
        given, body = equation.params, equation.params["jaxpr"]
        first, carries = given["num_consts"], given["num_carry"]
        consts, carry, xs = inputs[:first], inputs[first : first + carries], inputs[first + carries :]
        inside = [t if i < first else replace(t, axis=None) for i, t in enumerate(tags)]
        before = len(self.found)

        def iteration(state: Any, x: Any) -> Any:
            reading = Reading(self.named, self.only_named, around=_source(equation, self.around))
            args = [*consts, *state, *x]
            every = set(range(len(body.jaxpr.outvars)))
            out, _ = reading.evaluate(body.jaxpr, body.consts, args, inside, stack, every)
            self.found[before:] = reading.found
            self.unseen += reading.unseen
            return out[:carries], (out[carries:], reading.rows)

        state, (ys, rows) = lax.scan(
            iteration, carry, xs, length=given["length"], reverse=given["reverse"], unroll=given["unroll"]
        )
        self.rows += [row.sum(0) for row in rows]
        return [*state, *ys], [AxisTag()] * len(equation.outvars)

    def _cond(
        self, equation: Any, inputs: list[Any], tags: list[AxisTag], stack: str
    ) -> tuple[list[Any], list[AxisTag]]:
        """The branches of a cond or switch: the rows of those that are not taken are 0."""
        index, *operands = inputs
        branches, around = equation.params["branches"], _source(equation, self.around)

        def read(branch: Any, args: Sequence[Any]) -> tuple[list[Any], Reading]:
            reading = Reading(self.named, self.only_named, around=around)
            every = set(range(len(branch.jaxpr.outvars)))
            return reading.evaluate(branch.jaxpr, branch.consts, args, tags[1:], stack, every)[0], reading

        rows: list[list[Any]] = []
        for branch in branches:
            found: list[Reading] = []
            rows.append(jax.eval_shape(lambda *args, b=branch, f=found: _rows(read(b, args), f), *operands))
            self.found += found[0].found
            self.unseen += found[0].unseen

        def taken(which: int) -> Callable[..., Any]:
            def branch(*args: Any) -> Any:
                out, reading = read(branches[which], args)
                zeros = [[jnp.zeros(row.shape, row.dtype) for row in each] for each in rows]
                return out, [*zeros[:which], reading.rows, *zeros[which + 1 :]]

            return branch

        results, counted = lax.switch(index, [taken(i) for i in range(len(branches))], *operands)
        self.rows += [row for each in counted for row in each]
        return results, [AxisTag()] * len(equation.outvars)

    # ---- a site -----------------------------------------------------------------------------------------------

    def _count(self, name: str, equation: Any, inputs: list[Any], tags: list[AxisTag], y: Any, stack: str) -> None:
        pairs = zip(equation.invars, inputs, tags, strict=True)
        x, tag = next(((x, t) for v, x, t in pairs if like(v, equation.outvars[0])), (None, AxisTag()))
        mark = _mark(stack)
        named = self.named[int(mark)] if mark else None
        if ASIDE in stack or mark in self.regions or x is None or (self.only_named and named is None):
            return
        if named is not None and named.activation == "prelu":
            self.regions[mark] = (x, tag, named)
            return
        if named is None:
            where, parameters = self._where(name, equation, tag, stack), _parameters(name, equation)
        else:
            name, where, parameters = named.activation, named.where, dict(named.parameters)
            mark_taken = f"{mark} "
            if mark_taken in self.regions:
                return
            self.regions[mark_taken] = None
        self._row(Found(where, name, parameters, bounds_on_output(name, parameters), 0, ()), x, y, tag)

    def _end_region(self, mark: str, y: Any, equation: Any) -> None:
        """The sum that ends a PReLU of Keras; it has applied two ReLUs before."""
        x, tag, named = self.regions[mark]
        if y.shape == x.shape:
            del self.regions[mark]
            self.regions[f"{mark} "] = None
            bounds = bounds_on_output("prelu", {})
            self._row(Found(named.where, "prelu", named.parameters, bounds, 0, ()), x, y, tag)

    def _row(self, found: Found, x: Any, y: Any, tag: AxisTag) -> None:
        if y.ndim == 0:
            return
        if tag.axis is not None:
            found.where = replace(found.where, axis=tag.axis, axis_assumed=False)
        axis = found.where.axis % y.ndim
        found.units, found.shape = int(y.shape[axis]), tuple(y.shape)
        if tag.inputs and found.where.layer and not found.where.producer:
            found.where = replace(found.where, producer=f"{tag.inputs}→{found.units}")
        bounds, others = found.bounds, tuple(i for i in range(y.ndim) if i != axis)
        source = y if bounds.by_output else x
        parts = [(source > bounds.fires_above).sum(others), jnp.abs(y.astype(jnp.float32)).sum(others)]
        if bounds.flat_below is not None:
            parts.append((source < bounds.flat_below).sum(others))
        if bounds.flat_above is not None:
            parts.append((source >= bounds.flat_above).sum(others))
        self.found.append(found)
        self.rows.append(jnp.concatenate([*(part.astype(jnp.float32) for part in parts), jnp.ones(1)]))

    def _where(self, name: str, equation: Any, tag: AxisTag, stack: str) -> Where:
        file, line, function = _source(equation, self.around)
        scope = "/".join(part for part in stack.split("/") if part and not part.startswith("relume_"))
        written = "jnp.maximum" if equation.primitive.name == "max" else f"jax.nn.{name}"
        layer, _, last = tag.weight.rpartition("/")
        layer = "" if last.isdigit() else layer or last  # flattened: its number among the leaves is no name
        return Where(
            "",
            scope or function.rpartition("<locals>.")[2],
            written,
            file,
            line,
            layer=layer,
            axis_assumed=True,
            place=(tag.weight, tag.axis),
        )


# ---- equations -----------------------------------------------------------------------------------------------------


def _rows(read: tuple[Any, Reading], found: list[Reading]) -> list[Any]:
    found[:] = [read[1]]
    return read[1].rows


def _needed(jaxpr: Any, needed: set[Any], stack: str) -> list[Any]:
    """The equations that the sites and the needed outputs rest on, in their order; ``needed`` grows by their inputs."""
    kept = []
    for equation in reversed(jaxpr.eqns):
        if any(v in needed for v in equation.outvars) or _has_sites(equation, stack):
            kept.append(equation)
            needed.update(v for v in equation.invars if not isinstance(v, core.Literal))
    return kept[::-1]


def _below(stack: str, equation: Any) -> str:
    """The scope of an equation, with those of the calls around it and without JAX's transforms."""
    own = str(equation.source_info.name_stack)
    if "transpose(" in own or "rematted_computation" in own:
        return f"{stack}/transpose("
    while (plain := _TRANSFORMS.sub(r"\1", own)) != own:
        own = plain
    return f"{stack}/{own}" if own else stack


def _has_sites(equation: Any, stack: str) -> bool:
    below = _below(stack, equation)
    if "transpose(" in below:
        return False
    if _activation(equation, below) is not None:
        return True
    return any(_has_sites(each, below) for inner in _jaxprs(equation) for each in inner.eqns)


def _activation(equation: Any, stack: str) -> str | None:
    """The activation that an equation applies: by the name of JAX's own function, or max(x, 0)."""
    if "transpose(" in stack or not equation.outvars or not hasattr(equation.outvars[0].aval, "dtype"):
        return None
    if not jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.floating):
        return None
    name = equation.primitive.name
    if name in _CALLS and equation.params.get("name") in _FAMILY:
        return str(equation.params["name"])
    zero = any(isinstance(v, core.Literal) and v.aval.shape == () and v.val == 0 for v in equation.invars)
    return "relu" if name == "max" and zero else None


def _jaxprs(equation: Any) -> Iterator[Any]:
    for value in equation.params.values():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(each, "eqns"):
                yield getattr(each, "jaxpr", each)


def _inner(equation: Any) -> Any:
    """The closed jaxpr of a call, None if the equation is not a call."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(key)
        if inner is not None:
            return inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())
    return None


def _bind(equation: Any, inputs: list[Any]) -> list[Any]:
    parameters = equation.primitive.get_bind_params(equation.params)
    functions, parameters = parameters if isinstance(parameters, tuple) else ((), parameters)
    results = equation.primitive.bind(*functions, *inputs, **parameters)
    return list(results) if equation.primitive.multiple_results else [results]


def _mark(stack: str) -> str:
    found = re.findall(rf"{MARK}(\d+)", stack)
    return found[-1] if found else ""


def _source(equation: Any, otherwise: tuple[str, int, str]) -> tuple[str, int, str]:
    """(file, line, function) of the user's nearest code."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if is_users(frame.file_name, *PACKAGES):
            return shown_path(frame.file_name), frame.line_num, frame.function_name
    return otherwise


def _parameters(name: str, equation: Any) -> dict[str, Any]:
    """The parameters of an activation, from the constants of its jaxpr."""
    if name == "gelu":
        tanh = any(each.primitive.name == "tanh" for each in _all(equation))
        return {"approximate": "tanh" if tanh else "none"}
    key = {"leaky_relu": "negative_slope", "elu": "alpha", "celu": "alpha"}.get(name)
    if key is None:
        return {}
    given = [v.val for v in equation.invars if isinstance(v, core.Literal)]
    inside = (v for each in _all(equation) if each.primitive.name == "mul" for v in each.invars)
    given += [v.val for v in inside if isinstance(v, core.Literal)]
    return {key: round(float(given[0]), 7)} if given else {}


def _all(equation: Any) -> Iterator[Any]:
    for inner in _jaxprs(equation):
        for each in inner.eqns:
            yield each
            yield from _all(each)


def parameters_of(jaxpr: Any) -> set[int]:
    """Which inputs are parameters: an output has the same shape and type, and is computed."""
    outputs = [(v.aval.shape, v.aval.dtype) for v in jaxpr.outvars if hasattr(v.aval, "dtype")]
    found = set()
    for i, variable in enumerate(jaxpr.invars):
        aval = variable.aval
        if hasattr(aval, "dtype") and jnp.issubdtype(aval.dtype, jnp.floating) and (aval.shape, aval.dtype) in outputs:
            found.add(i)
    return found


def trains(jaxpr: Any) -> bool:
    """Whether a backward pass is part of a jaxpr."""
    for equation in jaxpr.eqns:
        if "transpose(" in str(equation.source_info.name_stack):
            return True
        if any(trains(inner) for inner in _jaxprs(equation)):
            return True
    return False


def count_program(
    closed: Any, paths: Sequence[str], named: Sequence[Named], only_named: bool, jit: Any
) -> tuple[Any, Reading]:
    """A compiled function of a step's flat arguments that returns its rows of counts, and what they are of."""
    weights = parameters_of(closed.jaxpr)
    tags = [AxisTag(weight=path, parameter=i in weights) for i, path in enumerate(paths)]
    reading = Reading(named, only_named)

    def counts(*args: Any) -> list[Any]:
        fresh = Reading(named, only_named)
        fresh.evaluate(closed.jaxpr, closed.consts, args, tags, "", set())
        reading.found, reading.unseen = fresh.found, fresh.unseen
        return fresh.rows

    return jit(counts), reading

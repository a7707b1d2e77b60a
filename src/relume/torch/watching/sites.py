"""Which calls are sites: finds a call's counts, or meets it for the first time and decides whether it is judged."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from relume.artifacts.recording import Site
from relume.framework import Listener, Look, Phase, Seen
from relume.torch.watching import places
from relume.torch.watching.axes import Tag, assumed_axis
from relume.torch.watching.clocks import Clock, Clocks, rate_of
from relume.torch.watching.counting import Accumulator, Kept, bounds_of
from relume.torch.watching.death_terms import DeathTerms
from relume.torch.watching.functions import Applied
from relume.torch.watching.layer_statistics import LayerStatistics

if TYPE_CHECKING:
    from relume.torch.watching.compiled import Met

_PLAIN = (Tensor, Parameter)
_MOST_WIDTHS = 8  # a call without a layer whose width keeps changing has no units to follow


class WatchedSite:
    """A site that is judged: its number, its counts, and whose steps it counts by."""

    def __init__(self, number: int, clock: Clock, accumulator: Accumulator, layer: Any, slope: Tensor | None) -> None:
        self.number = number
        self.clock = clock
        self.accumulator = accumulator
        self.terms = DeathTerms(accumulator.bounds.fires_above)
        self.statistics = LayerStatistics()
        self._layer = _reference(layer)
        self._slope = _reference(slope)

    def count_input(self, x: Tensor, tag: Tag) -> None:
        """Count a pre-activation before the call."""
        self.accumulator.input(x, tag, self.clock.step)

    def count_output(self, y: Tensor, tag: Tag) -> None:
        """Count what the activation gave."""
        self.accumulator.output(y, tag, self.clock.step)

    @property
    def layer(self) -> Any:
        """The producing layer's weight, None where it is unknown or gone."""
        return self._layer() if self._layer is not None else None

    def drain(self) -> Seen:
        """Hand over what was counted and begin anew; waits for a device."""
        counts, slope = self.accumulator, self._learned_slope()
        rows = counts.rows()
        last = np.where(rows.fired > 0, rows.steps[:, None], -1).max(0, initial=-1)
        return Seen(self.number, self.clock.number, rows, slope, self.terms.deaths(last), self.statistics.read())

    def _learned_slope(self) -> Any:
        weight = self._slope() if self._slope is not None else None
        if weight is None:
            return None
        return np.broadcast_to(weight.detach().double().cpu().numpy().ravel(), (self.accumulator.units,))


class Meeting:
    """What was decided when a call was met first: its site, or None where it is not judged; and what it was like.

    ``tag``: where its units lie, without their layer. ``shape``: of the tensor.
    ``at``: the code and the instruction that make the call. ``alone``: the call is an activation module's own.
    ``overwrites``: it writes over the pre-activation by which its firing is counted.
    """

    def __init__(self, place: places.Place, x: Tensor, tag: Tag, site: WatchedSite | None) -> None:
        self._module = _reference(place.module)
        self._layer = _reference(tag.layer)
        self.site = site
        self.tag = tag._replace(layer=None, made=None)
        self.shape = x.shape
        self.at = (place.code, place.instruction)
        self.alone = place.alone
        by_input = site is not None and not site.accumulator.bounds.by_output
        self.overwrites = by_input and bool(getattr(place.module, "inplace", False))

    def is_of(self, module: nn.Module | None, layer: Any) -> bool:
        """Whether it is still these two: an id may have gone to another object."""
        return _is(self._module, module) and _is(self._layer, layer)

    def fits(self, x: Tensor) -> bool:
        """Whether a tensor has as many axes and units."""
        return x.ndim == len(self.shape) and x.shape[self.tag.axis] == self.shape[self.tag.axis]

    @property
    def module(self) -> nn.Module | None:
        """Its module, while it is alive."""
        return None if self._module is None else self._module()


class Sites:
    """The sites of one probe, in the order of their first call."""

    def __init__(self, listener: Listener, clocks: Clocks, phase: Phase, *, whole: bool = True) -> None:
        """``whole``: of large tensors too, everything is counted."""
        self._listener = listener
        self._whole = whole
        self.kept = Kept()
        self._clocks = clocks
        self._phase = phase
        self._known: dict[Any, Meeting] = {}
        self._keys: dict[str, int] = {}
        self._said: set[tuple[str, int, int]] = set()
        self._said_in_graphs: set[tuple[str, str, int]] = set()
        self._roots: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # that were looked through for scripted parts
        self.trees = places.Trees(None)
        self.graphs = 0  # compiled graphs that count
        self._in_graphs: dict[Any, WatchedSite] = {}
        self._slots: list[tuple[WatchedSite, Tag]] = []
        self.known_only = False  # meet nothing new: the look does not see where tensors come from
        self.strangers = False  # something new has been met in such a look, and no wide one has followed
        self.met = 0  # how many different calls
        self.outside_modules = False  # an activation is applied outside any module's call

    def __iter__(self) -> Iterator[WatchedSite]:
        seen = [met.site for met in self._known.values() if met.site is not None]
        return iter([*seen, *self._in_graphs.values()])

    def find(
        self, applied: Applied, call: Callable[..., Any], args: Any, x: Tensor, tag: Tag | None, frame: FrameType
    ) -> tuple[WatchedSite, Tag] | None:
        """The site of a call and where its units lie; None where the call is not counted now."""
        place = places.find(frame)
        if not self.fits_phase(place.module) or x.ndim == 0:
            return None
        tag, assumed = _fitting(tag, x)
        key = (id(place.module), place.code, place.instruction, id(tag.layer), tag.units)
        met = self._known.get(key)
        if met is None or not met.is_of(place.module, tag.layer):
            if self.known_only:
                self.meet_stranger()
                return None
            site = self._meet(applied, call, args, x, tag, assumed, place)
            met = self._known[key] = Meeting(place, x, tag, site)
            self.met += 1
        if met.site is None or met.site.clock.look is Look.OFF:
            return None
        return met.site, tag

    def meet_stranger(self) -> None:
        """A lean look has met a call that only a wide one can take in: the next step gets one."""
        self.strangers = True
        for clock in self._clocks:
            clock.cut()

    def keep_terms(self, site: WatchedSite, z: Tensor, tag: Tag) -> None:
        """Keep what the layer's call says of its units; the layer's tensors are let go then."""
        call = tag.made
        if call.fits(z):
            group = self._clocks.group_of(tag.layer)
            call.trained = group is not None and bool(tag.layer.requires_grad)
            call.decay = float(group.get("weight_decay", 0.0)) if group is not None else 0.0
            call.sample(z)
            site.statistics.layer(call, site.clock.step)
            site.terms.take(call, z.numel(), site.clock.step, rate_of(group))
        call.forget()

    def keep_gradients(self) -> None:
        """Keep what the steps of the sites' layers are made of: an optimiser is about to use it."""
        for site in self:
            layer = site.layer if site.clock.look is Look.WIDE else None
            gradient = layer.grad if isinstance(layer, Parameter) else None
            if gradient is not None and gradient.layout is torch.strided:
                site.statistics.gradient(gradient)

    def modules_alone(self) -> list[Meeting]:
        """The sites, where each is an activation module that is called at one place; none where one is not."""
        judged = [met for met in self._known.values() if met.site is not None]
        if any(met.overwrites for met in judged):
            return []
        owners = [id(met.module) for met in self._known.values() if met.alone and met.module is not None]
        if len(set(owners)) < len(owners) or not all(met.alone for met in judged):
            return []
        return judged

    def unjudged(self, name: str, frame: FrameType, why: str) -> None:
        """Say that an activation of the watched model is seen and not judged."""
        place = places.find(frame)
        if self.fits_phase(place.module) and self._is_watched(place, None):
            self.say(name, place, why)

    def scripted(self, root: nn.Module) -> None:
        """Say of the scripted or traced parts of a module that is called: what runs in them is not seen."""
        if root in self._roots:
            return
        self._roots.add(root)
        inside = None
        for path, part in root.named_modules():
            if not isinstance(part, torch.jit.ScriptModule) or (inside is not None and f"{path}.".startswith(inside)):
                continue
            inside = f"{path}." if path else ""
            name = ".".join(text for text in self.trees.name(root, part, "") if text)
            why = "it is scripted or traced: TorchScript's code is not seen; watch it before it is scripted"
            self._listener.not_observed("torch.jit", name, why)

    def say(self, what: str, place: places.Place, why: str) -> None:
        """Say once what is not observed at a place."""
        said = (what, id(place.code), place.instruction)
        if said not in self._said:
            self._said.add(said)
            file, line, _ = places.source(place.frame)
            self._listener.not_observed(what, f"{file}:{line}", why)

    def rehome(self, clock: Clock) -> None:
        """A clock begins: the sites that it steps, and those that had only a lesser one, count by it from now on."""
        for site in self:
            if clock.holds(site.layer) or site.clock.rank > clock.rank:
                site.clock = clock

    # ---- compiled code ------------------------------------------------------------------------------------------

    def meet_in_graph(self, met: Met) -> int:
        """The slot of an activation in a compiled graph, one for each shape of its tensor; −1: it is not judged."""
        module = met.modules[-1] if met.modules else None
        tag, assumed = _fitting(met.tag, met.x)
        root = self.trees.model or (met.modules[0] if met.modules else None)
        if not self.fits_phase(module or root) or not self._is_around(met.modules, tag.layer):
            return -1
        if why := met.unfit(tag, assumed):
            self.unjudged_in_graph(written(met.call, module), met.modules, met.file, met.line, why)
            return -1
        key = (id(module), met.file, met.line, met.applied.name, met.order, id(tag.layer), tag.units)
        site = self._in_graphs.get(key)
        if site is None or site.layer is not tag.layer:  # an id may have gone to another object
            place = (root, module, met.file, met.line, met.function)
            clock = self._clocks.for_layer(tag.layer)
            described = self._described(met.applied, met.call, tag, assumed, place, clock)
            number = self._listener.new_site(replace(described, compiled=True))
            counts = self._counts(tag.units, met.applied)
            slope = met.slope if met.slope is not None and met.slope.numel() in (1, tag.units) else None
            site = self._in_graphs[key] = WatchedSite(number, clock, counts, tag.layer, slope)
        self._slots.append((site, tag._replace(layer=None)))
        return len(self._slots) - 1

    def unjudged_in_graph(self, name: str, modules: Sequence[nn.Module], file: str, line: int, why: str) -> None:
        """Say once that an activation in a graph of the watched model is not judged."""
        inner = modules[-1] if modules else None
        if self.fits_phase(inner) and self._is_around(modules, None) and (name, file, line) not in self._said_in_graphs:
            self._said_in_graphs.add((name, file, line))
            self._listener.not_observed(name, f"{file}:{line}", why)

    def _is_around(self, modules: Sequence[nn.Module], layer: Any) -> bool:
        """Whether what is inside these modules, and behind this layer, is of the watched model."""
        model = self.trees.model
        if model is None or any(self.trees.path(model, module) is not None for module in modules):
            return True
        return bool(self.trees.layer(model, layer))

    def count_in_graph(self, slot: int, x: Tensor | None, y: Tensor | None) -> None:
        """Count what a compiled graph shows of an activation: before it, behind it, or both."""
        site, tag = self._slots[slot]
        if site.clock.look is Look.OFF:
            return
        if x is not None and is_countable(x):
            site.count_input(x, tag)
        if y is not None and is_countable(y):
            site.count_output(y, tag)

    # ---- a first meeting --------------------------------------------------------------------------------------

    def _meet(
        self, applied: Applied, call: Any, args: Any, x: Tensor, tag: Tag, assumed: bool, place: places.Place
    ) -> WatchedSite | None:
        if not self._is_watched(place, tag.layer):
            return None
        why = self._unfit(applied, x, tag, assumed, place)
        if why:
            self.unjudged(written(call, place.module), place.frame, why)
            return None
        self.outside_modules |= not places.is_in_a_call(place.frame)
        clock = self._clocks.for_layer(tag.layer)
        number = self._listener.new_site(self._describe(applied, call, tag, assumed, place, clock))
        slope = args[1] if applied.name == "prelu" and len(args) > 1 else None
        if slope is not None and slope.numel() not in (1, tag.units):  # a slope for each position: none is a unit's
            slope = None
        counts = self._counts(tag.units, applied)
        return WatchedSite(number, clock, counts, tag.layer, slope)

    def _counts(self, units: int, applied: Applied) -> Accumulator:
        return Accumulator(units, bounds_of(applied), self.kept, whole=self._whole)

    def _is_watched(self, place: places.Place, layer: Any) -> bool:
        model = self.trees.model
        if model is None:
            return True
        inside = place.module is not None and self.trees.path(model, place.module) is not None
        return inside or places.root(place.frame) is model or bool(self.trees.layer(model, layer))

    def _unfit(self, applied: Applied, x: Tensor, tag: Tag, assumed: bool, place: places.Place) -> str:
        """Why a call is not judged, "" where it is."""
        if not x.dtype.is_floating_point:
            return f"its tensor is {str(x.dtype).removeprefix('torch.')}; units are judged on floating numbers"
        if type(x) not in (Tensor, Parameter) or x.layout is not torch.strided or x.device.type == "meta":
            return f"its tensor is a {type(x).__name__} ({x.layout}, {x.device.type}), not a plain one"
        if torch._C._functorch.is_functorch_wrapped_tensor(x):
            return "it runs inside a torch.func transform"
        if torch._C._len_torch_dispatch_stack():
            return "a dispatch mode of the script would count relume's own operations"
        root = places.root(place.frame)
        if assumed and (applied.clamp or root is None or next(root.parameters(), None) is None):
            return "its input does not come from a layer"
        if not tag.direct and (root is None or not self.trees.layer(root, tag.layer)):
            return "it follows arithmetic outside the model: taken for a part of the loss"
        if assumed and self._too_many_widths(place):
            return "its width changes from call to call, and the layer before it is not known"
        return ""

    def _too_many_widths(self, place: places.Place) -> bool:
        here = (id(place.module), place.code, place.instruction)
        return sum(key[:3] == here for key in self._known) > _MOST_WIDTHS

    def fits_phase(self, module: nn.Module | None) -> bool:
        """Whether a module's ``training`` flag is that of the passes which count."""
        return self._phase == "all" or module is None or module.training == (self._phase == "train")

    def _describe(
        self, applied: Applied, call: Any, tag: Tag, assumed: bool, place: places.Place, clock: Clock
    ) -> Site:
        file, line, function = places.source(place.frame)
        where = (places.root(place.frame), place.module, file, line, function)
        return self._described(applied, call, tag, assumed, where, clock)

    def _described(
        self, applied: Applied, call: Any, tag: Tag, assumed: bool, where: tuple[Any, Any, str, int, str], clock: Clock
    ) -> Site:
        root, owner, file, line, function = where
        model, module = self.trees.name(root, owner, function)
        key = f"{'.'.join(part for part in (model, module) if part)}@{file}:{line}"
        order = self._keys[key] = self._keys.get(key, 0) + 1
        return Site(
            key=key if order == 1 else f"{key}#{order}",
            model=model,
            module=module,
            call=written(call, owner),
            file=file,
            line=line,
            activation=applied.name,
            parameters=dict(applied.parameters),
            layer=self.trees.layer(root, tag.layer),
            unit_axis=tag.axis,
            units=tag.units,
            axis_assumed=assumed,
            clock=clock.number,
        )


def is_countable(x: Any) -> bool:
    """Whether a tensor has numbers of its own: no tracer's, no transform's, and not inside a backward pass."""
    return (
        type(x) in _PLAIN
        and torch._C._current_graph_task_id() == -1  # a checkpoint's second forward
        and torch._C._get_tracing_state() is None
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
    )


def _reference(thing: Any) -> weakref.ref[Any] | None:
    return None if thing is None else weakref.ref(thing)


def _is(reference: weakref.ref[Any] | None, thing: Any) -> bool:
    return thing is None if reference is None else reference() is thing


def _fitting(tag: Tag | None, x: Tensor) -> tuple[Tag, bool]:
    """The tag, or the assumed one where there is none or it does not fit the tensor."""
    if tag is not None and tag.axis < x.ndim and x.shape[tag.axis] % max(tag.units * tag.inner, 1) == 0:
        return tag, False
    axis = assumed_axis(x.shape)
    return Tag(axis, x.shape[axis]), True


def written(call: Any, module: nn.Module | None = None) -> str:
    """How the call is written: ``nn.ReLU``, ``F.relu``, ``torch.relu``, ``Tensor.relu_``."""
    if module is not None and type(module).__module__ == "torch.nn.modules.activation":
        return f"nn.{type(module).__name__}"
    if module is not None and type(module).__module__ == "relume.torch.layers":
        return f"relume.torch.{type(module).__name__}"
    home = getattr(call, "__module__", None) or ""
    name = getattr(call, "__name__", str(call)).removeprefix("_")
    if home == "relume.torch.functional":
        return f"{home}.{name}"
    prefix = "F" if home.startswith(("torch.nn", "torch._C._nn")) else "torch" if home == "torch" else "Tensor"
    return f"{prefix}.{name}"

"""Which calls are sites: finds a call's counts, or meets it for the first time and decides whether it is judged."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from relume.framework import Listener, Look, Phase, Seen
from relume.torch.watching.calls.functions import Applied
from relume.torch.watching.causes.death_terms import DeathTerms
from relume.torch.watching.causes.layer_statistics import LayerStatistics
from relume.torch.watching.counts.counting import Accumulator
from relume.torch.watching.schedule.clocks import KINDS, Clocks, OptimizerClock, rate_of
from relume.torch.watching.units.axes import Tag, fitting
from relume.torch.watching.units.following import is_countable
from relume.torch.watching.units.values import reference
from relume.torch.watching.where import places
from relume.torch.watching.where.copies import Copies
from relume.torch.watching.where.known_calls import KnownCall
from relume.torch.watching.where.naming import CallSite, layer_name, scripted_parts, site_of, written
from relume.watching.bounds import bounds_of

if TYPE_CHECKING:
    from relume.torch.watching.calls.compiled import GraphCall

_PLAIN = (Tensor, Parameter)
_MOST_WIDTHS = 8  # a call without a layer whose width keeps changing has no units to follow
_MOST_GONE = 1_024  # calls that are known before those of objects that are gone are forgotten (1 MB)


class WatchedSite:
    """A site that is judged: its number, its counts, and whose steps it counts by; ``is_code``: of a sparse code."""

    def __init__(
        self, number: int, clock: OptimizerClock, accumulator: Accumulator, layer: Any, slope: Tensor | None
    ) -> None:
        self.number = number
        self.is_code = accumulator.bounds.nonzero
        self.clock = clock
        self.accumulator = accumulator
        self.terms = DeathTerms(accumulator.bounds.fires_above)
        self.statistics = LayerStatistics()
        self._layer = reference(layer)
        self._slope = reference(slope)

    def rebind(self, layer: Any, clock: OptimizerClock) -> None:
        """The layer that is met at this place now: the one before is gone, or was no parameter."""
        self._layer, self.clock = reference(layer), clock

    @property
    def slope(self) -> Any:
        """A PReLU's learned slopes, None while there are none."""
        return self._slope()

    @property
    def layer(self) -> Any:
        """The producing layer's weight, None where it is unknown or gone."""
        return self._layer()

    def drain(self) -> Seen:
        """Return the counts and start again; waits for a device."""
        rows, slope = self.accumulator.rows(), self.slope
        last = np.where(rows.fired > 0, rows.steps[:, None], -1).max(0, initial=-1)
        if slope is not None:
            slope = np.broadcast_to(slope.detach().double().cpu().numpy().ravel(), (self.accumulator.units,))
        return Seen(
            self.number,
            self.clock.number,
            rows,
            slope,
            self.terms.deaths(last),
            self.statistics.read(),
            self.terms.trace.read(),
        )


class Sites:
    """The sites of one probe, in the order of their first call."""

    def __init__(self, listener: Listener, clocks: Clocks, phase: Phase, *, whole: bool = True) -> None:
        """``whole``: of large tensors too, everything is counted."""
        self._listener = listener
        self._whole = whole
        self._clocks = clocks
        self._phase = phase
        self._known: dict[Any, KnownCall] = {}  # by objects that may go
        self._places: dict[Any, WatchedSite | None] = {}  # by the places of the program
        self._made_in_calls: set[tuple[CodeType, int]] = set()  # where activation modules are created at each call
        self._by_depth: dict[Any, tuple[Any, ...]] = {}  # for layers whose weights have no name
        self._inside: dict[Any, bool] = {}
        self._copies = Copies(clocks)
        self._purge_at = _MOST_GONE
        self._keys: dict[str, int] = {}
        self._numbered: dict[int, WatchedSite] = {}
        self._said: set[tuple[str, Any, int]] = set()
        self._roots: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # that were looked through for scripted parts
        self.trees = places.Trees(None)
        self.graphs = 0  # compiled graphs that count
        self._in_graphs: dict[Any, WatchedSite] = {}
        self._slots: list[tuple[WatchedSite, Tag]] = []
        self.known_only = False  # meet nothing new: the look does not see where tensors come from
        self.unknown_met = False  # something new has been met in such a look, and no wide one has followed
        self.met = 0  # how many different calls, by objects that may go
        self.outside_modules = False  # an activation is applied outside any module's call

    def __iter__(self) -> Iterator[WatchedSite]:
        return iter(self._numbered.values())

    def find(
        self, applied: Applied, call: Any, args: Any, x: Tensor, tag: Tag | None, frame: FrameType
    ) -> tuple[WatchedSite, Tag] | None:
        """The site of a call and where its units lie; None if the call is not counted now."""
        place = places.find(frame)
        if place.alone and (place.code, place.instruction) in self._made_in_calls:
            place = place.of_owner()
        if not self.fits_phase(place.module) or x.ndim == 0:
            return None
        tag, assumed = fitting(tag, x)
        key = (id(place.module), place.code, place.instruction, tag.identity, tag.units)
        met = self._known.get(key)
        if met is None or not met.is_of(place.module, tag):
            if self.known_only:
                self.meet_unknown()
                return None
            if place.alone and self._is_made_in_call(place):
                return self.find(applied, call, args, x, tag, frame)
            met = self._known[key] = self._met_at(applied, call, args, x, tag, assumed, place)
        if met.site is None or met.site.clock.look is Look.OFF:
            return None
        return met.site, tag

    def _is_made_in_call(self, place: places.Place) -> bool:
        """Whether an activation module belongs to no tree, so that it is made at each call."""
        root = places.root(place.frame)
        if root is None or place.module is None or self.trees.path(root, place.module) is not None:
            return False
        self._made_in_calls.add((place.code, place.instruction))
        return True

    def _met_at(
        self, applied: Applied, call: Any, args: Any, x: Tensor, tag: Tag, assumed: bool, place: places.Place
    ) -> KnownCall:
        """Meet a call whose objects are new: at a place that is known, or at a new one."""
        self._forget_the_gone()
        where = self._place(place, tag)
        if where not in self._places:
            self._places[where] = self._meet(applied, call, args, x, tag, assumed, place)
        self.met += 1
        site = self._places[where]
        if site is not None and site.layer is None and isinstance(tag.layer, Parameter):
            site.rebind(tag.layer, self._clocks.for_layer(tag.layer))
        return KnownCall(place, x, tag, site)

    def _place(self, place: places.Place, tag: Tag) -> tuple[Any, ...]:
        """A call's place of the program: module, instruction and layer by their names, whatever objects these are."""
        root = places.root(place.frame)
        here: tuple[Any, ...] = (place.code, place.instruction, tag.units)
        if root is not None and place.module is not None:
            is_stepped = self._clocks.group_of(tag.layer) is not None
            label = self.trees.label(root, temporary=not is_stepped)
            here = (label, self.trees.path(root, place.module), *here)
        if tag.borrowed is not None and not tag.borrowed.name:  # a function of adapted weights: known by its order
            return self._by_depth.get((*here, tag.depth), (*here, tag.depth))
        name = layer_name(self.trees, root, tag)
        found = (*here, name or (tag.layer is not None and id(tag.layer)))
        self._by_depth.setdefault((*here, tag.depth), found)
        return found

    def _forget_the_gone(self) -> None:
        """Forget what was met of objects that are gone; the sites stay."""
        if len(self._known) >= self._purge_at:
            self._known = {key: met for key, met in self._known.items() if not met.is_gone()}
            self._purge_at = max(_MOST_GONE, 2 * len(self._known))

    def is_inside(self, frame: FrameType, tag: Tag) -> bool:
        """Whether a call is made by the model whose layer it follows: then it is no part of a loss."""
        place = places.find(frame)
        key = (id(place.module), place.code, place.instruction)
        if key not in self._inside:
            root = places.root(frame)
            self._inside[key] = root is not None and bool(layer_name(self.trees, root, tag))
        return self._inside[key]

    def meet_unknown(self) -> None:
        """A lean look has met a call that only a wide one can take in: the next step gets one."""
        self.unknown_met = True
        for clock in self._clocks:
            clock.cut()

    def keep_terms(self, site: WatchedSite, z: Tensor, tag: Tag) -> None:
        """Keep what the layer's call says of its units; the layer's tensors are let go then."""
        call = tag.layer_call
        if call.fits(z):
            layer = site.layer if tag.layer is None else tag.layer
            group = self._clocks.group_of(layer)
            call.trained = layer is not None and bool(layer.requires_grad) and self._is_stepped(layer, group)
            if group is None and layer is not None and layer.grad is None:
                self._copies.compare(site, layer, self._places)
            decayed = self._clocks.group_of(site.slope)
            if decayed is not None:
                site.statistics.number("slope_decay", float(decayed.get("weight_decay", 0.0)))
            call.decay = float(group.get("weight_decay", 0.0)) if group is not None else 0.0
            call.sample(z)
            site.statistics.layer(call, site.clock.step)
            if not site.is_code:  # whether a latent fires does not follow from its own pre-activation
                site.terms.take(call, z.numel(), site.clock.step, rate_of(group))
        call.forget()

    def _is_stepped(self, layer: Any, group: Any) -> bool:
        """Whether a weight is trained: by an optimizer, or by hand, which a gradient without an optimizer shows."""
        return group is not None or layer.grad is not None or self._clocks.best == KINDS.index("backward")

    def is_code(self, number: int) -> bool:
        """Whether a site gives a sparse code."""
        return number in self._numbered and self._numbered[number].is_code

    def follow_on(self, number: int, site: WatchedSite) -> None:
        """A sparse code is made of another site's output: its units are counted as the code's from now on."""
        earlier = self._numbered.get(number)
        if earlier is None or earlier is site or not site.is_code or earlier.accumulator.retired:
            return
        site.statistics = earlier.statistics
        earlier.accumulator.retire()

    def feeds(self, number: int, loss: int, targets: Any) -> None:
        """A loss takes the output of a site as it is."""
        site = self._numbered[number]
        site.statistics.number("loss", float(loss))
        if isinstance(targets, Tensor) and targets.is_floating_point() and targets.numel():
            site.statistics.number("negative_targets", (targets.detach() < 0).float().mean())

    def keep_gradients(self) -> None:
        """Keep what the steps of the sites' layers are made of: an optimizer is about to use it."""
        for site in self:
            layer = site.layer if site.clock.look is Look.WIDE else None
            gradient = layer.grad if isinstance(layer, Parameter) else None
            if gradient is not None and gradient.layout is torch.strided:
                site.statistics.gradient(gradient)

    def modules_alone(self) -> list[KnownCall]:
        """The sites, where each is an activation module that is called at one place; none where one is not."""
        judged = [met for met in self._known.values() if met.site is not None]
        if any(met.overwrites or (met.site is not None and met.site.is_code) for met in judged):
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
        for path, part in scripted_parts(root):
            name = ".".join(text for text in self.trees.name(root, part, path) if text)
            why = "it is scripted or traced, and relume cannot see TorchScript code; watch it before it is scripted"
            self._listener.not_observed("torch.jit", name, why)

    def say(self, what: str, place: places.Place, why: str) -> None:
        """Report once what is not observed at a place."""
        said = (what, id(place.code), place.instruction)
        if said not in self._said:
            self._said.add(said)
            file, line, _ = places.source(place.frame)
            self._listener.not_observed(what, f"{file}:{line}", why)

    def rehome(self, clock: OptimizerClock) -> None:
        """A clock begins: the sites that it steps, and those that had only a lesser one, count by it from now on."""
        for site in self:
            if clock.holds(site.layer) or site.clock.rank > clock.rank:
                site.clock = clock

    # ---- compiled code ------------------------------------------------------------------------------------------

    def meet_in_graph(self, met: GraphCall) -> int:
        """The slot of an activation in a compiled graph, one for each shape of its tensor; −1: it is not judged."""
        module = met.modules[-1] if met.modules else None
        tag, assumed = fitting(met.tag, met.x)
        root = self.trees.model or (met.modules[0] if met.modules else None)
        if not self.fits_phase(module or root) or not self._is_around(met.modules, tag.layer):
            return -1
        text = written(met.call, type(module))
        if why := met.unfit(tag, assumed):
            self.unjudged_in_graph(text, met.modules, met.file, met.line, why)
            return -1
        key = (id(module), met.file, met.line, met.applied.name, met.order, id(tag.layer), tag.units)
        site = self._in_graphs.get(key)
        if site is None or site.layer is not tag.layer:  # an id may have gone to another object
            where = CallSite(root, *self.trees.name(root, module, met.function), text, met.file, met.line)
            site = self._in_graphs[key] = self.new_site(met.applied, where, tag, assumed, met.slope, compiled=True)
        self._slots.append((site, tag._replace(layer=None)))
        return len(self._slots) - 1

    def unjudged_in_graph(self, name: str, modules: Sequence[nn.Module], file: str, line: int, why: str) -> None:
        """Say once that an activation in a graph of the watched model is not judged."""
        inner = modules[-1] if modules else None
        if self.fits_phase(inner) and self._is_around(modules, None) and (name, file, line) not in self._said:
            self._said.add((name, file, line))
            self._listener.not_observed(name, f"{file}:{line}", why)

    def _is_around(self, modules: Sequence[nn.Module], layer: Any) -> bool:
        """Whether calls inside these modules, and after this layer, belong to the watched model."""
        model = self.trees.model
        if model is None or any(self.trees.path(model, module) is not None for module in modules):
            return True
        return bool(self.trees.weight(model, layer)[1])

    def count_in_graph(self, slot: int, x: Tensor | None, y: Tensor | None) -> None:
        """Count what a compiled graph shows of an activation: its input, its output, or both."""
        site, tag = self._slots[slot]
        if site.clock.look is Look.OFF:
            return
        if x is not None and is_countable(x):
            site.accumulator.input(x, tag, site.clock.step)
        if y is not None and is_countable(y):
            site.accumulator.output(y, tag, site.clock.step)

    # ---- a first meeting --------------------------------------------------------------------------------------

    def _meet(
        self, applied: Applied, call: Any, args: Any, x: Tensor, tag: Tag, assumed: bool, place: places.Place
    ) -> WatchedSite | None:
        if not self._is_watched(place, tag.layer):
            return None
        why = self._unfit(applied, x, tag, assumed, place)
        if why:
            self.unjudged(written(call, place.kind), place.frame, why)
            return None
        self.outside_modules |= not places.is_in_a_call(place.frame)
        slope = args[1] if applied.name == "prelu" and len(args) > 1 else None
        return self.new_site(applied, CallSite.of(place, call, self.trees), tag, assumed, slope)

    def new_site(
        self, applied: Applied, where: CallSite, tag: Tag, assumed: bool, slope: Any, *, compiled: bool = False
    ) -> WatchedSite:
        """Register a site and report it to the listener."""
        clock = self._clocks.for_layer(tag.layer)
        order = self._keys[where.key] = self._keys.get(where.key, 0) + 1
        told = site_of(self.trees, applied, where, tag, assumed=assumed, clock=clock.number, order=order)
        number = self._listener.new_site(replace(told, compiled=compiled, code=applied.code))
        if slope is not None and slope.numel() not in (1, tag.units):  # a slope for each position: none is a unit's
            slope = None
        bounds = bounds_of(applied.name, applied.parameters)
        bounds = bounds.of_code() if applied.code else bounds
        counts = Accumulator(tag.units, bounds, whole=self._whole)
        site = self._numbered[number] = WatchedSite(number, clock, counts, tag.layer, slope)
        return site

    def _is_watched(self, place: places.Place, layer: Any) -> bool:
        model = self.trees.model
        if model is None:
            return True
        inside = place.module is not None and self.trees.path(model, place.module) is not None
        return inside or places.root(place.frame) is model or bool(self.trees.weight(model, layer)[1])

    def _unfit(self, applied: Applied, x: Tensor, tag: Tag, assumed: bool, place: places.Place) -> str:
        """Why a call is not judged, "" where it is."""
        if not x.dtype.is_floating_point:
            return f"its tensor is {str(x.dtype).removeprefix('torch.')}; units are judged on floating-point numbers"
        if type(x) not in (Tensor, Parameter) or x.layout is not torch.strided or x.device.type == "meta":
            return f"its tensor is a {type(x).__name__} ({x.layout}, {x.device.type}), not a plain one"
        if torch._C._functorch.is_functorch_wrapped_tensor(x):
            return "it runs inside a torch.func transform"
        if torch._C._len_torch_dispatch_stack():
            return "a dispatch mode of the script would count relume's own operations"
        root = places.root(place.frame)
        if assumed and (applied.clamp or root is None or next(root.parameters(), None) is None):
            return "its input does not come from a layer"
        if not tag.direct and (root is None or not layer_name(self.trees, root, tag)):
            return "it follows arithmetic outside the model, so it is taken as part of the loss"
        if assumed and self._too_many_widths(place):
            return "its width changes between calls, and the layer before it is unknown"
        return ""

    def _too_many_widths(self, place: places.Place) -> bool:
        here = (id(place.module), place.code, place.instruction)
        return sum(key[:3] == here for key in self._known) > _MOST_WIDTHS

    def fits_phase(self, module: nn.Module | None) -> bool:
        """Whether a module's ``training`` flag is that of the passes which count."""
        return self._phase == "all" or module is None or module.training == (self._phase == "train")

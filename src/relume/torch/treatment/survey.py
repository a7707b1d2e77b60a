"""The survey: one run of the script that finds every application of a supported activation.

A call observer, as in watching, sees every call. A layer tags its result with the axis of its units. Each application
of an activation leaves a mark, and is *hidden* once a marked tensor enters a layer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from relume.artifacts.swap_plan import Birth, NotSwapped, OptimizerRates, SwapPlan, SwapSite
from relume.torch.treatment import holders, originals
from relume.torch.treatment.births import Births, WeakModules, birth_of
from relume.torch.treatment.inputs import LAYERS, FirstLayers
from relume.torch.treatment.rates import OptimizerSteps, rates_of
from relume.torch.treatment.routes import spot_of
from relume.torch.treatment.seeding import seed_torch
from relume.torch.watching.calls import arithmetic
from relume.torch.watching.calls.functions import (
    ACTIVATION_CALLS,
    ARITHMETIC_CALLS,
    LAYER_CALLS,
    MATMUL_CALLS,
    NORM_CALLS,
    RECURRENT_CALLS,
    Applied,
)
from relume.torch.watching.calls.observer import CallObserver
from relume.torch.watching.units.axes import Tag, fitting
from relume.torch.watching.units.following import PARAMETER
from relume.torch.watching.units.values import Values
from relume.torch.watching.where import places
from relume.torch.watching.where.naming import written
from relume.treatment.calls import A_GATE, GATES, NOT_HIDDEN, OF_KERAS
from relume.treatment.seeding import Seeding
from relume.watching import source
from relume.watching.guard import Guard
from relume.watching.patches import Patches

_SUMS = frozenset(call for call in ARITHMETIC_CALLS if "mul" not in getattr(call, "__name__", ""))
_HIDES_NOTHING = _SUMS | {torch.stack, torch.cat, torch.concat, torch.concatenate, Tensor.backward, Tensor.copy_}
_WAKING = frozenset({*ACTIVATION_CALLS, *LAYER_CALLS, *MATMUL_CALLS, *NORM_CALLS, *RECURRENT_CALLS})
_NONE: frozenset[Any] = frozenset()
_NOT_WRITTEN = "it is not written as an activation; write F.relu to get it replaced"
_PRODUCTS = frozenset("mul mul_ multiply multiply_ __mul__ __rmul__ __imul__ lerp lerp_".split())


class TorchSurvey:
    """The :class:`~relume.framework.Surveyor` of PyTorch. The script runs as usual, but nothing is compiled."""

    def __init__(self, seeds: Seeding | None = None) -> None:
        self._patches = Patches()
        self._births = Births(met=self._met)
        self._made_by = Values()  # parameter: its module
        self._modules = WeakModules()
        self._seeds = seeds or Seeding(0)
        self._steps = OptimizerSteps(1.0, None, self._step_begins)
        self._optimizers: dict[int, OptimizerRates] = {}
        self._schedulers: list[str] = []
        self._compiled = False
        self.first = FirstLayers()
        self._observer = _Surveyor(self)
        self.trees = places.Trees(None)

    def start(self) -> None:
        """Start the survey: PyTorch is imported, and the script has not continued yet."""
        self._patches.put(source, "folder", os.getcwd())
        self._births.start(self._patches)
        self._steps.start(self._patches)
        self._patches.on_undo(register_optimizer_step_pre_hook(self._rests).remove)
        self._patches.on_undo(register_optimizer_step_post_hook(self._wakes).remove)
        seed_torch(self._seeds, self._patches)
        self._patches.put(torch, "compile", self._uncompiled)
        self._hear_schedulers()
        self._hear_scripts()
        self._observer.open()
        self._observer.enter()
        self._patches.on_undo(self._observer.shut)

    def stop(self) -> SwapPlan:
        """Restore everything; returns what was found."""
        self._patches.undo()
        return SwapPlan(
            sites=tuple(self._observer.found()),
            not_swapped=tuple(self._observer.not_swapped),
            optimizers=tuple(self._optimizers.values()),
            schedulers=tuple(self._schedulers),
            seeds=tuple(self._seeds.seen),
            holders=tuple(holders.find()),
            modules=tuple(sorted(name for name in sys.modules if not name.startswith("__"))),
            compiled=self._compiled,
            inputs=self.first.found(),
        )

    def layer_of(self, weight: Any) -> Birth | None:
        """The module whose parameter a weight is."""
        if not isinstance(weight, Tensor):
            return None
        if self._made_by.of(weight) is None:
            for module in self._modules:
                for parameter in module.parameters(recurse=False):
                    birth = birth_of(module)
                    if birth is not None:
                        self._made_by.put(parameter, birth)
        known: Birth | None = self._made_by.of(weight)
        return known

    def called(self, module: nn.Module | None) -> None:
        """A module was seen in a call; it may be a copy, which was not constructed."""
        if module is not None:
            for each in module.modules():
                self._modules.add(each)

    def _met(self, module: nn.Module) -> None:
        self._modules.add(module)
        self.first.met(module)

    def _step_begins(self, optimizer: Optimizer) -> None:
        self._observer.forget_the_dead()
        if id(optimizer) not in self._optimizers:
            self._optimizers[id(optimizer)] = OptimizerRates(type(optimizer).__name__, rates_of(optimizer))

    def _rests(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        has_closure = len(args) > 1 or kwargs
        self._observer.at_rest = not has_closure and type(optimizer).__module__.startswith("torch.optim.")

    def _wakes(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._observer.at_rest = False

    def _uncompiled(self, model: Any = None, **options: Any) -> Any:
        self._compiled = True
        return (lambda function: function) if model is None else model

    def _hear_schedulers(self) -> None:
        original, names = LRScheduler.__init__, self._schedulers

        def init(self: LRScheduler, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            if type(self).__name__ not in names:
                names.append(type(self).__name__)

        self._patches.put(LRScheduler, "__init__", init)

    def _hear_scripts(self) -> None:
        for name in ("script", "load"):
            self._patches.put(torch.jit, name, self._hearing(getattr(torch.jit, name)))

    def _hearing(self, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            made = original(*args, **kwargs)
            applied = sorted(stem for stem in originals.STEMS if f"aten::{stem}" in _text(made))
            if applied:
                what = f"torch.jit.{original.__name__}: {', '.join(applied)}"
                self._observer.say(what, sys._getframe(1), "compiled TorchScript calls no Python; leave it unscripted")
            return made

        return call


class _Surveyor(CallObserver):
    """The call observer of a survey: counts nothing, and follows where results go.

    ``at_rest``: one of PyTorch's optimizers takes a step without a closure, often most of a training's calls and
    nothing to follow; until it ends, or until a layer is called because the step has raised.
    """

    def __init__(self, survey: TorchSurvey) -> None:
        self._survey = survey
        self.sites: Any = self  # what the call observer needs from the sites
        self.known_only = True  # no death terms are kept
        self.guarded = Guard(self.fail)
        self._found: dict[Any, SwapSite] = {}
        self._hidden: frozenset[Any] = frozenset()
        self._applied: Any = None  # the site of the current call
        self._marks = Values()  # tensor: the sites it comes from
        self._keys: dict[str, int] = {}
        self.not_swapped: list[NotSwapped] = []
        self.at_rest = False
        super().__init__(cast(Any, self))
        self._forms = arithmetic.Forms(self.tags, of_units=False)

    def found(self) -> Iterator[SwapSite]:
        """The sites, each with whether it is hidden; a module hidden in one call is hidden in all."""
        modules = {self._found[key].owner for key in self._hidden if self._found[key].alone} - {None}
        mixed = any(self._found[key].activation not in GATES for key in self._hidden)
        for key, site in self._found.items():
            is_hidden = key in self._hidden or (site.alone and site.owner in modules)
            why = site.why or ("" if is_hidden else NOT_HIDDEN)
            if not why and mixed and site.activation in GATES:
                why = A_GATE
            yield replace(site, hidden=not why, why=why)

    def forget_the_dead(self) -> None:
        """Drop the entries of deleted tensors."""
        self.tags.forget_the_dead()
        self._forms.forget_the_dead()
        self._marks.forget_the_dead()

    def fail(self, error: BaseException) -> None:
        """An error of relume ends the survey; the script continues."""
        self.not_swapped.append(NotSwapped("everything after this point", "", f"the survey failed: {error!r}"))

    # ---- calls ----------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.at_rest:
            if func not in _WAKING:
                return func(*args, **kwargs)
            self.at_rest = False
        if func in LAYERS and len(args) > 1:
            self._survey.first.called(args[0], args[1], sys._getframe(1))
        marks = self._marks_of(args, kwargs)
        if marks and not marks <= self._hidden and self._is_layer(func, args, kwargs):
            self._hidden |= marks
        if marks and getattr(func, "__name__", "") in _PRODUCTS and sum(1 for _ in _tensors(args, kwargs)) > 1:
            marks = frozenset(key for key in marks if self._found[key].activation not in GATES)
        out = super().__torch_function__(func, types, args, kwargs)
        if func is torch.rnn_relu_cell:
            self.say("nn.RNNCell(nonlinearity='relu')", sys._getframe(1), "PyTorch computes it inside one call")
        if self._applied is not None:
            marks, self._applied = marks | {self._applied}, None
        if marks:
            for x in _tensors((out,), {}):
                self._marks.put(x, marks)
            if func is Tensor.__setitem__:
                self._marks.put(args[0], marks)
        return out

    def _is_layer(self, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether a parameter takes part, otherwise than in a sum (a penalty in a loss)."""
        return func not in _HIDES_NOTHING and any(
            (isinstance(x, Parameter) or self.tags.of(x) is PARAMETER) and not self._marks.of(x)
            for x in _tensors(args, kwargs)
        )

    def _marks_of(self, args: Any, kwargs: Any) -> frozenset[Any]:
        """The marks of all tensors of a call; most have none."""
        return _NONE.union(*(self._marks.of(x) or _NONE for x in _tensors(args, kwargs)))

    def _look(self, func: Any, args: Any, kwargs: Any, frame: Any) -> None:
        """An activation is applied: record where, and to what."""
        x = args[0] if args else kwargs.get("input")
        applied = ACTIVATION_CALLS[func](args, kwargs) if func in ACTIVATION_CALLS else None
        form = self._forms.form(func, args, kwargs) if applied is None and func in arithmetic.JOINS else None
        if form is not None and form.is_relu:
            self.say(form.name, frame, _NOT_WRITTEN)
            return
        in_backward = torch._C._current_graph_task_id() != -1  # a checkpoint's second forward
        if applied is None or applied.name not in originals.STEMS or not isinstance(x, Tensor) or in_backward:
            return
        place = places.find(frame)
        if places.shown_path(place.code.co_filename).startswith(OF_KERAS):
            return
        call = written(func, place.kind)
        if applied.clamp or "threshold" in call:
            self.say(call, frame, _NOT_WRITTEN)
            return
        tag, why = self.tags.of(x), ""
        if tag is PARAMETER or isinstance(x, Parameter):
            tag, why = None, "it works on a parameter, not on a layer's result"
        elif not x.dtype.is_floating_point:
            why = f"its tensor is {str(x.dtype).removeprefix('torch.')}"
        tag, _ = fitting(tag, x)
        self._survey.called(places.root(frame))
        layer = self._survey.layer_of(tag.layer)
        key = (birth_of(place.module), spot_of(place.code, place.instruction), layer, tag.units)
        if key not in self._found:
            self._found[key] = replace(self._site(applied, call, x, tag, layer, place), why=why)
        self._applied = key

    def _site(
        self, applied: Applied, call: str, x: Tensor, tag: Tag, layer: Birth | None, place: places.Place
    ) -> SwapSite:
        file, line, function = places.source(place.frame)
        model, module = self._survey.trees.name(places.root(place.frame), place.module, function)
        key = f"{'.'.join(part for part in (model, module) if part)}@{file}:{line}"
        order = self._keys[key] = self._keys.get(key, 0) + 1
        return SwapSite(
            key=key if order == 1 else f"{key}#{order}",
            activation=applied.name,
            call=call,
            file=file,
            line=line,
            owner=birth_of(place.module),
            alone=place.alone,
            spot=spot_of(place.code, place.instruction),
            layer=layer,
            axis=tag.axis,
            ndim=x.ndim,
            units=tag.units,
            inner=tag.inner,
        )

    # ---- what is not replaced -------------------------------------------------------------------------------------

    def unjudged(self, name: str, frame: Any, why: str) -> None:
        """An unsupported activation: nothing to report."""

    def say(self, what: str, frame: Any, why: str) -> None:
        """List an activation that is not replaced, once."""
        file, line, _ = places.source(frame)
        said = NotSwapped(what, f"{file}:{line}", why)
        if said not in self.not_swapped:
            self.not_swapped.append(said)

    def _recurrent(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        self.say("nn.RNN(nonlinearity='relu')", sys._getframe(1), "PyTorch computes it inside one call")
        return out


def _tensors(args: Any, kwargs: Any) -> Iterator[Tensor]:
    for arg in (*args, *kwargs.values()):
        if isinstance(arg, Tensor):
            yield arg
        elif isinstance(arg, (list, tuple)):
            yield from _tensors(arg, {})


def _text(made: Any) -> str:
    """The graph of a scripted function or module, with those below it."""
    try:
        return str(made.inlined_graph)
    except (AttributeError, RuntimeError):  # a class, or a module without a forward
        return ""

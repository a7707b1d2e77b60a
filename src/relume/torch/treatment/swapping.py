"""The replacement itself: every way to apply a member of the family leads to the contender, or to what it was.

Python functions of ``torch.nn.functional`` get other code, so that saved references, ``nn.ReLU`` and modules that were
imported before go the same way. Functions that are not Python's are replaced as attributes. No mode, no hook.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import FunctionType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relume.torch.functional as ours
from relume.artifacts.swap_plan import SwapPlan, SwapSite
from relume.artifacts.trial import Contender
from relume.torch.treatment import acts, entries, holders, originals
from relume.torch.treatment.compiled import LEFT, UNTRACED, Tracing, inline, outside_dynamo
from relume.torch.treatment.placed import Drawn, Own, Slopes
from relume.torch.treatment.routes import Route, Routes
from relume.torch.treatment.slopes import Learned
from relume.watching.patches import Patches


class Swapping:
    """One contender in the place of the script's own activations.

    Args:
        contender: what takes their place.
        plan: what the survey found. ``only``: as for ``--only``.
        seed: of the contender's own random numbers.
    """

    def __init__(self, contender: Contender, plan: SwapPlan, only: str, seed: int) -> None:
        self.sites = plan.chosen(only)
        self._plan = plan
        self._contender = contender
        self._routes = Routes(plan, self.sites, unknown=not only or _names_a_kind(only))
        self._act: Any = None
        self._placed: Any = None
        own = acts.own(contender) if contender.target else None
        if contender.activation == "prelu":
            self._placed = Slopes(contender, self.sites)
        elif isinstance(own, type):
            self._placed = Own(contender, own, self.sites)
        elif contender.activation == "rrelu":
            self._placed = Drawn(contender, seed)
        else:
            self._act = acts.plain(contender)
        self.learned: Learned | None = None if self._placed is None else self._placed.learned

    @property
    def stems(self) -> set[str]:
        """The activations of which a place is replaced."""
        return {site.activation for site in self.sites}

    def start(self, patches: Patches) -> None:
        """Replace from now on."""
        if not self.stems:
            return
        if isinstance(self._placed, Drawn):
            self._placed.start(patches)
        public = []
        for home, library, table in ((F, "torch", entries.TORCHS), (ours, "relume", entries.OURS)):
            calls = SimpleNamespace(plain_hardtanh=originals.functional.hardtanh)
            replaced = [name for name in table if _stem(name) in self.stems]
            for name in replaced:
                setattr(calls, name, self._call(_stem(name), originals.original(library, name)))
            for name in replaced:
                function = getattr(home, name)
                assert isinstance(function, FunctionType)
                patches.put_code(function, table[name], _relume=calls)
                public.append(function)
        made: dict[int, Any] = {}  # one for each function, by whatever name it is held

        def instead(thing: Any) -> Any:
            known = originals.builtin(thing)
            if known is None or known[0] not in self.stems:
                return None
            if id(thing) not in made:
                made[id(thing)] = entries.for_builtin(self._call(known[0], _bare(thing)), known[1])
            return made[id(thing)]

        for owner, name, _, _ in originals.BUILTINS:
            if (other := instead(getattr(owner, name))) is not None:
                patches.put(owner, name, other)
        for holder in self._plan.holders:
            holders.replace(holder, instead, patches)
        if self._plan.compiled:
            inline(public, patches)
        _switch_fast_path_off(self._contender, patches)

    def _call(self, stem: str, original: Any) -> Any:
        """``call(input, in place, *further arguments)`` that stands for one activation."""
        mixed = any(site.activation == stem and site not in self.sites for site in self._plan.sites)
        act, placed, routes = self._act, self._placed, self._routes
        if act is not None and not mixed:
            return lambda input, inplace, *own, **named: act(input, inplace)

        def call(input: Tensor, inplace: bool, *own: Any, **named: Any) -> Tensor:
            if not torch.compiler.is_compiling():
                return decided(routes.at(sys._getframe(2)), input, inplace, *own, **named)  # from behind the entry
            number = decide()
            if number == LEFT:
                return original(input, inplace, *own, **named)
            if number == UNTRACED:
                return untraced(input, inplace, *own, **named)
            return act(input, inplace) if act is not None else placed.traced(number, input, inplace)

        def decided(route: Route, input: Tensor, inplace: bool, *own: Any, **named: Any) -> Tensor:
            if not route.swapped:
                return original(input, inplace, *own, **named)
            return act(input, inplace) if act is not None else placed.call(input, inplace, route)

        def untraced(input: Tensor, inplace: bool, *own: Any, **named: Any) -> Tensor:
            return decided(routes.at(outside_dynamo(sys._getframe())), input, inplace, *own, **named)

        def decide() -> int:
            return tracing.decide()

        tracing = Tracing(routes, placed)
        decide._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch._dynamo.assume_constant_result
        if self._plan.compiled:
            untraced = torch.compiler.disable(untraced)
        return call


def not_swapped(plan: SwapPlan, sites: Sequence[SwapSite]) -> list[tuple[str, str, str]]:
    """(what, where, why) of everything that a trial leaves as it is."""
    chosen = {site.key for site in sites}
    left = [
        (site.call, f"{site.file}:{site.line}", site.why or "--only leaves it out")
        for site in plan.sites
        if site.key not in chosen
    ]
    return left + [(each.what, each.where, each.why) for each in plan.not_swapped]


def _stem(name: str) -> str:
    return "relu6" if name == "hardtanh" else name


def _bare(builtin: Any) -> Any:
    """``original(input, in place, …)`` of a function that is in place or not by its name."""
    return lambda input, inplace, *own, **named: builtin(input, *own, **named)


def _names_a_kind(only: str) -> bool:
    return any(word.strip().lower() in originals.STEMS for word in only.split(","))


def _switch_fast_path_off(contender: Contender, patches: Patches) -> None:
    """Encoder layers compute ReLU and GELU by themselves in evaluation, unless they are told that it is another."""
    own = {"relu": 1, "gelu": 2} if not contender.parameters else {}
    told = own.get(contender.activation, 0)
    name = "activation_relu_or_gelu"

    def read(layer: nn.Module) -> int:
        return told if layer.__dict__.get(name) else 0

    def write(layer: nn.Module, given: int) -> None:
        layer.__dict__[name] = given

    patches.put(nn.TransformerEncoderLayer, name, property(read, write))
    if not told:  # the encoder warns that it would be faster with ReLU
        before = warnings.filters[:]
        warnings.filterwarnings("ignore", message=r"enable_nested_tensor is True, but .*activation_relu_or_gelu")
        added = [each for each in warnings.filters if each not in before]

        def unfilter() -> None:
            for each in added:
                if each in warnings.filters:
                    warnings.filters.remove(each)  # type: ignore[attr-defined]

        patches.on_undo(unfilter)

"""The replacement itself: every way to apply a supported activation leads to the contender or to the original.

Python functions of ``torch.nn.functional`` get new code, so saved references, ``nn.ReLU`` and modules imported before
follow. Functions not written in Python are replaced as attributes. It uses no mode and no hook.
"""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
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
from relume.treatment.own import own as find_own
from relume.watching.patches import Patches


class Replacement(ABC):
    """Replaces PyTorch's calls, from :meth:`start` until the patches are undone.

    ``holders``: aliases of PyTorch's functions. ``compiled``: the script calls ``torch.compile``.
    """

    holders: Sequence[str] = ()
    compiled = False
    contender: Contender

    def __init__(self) -> None:
        self._inside: list[None] = []  # not empty while a contender computes in eager code

    @property
    @abstractmethod
    def stems(self) -> set[str]:
        """The activations that may be replaced at a place."""

    @abstractmethod
    def _call(self, stem: str, original: Any, inplace_of: Any) -> Any:
        """``call(input, *further arguments)`` that replaces one function that applies an activation."""

    def _once(self, compute: Callable[[], Tensor], original: Callable[[], Tensor]) -> Tensor:
        """Apply a contender; where the user's own code in it applies what it replaces, that stays the original."""
        if self._inside:
            return original()
        self._inside.append(None)
        try:
            return compute()
        finally:
            self._inside.pop()

    def start(self, patches: Patches) -> None:
        """Start replacing."""
        if not self.stems:
            return
        public = []
        for home, world, library in ((F, originals.functional, "torch"), (ours, originals.ours, "relume")):
            replaced = {name: stem for name, stem in originals.PYTHON[library].items() if stem in self.stems}
            calls = SimpleNamespace()
            for name, stem in replaced.items():
                function, original = getattr(home, name), getattr(world, name)
                setattr(calls, name, self._call(stem, original, originals.inplace_of(function)))
                public.append(function)
            for name in replaced:
                patches.put_code(getattr(home, name), entries.for_python(name), _relume=calls)
        made: dict[int, Any] = {}  # one for each function, under any name

        def instead(thing: Any) -> Any:
            known = originals.builtin(thing)
            if known is None or known[0] not in self.stems:
                return None
            stem, in_place = known
            if id(thing) not in made:
                made[id(thing)] = entries.for_builtin(self._call(stem, thing, lambda *own, **named: in_place))
            return made[id(thing)]

        for each, _ in originals.BUILTINS:
            if (other := instead(each.function)) is not None:
                patches.put(each.owner, each.name, other)
        for holder in self.holders:
            holders.replace(holder, instead, patches)
        if self.compiled:
            inline(public, patches)
        _switch_fast_path_off(self.contender, patches)


def is_hardtanh(function: Any) -> bool:
    """Whether a function is hardtanh, which is a ReLU6 only if its lower bound is 0."""
    return function is originals.functional.hardtanh


def is_two_sided(own: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether a call of hardtanh has another lower bound."""
    return bool((own[0] if own else named.get("min_val", -1.0)) != 0)


def made_of(contender: Contender, sites: Sequence[SwapSite], seed: int) -> tuple[Any, Any]:
    """(act, placed) of a contender, one of them None: a plain call, or one that depends on its place.

    ``seed``: for the contender's own random numbers.
    """
    own = find_own(contender, nn.Module, acts.EXPECTED) if contender.target else None
    if contender.activation == "prelu":
        return None, Slopes(contender, sites)
    if isinstance(own, type):
        return None, Own(contender, own, sites)
    if contender.activation == "rrelu":
        return None, Drawn(contender, seed)
    return acts.plain(contender), None


class Swapping(Replacement):
    """Replaces the script's activations by one contender.

    Args:
        contender: the replacement.
        plan: the survey's findings. ``only``: as for ``--only``.
        seed: for the contender's own random numbers.
    """

    def __init__(self, contender: Contender, plan: SwapPlan, only: str, seed: int) -> None:
        super().__init__()
        self.sites = plan.chosen(only)
        self.holders, self.compiled, self.contender = plan.holders, plan.compiled, contender
        self._plan = plan
        self._routes = Routes(plan, self.sites, unknown=not only or _names_a_kind(only))
        self._act, self._placed = made_of(contender, self.sites, seed)
        self.learned: Learned | None = None if self._placed is None else self._placed.learned

    @property
    def stems(self) -> set[str]:
        """The activations that are replaced at a place."""
        return {site.activation for site in self.sites}

    def start(self, patches: Patches) -> None:
        """Start replacing."""
        if self.stems and isinstance(self._placed, Drawn):
            self._placed.start(patches)
        super().start(patches)

    def _call(self, stem: str, original: Any, inplace_of: Any) -> Any:
        mixed = any(site.activation == stem and site not in self.sites for site in self._plan.sites)
        act, placed, routes = self._act, self._placed, self._routes
        hardtanh = is_hardtanh(original)
        own_code, compiled = bool(self.contender.target), self.compiled
        if act is not None and not mixed and not hardtanh and not own_code:
            return lambda input, *own, **named: act(input, inplace_of(*own, **named))

        def call(input: Tensor, *own: Any, **named: Any) -> Tensor:
            if hardtanh and is_two_sided(own, named):
                return original(input, *own, **named)
            if not torch.compiler.is_compiling():
                frame = sys._getframe(2)  # from after the entry
                if own_code and compiled and frame.f_code.co_filename.startswith("<eval_with_key>"):
                    return original(input, *own, **named)  # dynamo's graph runs: it was decided when it was traced
                return decided(routes.at(frame), input, *own, **named)
            number = decide()
            if number == LEFT:
                return original(input, *own, **named)
            if number == UNTRACED:
                return untraced(input, *own, **named)
            inplace = inplace_of(*own, **named)
            return act(input, inplace) if act is not None else placed.traced(number, input, inplace)

        def decided(route: Route, input: Tensor, *own: Any, **named: Any) -> Tensor:
            if not route.swapped:
                return original(input, *own, **named)
            inplace = inplace_of(*own, **named)
            if act is not None and not own_code:
                return act(input, inplace)
            return self._once(
                lambda: act(input, inplace) if act is not None else placed.call(input, inplace, route),
                lambda: original(input, *own, **named),
            )

        def untraced(input: Tensor, *own: Any, **named: Any) -> Tensor:
            return decided(routes.at(outside_dynamo(sys._getframe())), input, *own, **named)

        def decide() -> int:
            return tracing.decide()

        tracing = Tracing(routes, placed, own_code=own_code)
        decide._dynamo_marked_constant = True  # type: ignore[attr-defined]  # torch._dynamo.assume_constant_result
        if self.compiled:
            untraced = torch.compiler.disable(untraced)
        return call


def _names_a_kind(only: str) -> bool:
    return any(word.strip().lower() in originals.STEMS for word in only.split(","))


def _switch_fast_path_off(contender: Contender, patches: Patches) -> None:
    """Encoder layers compute ReLU and GELU themselves in evaluation, unless they are set to another activation."""
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

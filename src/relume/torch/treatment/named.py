"""Activations replaced in a run at the places that a user names, without a survey."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from relume.artifacts.swap_plan import SwapPlan, SwapSite
from relume.artifacts.trial import Contender
from relume.torch.treatment import originals
from relume.torch.treatment.placed import Drawn
from relume.torch.treatment.routes import Route, Routes
from relume.torch.treatment.slopes import Learned
from relume.torch.treatment.swapping import Replacement, is_hardtanh, is_two_sided, made_of
from relume.torch.watching.where import places
from relume.treatment.calls import OF_KERAS, Asked
from relume.watching.patches import Patches


class _Choice(NamedTuple):
    """What is done at one place: the index of the request, -1 for none, and the route of the call."""

    number: int
    route: Route


class NamedSwaps(Replacement):
    """Puts each contender at the places that its word names; the first matching word counts.

    Attributes:
        swapped: key of each place that was called → its contender. ``kept``: key → the activation that stayed.
        met: the indices of the requests that were found.
    """

    def __init__(self, asked: Sequence[Asked], seed: int = 0) -> None:
        super().__init__()
        self._asked = asked
        self.contender = next((each.contender for each in asked), Contender(""))
        self._made = [made_of(each.contender, (), seed) for each in asked]
        self._routes = Routes(SwapPlan(), (), unknown=True)
        self._choices: dict[tuple[int, str], tuple[Any, _Choice]] = {}
        self._trees = places.Trees(None)
        self._rooted: set[int] = set()  # the ids of the routes whose parameters are in the next one
        self._roots: dict[int, weakref.ref[nn.Module]] = {}  # a learned parameter's id → its model
        self.met: set[int] = set()
        self.swapped: dict[str, str] = {}
        self.kept: dict[str, str] = {}
        self.compiled_by_script = False

    @property
    def stems(self) -> set[str]:
        """Every activation if a word names a place, otherwise the named ones."""
        words = {each.where for each in self._asked}
        return set(originals.STEMS) if words - set(originals.STEMS) else words

    @property
    def learned(self) -> list[Learned]:
        """The contenders' parameters."""
        return [placed.learned for _, placed in self._made if placed is not None and placed.learned is not None]

    def start(self, patches: Patches) -> None:
        """Start replacing. What torch.compile would hide runs uncompiled."""
        for _, placed in self._made:
            if isinstance(placed, Drawn):
                placed.start(patches)
        for learned in self.learned:
            learned.start(patches)
        patches.put(torch, "compile", self._uncompiled)
        super().start(patches)

    def _uncompiled(self, model: Any = None, **options: Any) -> Any:
        self.compiled_by_script = True
        return (lambda function: function) if model is None else model

    def _call(self, stem: str, original: Any, inplace_of: Any) -> Any:
        hardtanh = is_hardtanh(original)

        def call(input: Tensor, *own: Any, **named: Any) -> Tensor:
            if self._inside or (hardtanh and is_two_sided(own, named)):
                return original(input, *own, **named)
            frame = sys._getframe(2)  # from after the entry
            number, route = self._choice(self._routes.at(frame), stem, frame)
            if number < 0:
                return original(input, *own, **named)
            inplace = inplace_of(*own, **named)
            act, placed = self._made[number]
            if act is not None:
                return self._once(lambda: act(input, inplace), lambda: original(input, *own, **named))
            if placed.learned is not None and id(route) not in self._rooted:
                self._rooted.add(id(route))
                self._take_root(placed.learned, route, input, frame)
            return self._once(lambda: placed.call(input, inplace, route), lambda: original(input, *own, **named))

        return call

    def _choice(self, route: Route, stem: str, frame: Any) -> _Choice:
        known = self._choices.get((id(route), stem))
        if known is None:
            known = self._choices[id(route), stem] = (route, self._choose(route, stem, frame))
        return known[1]

    def _choose(self, route: Route, stem: str, frame: Any) -> _Choice:
        place = places.find(frame)
        file, line, function = places.source(place.frame)
        root = places.root(place.frame)
        root = getattr(root, "_export_root", root)  # a reviver exports the model
        path = ".".join(part for part in self._trees.name(root, place.module, function) if part)
        if file.startswith(OF_KERAS):
            return _Choice(-1, route)
        spot = (file, line, line, 0, 0)
        site = SwapSite(f"{path}@{file}:{line}", stem, "", file, line, None, place.alone, spot, None, 0, 0, 0)
        number = next((n for n, each in enumerate(self._asked) if each.means(site)), -1)
        if number < 0:
            self.kept[f"{path}@{file}:{line}"] = stem
        else:
            self.met.add(number)
            self.swapped[f"{path}@{file}:{line}"] = f"{stem} → {self._asked[number].contender.name}"
        return _Choice(number, route)

    def _take_root(self, learned: Learned, route: Route, input: Tensor, frame: Any) -> None:
        found, _ = learned.at(route, input)
        root = places.root(frame)
        for parameter in (found,) if isinstance(found, Tensor) else found.parameters():
            if root is not None and id(parameter) not in self._roots:
                self._roots[id(parameter)] = weakref.ref(root)

    def house(self, optimizer: Optimizer) -> None:
        """Before a step: add new slopes to the optimizer of their model."""
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for number, reference in self._roots.items():
            root = reference()
            if root is None or number in held:
                continue
            own = list(root.parameters())
            mine = next((p for p in own if id(p) == number), None)
            around = {id(p) for p in own if id(p) not in self._roots}
            group = next((g for g in optimizer.param_groups if any(id(p) in around for p in g["params"])), None)
            if mine is not None and group is not None:
                group["params"].append(mine)

    def is_learned(self, parameter: Any) -> bool:
        """Whether a parameter belongs to a contender."""
        return any(learned.is_learned(parameter) for learned in self.learned)

    def facts(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """(what was swapped, what was not and why), as the recording keeps them."""
        changed = [{"place": key, "units": [], "what": what} for key, what in self.swapped.items()]
        left = [{"place": key, "units": [], "what": f"{stem}: not asked for"} for key, stem in self.kept.items()]
        if self.compiled_by_script:
            left.append(
                {"place": "torch.compile", "units": [], "what": "left out: activations are swapped in eager code"}
            )
        return changed, left

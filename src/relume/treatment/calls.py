"""Activations that a script applies by calling Python functions: found by a survey, replaced in a trial or by name.

This is for frameworks whose steps are traced from such calls. A kit hands each call to :meth:`Calls.applied`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from relume.artifacts.swap_plan import NotSwapped, SwapPlan, SwapSite, site_is
from relume.artifacts.trial import Contender
from relume.errors import StudyError
from relume.watching.counted import Where

Act = Callable[[Any, Where], Any]
"""A contender: its output for an input at a place."""

GATES = frozenset(("sigmoid", "hardsigmoid", "tanh"))
"""Mostly gates or outputs: a script's own are replaced only if no other activation lies between its layers."""

A_GATE = "it is mostly a gate or an output, and other activations lie between the layers"
NOT_HIDDEN = "its result reaches no layer with parameters, so it counts as an output or part of the loss"
OF_KERAS = "keras/"
"""How the name of a file of Keras begins; what it calls of its backend belongs to Keras's treatment."""

_under_way: list[str] = []  # activations whose own calls are no sites; of all frameworks in this process


class Calls(ABC):
    """Each call of an activation asks :meth:`choose` what computes it."""

    def __init__(self, framework: str) -> None:
        self._framework = framework

    @abstractmethod
    def choose(self, site: SwapSite) -> Act | None:
        """What computes the activation at a place; None: the script's own."""

    def decide(self, name: str, where: Callable[[], Where]) -> tuple[Act, Where] | None:
        """The function that computes the called activation of this name; None: the script's own."""
        if _under_way:
            return None
        place = where()
        key = f"{place.module}@{place.file}:{place.line}"
        spot = (place.file, place.line, place.line, 0, 0)
        site = SwapSite(key, name, place.call, place.file, place.line, None, False, spot, None, place.axis, 0, 0)
        act = self.choose(replace(site, framework=self._framework))
        return None if act is None else (act, place)

    def applied(self, name: str, where: Callable[[], Where], call: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """Apply an activation to the first argument, by ``call`` or by its contender."""
        decided = self.decide(name, where)
        if decided is None:
            return aside(call, *args, **kw)
        act, place = decided
        return aside(act, args[0] if args else next(iter(kw.values())), place)

    def layer_called(self) -> None:  # noqa: B027 - only a survey needs it, as the next two
        """A layer with parameters is called: it hides what was applied before it."""

    def root_called(self) -> None:  # noqa: B027
        """A call begins that no other one contains."""

    def say(self, what: str, where: str, why: str) -> None:  # noqa: B027
        """Something that acts as an activation cannot be replaced."""


def aside(call: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    """Call something in which no activation is a site."""
    _under_way.append("")
    try:
        return call(*args, **kw)
    finally:
        _under_way.pop()


class SurveyCalls(Calls):
    """The calls of a survey. ``hidden``: keys of the sites that are followed by a layer with parameters."""

    def __init__(self, framework: str) -> None:
        super().__init__(framework)
        self._sites: dict[str, SwapSite] = {}
        self._open: set[str] = set()  # since the root call under way began
        self.hidden: set[str] = set()
        self.not_swapped: dict[NotSwapped, None] = {}

    def choose(self, site: SwapSite) -> None:
        """Keep the site."""
        self._sites.setdefault(site.key, site)
        self._open.add(site.key)

    def layer_called(self) -> None:
        """See :meth:`Calls.layer_called`."""
        self.hidden |= self._open
        self._open.clear()

    def root_called(self) -> None:
        """See :meth:`Calls.root_called`."""
        self._open.clear()

    def say(self, what: str, where: str, why: str) -> None:
        """See :meth:`Calls.say`."""
        self.not_swapped[NotSwapped(what, where, why)] = None

    def sites(self) -> tuple[SwapSite, ...]:
        """Each with whether it is hidden, and why not."""
        mixed = any(self._sites[key].activation not in GATES for key in self.hidden)
        found = []
        for key, site in self._sites.items():
            why = "" if key in self.hidden else NOT_HIDDEN
            if not why and mixed and site.activation in GATES:
                why = A_GATE
            found.append(replace(site, hidden=not why, why=why))
        return tuple(found)


class TrialCalls(Calls):
    """The calls of a trial: ``act`` at the sites of the plan that ``only`` leaves.

    A site that the survey did not meet is replaced as those of its activation, unless ``only`` is given.
    """

    def __init__(self, framework: str, act: Act, plan: SwapPlan, only: str) -> None:
        super().__init__(framework)
        self._act = act
        self.sites = plan.chosen(only)
        self._known = {site.key: site in self.sites for site in plan.sites}
        self._unknown = set() if only else {site.activation for site in self.sites}

    def choose(self, site: SwapSite) -> Act | None:
        """See :meth:`Calls.choose`."""
        return self._act if self._known.get(site.key, site.activation in self._unknown) else None


class Asked(NamedTuple):
    """The user's place (an activation, a site, FILE:LINE or a module's path) and the contender for it."""

    where: str
    contender: Contender

    def means(self, site: SwapSite) -> bool:
        """Whether the user's word names the site; folders do not count: a plan may come from a run in another one."""
        module, at, file = self.where.rpartition("@")
        near = os.path.basename(site.file)
        key = f"{site.key.rpartition('@')[0]}@{near}:{site.line}"
        return bool(site_is(replace(site, key=key, file=near))(f"{module}{at}{os.path.basename(file)}"))


class AskedCalls(Calls):
    """The calls of a run with ``--swap``: the first request that means the site counts.

    Attributes:
        swapped: key → what was done. ``kept``: key → what stayed, and why. ``met``: requests that were found.
    """

    def __init__(self, framework: str, asked: Sequence[Asked], make: Callable[[Contender], Act]) -> None:
        super().__init__(framework)
        self._asked, self._make = asked, make
        self._acts: dict[int, Act] = {}
        self.swapped: dict[str, str] = {}
        self.kept: dict[str, str] = {}
        self.met: set[int] = set()

    def choose(self, site: SwapSite) -> Act | None:
        """See :meth:`Calls.choose`."""
        number = next((n for n, each in enumerate(self._asked) if each.means(site)), -1)
        if number < 0:
            self.kept[site.key] = f"{site.activation}: not asked for"
            return None
        self.met.add(number)
        contender = self._asked[number].contender
        if number not in self._acts:
            try:
                self._acts[number] = self._make(contender)
            except StudyError as error:
                self.kept[site.key] = f"{site.activation}: {error}"
                return None
        self.swapped[site.key] = f"{site.activation} → {contender.name}"
        return self._acts[number]

"""The findings: what the doctor makes of a recording. ``to_dict`` is the stable JSON of ``relume report``."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from relume.artifacts.curve import LossPoint
from relume.artifacts.history import Band, History
from relume.artifacts.json_types import FindingsJson, RunJson, Severity, SiteJson, SpanJson, TimelineJson
from relume.artifacts.recording import Site

SCHEMA = 1


class Advised(NamedTuple):
    """A cure for a finding: its name, what is changed, for how many units, and the evidence for and against it.

    ``evidence``: of this run first, then of measurements elsewhere.
    """

    cure: str
    changes: str
    units: int
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One pathology at one site.

    ``rule`` is its code (``RLM001``), ``slug`` its name (``dead_unit``). ``evidence`` is numbers, for machines and
    people alike; ``advice`` is a sentence that says what to do; ``cures`` are those that a plan has for it.
    """

    rule: str
    slug: str
    severity: Severity
    site: str
    units: tuple[int, ...]
    evidence: str
    advice: str
    cures: tuple[Advised, ...] = ()


@dataclass(frozen=True)
class Cause:
    """Why one unit died: a kind of ``doctor/causes.py``, or of ``audited.py`` for a checkpoint, and the evidence."""

    kind: str
    says: str


class Span(NamedTuple):
    """One or more consecutive windows of a clock: ``first_step`` … ``last_step``, of which ``looked`` were looked at.

    ``dead``: units of the clock's sites that were dead after ``last_step``, by their events.
    """

    first_step: int
    last_step: int
    looked: int
    dead: int


Change = tuple[int, tuple[float, ...]]
"""A step, and the learning rate of each parameter group from it on."""


class Point(NamedTuple):
    """A number of a site that changed: it holds from ``step``, the end of a span, to the next point.

    ``silent``: units that did not fire in the window that ended there, though at their rate before they would have.
    ``dead``: units that were dead, by their events.
    """

    step: int
    silent: int
    dead: int


@dataclass(frozen=True)
class Timeline:
    """A clock over the whole run: by whose steps sites count, and its spans in their order.

    ``rates``: the learning rates, one entry for the first known step and one for each change. ``losses``: the curve.
    """

    clock: int
    name: str
    kind: str
    steps: int
    looked: int
    spans: tuple[Span, ...]
    rates: tuple[Change, ...] = ()
    losses: tuple[LossPoint, ...] = ()

    @property
    def loss_non_finite_since(self) -> int | None:
        """The first step with a loss that was NaN or infinite."""
        return next((point.non_finite_since for point in self.losses if point.non_finite), None)

    def to_dict(self) -> TimelineJson:
        """The clock's entry in the JSON."""
        return {
            "id": self.clock,
            "name": self.name,
            "kind": self.kind,
            "steps": self.steps,
            "looked": self.looked,
            "spans": [
                SpanJson(first_step=span.first_step, last_step=span.last_step, looked=span.looked, dead=span.dead)
                for span in self.spans
            ],
            "rates": [{"step": step, "rates": [_known(rate) for rate in rates]} for step, rates in self.rates],
            "losses": [
                {
                    "first_step": point.first_step,
                    "last_step": point.last_step,
                    "number": point.number,
                    "mean": _known(point.mean),
                    "low": _known(point.low),
                    "high": _known(point.high),
                    "non_finite": point.non_finite,
                }
                for point in self.losses
            ],
            "loss_non_finite_since": self.loss_non_finite_since,
        }


@dataclass(frozen=True)
class Judged:
    """A site and what its units are. Tuples hold the numbers of units; ``firing_rate`` and ``last_fired`` one for each.

    ``examples`` and ``samples`` are those that the units were judged on: of the latest closed window and the open one.
    ``mortal``: the unit can die; ``earlier_rate``: its firing rate before that window; ``slopes``: a PReLU's learned
    ones; ``statistics``: as in the recording; ``gradient_share``: of the model's largest gradient, None where unknown;
    ``losses``: the mean loss in the first and in the last quarter of its clock's windows, None if it is not known;
    ``optimizer``: the name of what steps it, "" if nothing does;
    ``non_finite_since``: unit → first step; ``broken_by``: the first site of its model whose output was not finite,
    where that is another one; ``rates_when_broken``: the learning rates in force when it began, and those before them;
    ``timeline``: how many units were silent and dead, one point for each change;
    ``history``: how often each unit fired over the steps, None if it is not known; ``band``: its pre-activations;
    ``copies``: the keys of the sites of networks into which this one's weights are loaded;
    ``silent_for``: the examples since each unit fired; ``needed``: the silent ones that make a unit dead, at least.
    """

    site: Site
    steps: int
    examples: int
    samples: int
    total_examples: int
    provisional: bool
    dead: tuple[int, ...]
    born_dead: tuple[int, ...]
    rare: tuple[int, ...]
    always_on: tuple[int, ...]
    stuck_high: tuple[int, ...]
    one_sided: tuple[int, ...]
    saturated: tuple[int, ...]
    dormant: tuple[int, ...]
    non_finite: tuple[int, ...]
    firing_rate: tuple[float | None, ...]
    last_fired: tuple[int, ...]
    events: tuple[tuple[int, int, str], ...]
    cause: Mapping[int, Cause] = field(default_factory=dict)
    mortal: tuple[bool, ...] = ()
    earlier_rate: tuple[float | None, ...] = ()
    slopes: tuple[float, ...] = ()
    statistics: Mapping[str, float] = field(default_factory=dict)
    gradient_share: float | None = None
    losses: tuple[float, float] | None = None
    non_finite_since: Mapping[int, int] = field(default_factory=dict)
    broken_by: Site | None = None
    rates_when_broken: tuple[Change, ...] = ()
    optimizer: str = ""
    timeline: tuple[Point, ...] = ()
    copies: tuple[str, ...] = ()
    silent_for: tuple[int, ...] = ()
    needed: int = 300
    history: History | None = None
    band: Band | None = None

    @property
    def is_all_dead(self) -> bool:
        """Whether enough was seen, and every unit is dead."""
        return not self.provisional and len(self.dead) == self.site.units > 0

    def deaths(self) -> dict[int, tuple[int, int]]:
        """Unit → (last step seen firing, first step seen silent) of the latest death, for units that did not revive.

        The unit died after the first and at or before the second. The first is −1 if the unit never fired.
        """
        latest = {unit: (kind, step) for unit, step, kind in self.events}
        died = {unit: step for unit, (kind, step) in latest.items() if kind == "died"}
        return {unit: (self.last_fired[unit], step) for unit, step in died.items() if self.last_fired[unit] < step}

    @property
    def fires(self) -> float | None:
        """The median of its units' firing rates; None where none is known."""
        known = sorted(rate for rate in self.firing_rate if rate is not None)
        middle = len(known) // 2
        return (known[middle] + known[~middle]) / 2 if known else None

    @property
    def broken_since(self) -> int | None:
        """The first step with an output that was not finite, if that is known."""
        return min(self.non_finite_since.values(), default=None)

    def to_dict(self) -> SiteJson:
        """The site's entry in the JSON."""
        s = self.site
        return {
            "id": s.key,
            "model": s.model,
            "module": s.module,
            "call": s.call,
            "source": f"{s.file}:{s.line}",
            "activation": s.activation,
            "parameters": dict(s.parameters),
            "layer": s.layer,
            "producer": s.producer,
            "code": s.code,
            "unit_axis": s.unit_axis,
            "units": s.units,
            "clock": s.clock,
            "axis_assumed": s.axis_assumed,
            "steps": self.steps,
            "examples": self.examples,
            "samples": self.samples,
            "total_examples": self.total_examples,
            "provisional": self.provisional,
            "dead": list(self.dead),
            "born_dead": list(self.born_dead),
            "rare": list(self.rare),
            "always_on": list(self.always_on),
            "stuck_high": list(self.stuck_high),
            "one_sided": list(self.one_sided),
            "saturated": list(self.saturated),
            "dormant": list(self.dormant),
            "non_finite": list(self.non_finite),
            "non_finite_since": {str(unit): step for unit, step in self.non_finite_since.items()},
            "firing_rate": list(self.firing_rate),
            "last_fired": list(self.last_fired),
            "silent_for": list(self.silent_for),
            "needed": self.needed,
            "events": [list(event) for event in self.events],
            "timeline": [list(point) for point in self.timeline],
            "died_after": {str(unit): last for unit, (last, _) in self.deaths().items() if last >= 0},
            "died_at": _latest(self.events, "died"),
            "revived_at": _latest(self.events, "revived"),
            "copies": list(self.copies),
            "slopes": [_known(slope) for slope in self.slopes],
            "statistics": dict(self.statistics),
            "cause": {str(unit): {"kind": cause.kind, "evidence": cause.says} for unit, cause in self.cause.items()},
        }


def _known(number: float | None) -> float | None:
    """A number as strict JSON has it: null for one that is not finite."""
    return number if number is not None and math.isfinite(number) else None


def _latest(events: tuple[tuple[int, int, str], ...], kind: str) -> dict[str, int]:
    return {str(unit): step for unit, step, what in events if what == kind}


def died(deaths: Iterable[tuple[int, int]]) -> str:
    """``died between steps 4 and 116``, from (last step seen firing, first step seen silent) of each unit.

    A death that was seen to the step: ``died at step 80``.
    """
    known = list(deaths)
    first, last = min(fired for fired, _ in known), max(silent for _, silent in known)
    return f"died at step {last:,}" if last - first <= 1 else f"died between steps {max(first, 0):,} and {last:,}"


def too_few(sites: Iterable[Judged]) -> str:
    """``fewer than 300 examples``: why some sites are provisional, "" if none is."""
    needed = [judged.needed for judged in sites if judged.provisional]
    return f"fewer than {max(needed):,} examples" if needed else ""


def count_dead(sites: Iterable[Judged]) -> tuple[int, int]:
    """The dead units, and all units, of the sites of which enough was seen."""
    sure = [judged for judged in sites if not judged.provisional]
    return sum(len(judged.dead) for judged in sure), sum(judged.site.units for judged in sure)


@dataclass(frozen=True)
class Findings:
    """Everything the doctor says about one run; ``timelines``: one for each clock, ``Site.clock`` is its id."""

    run: Mapping[str, Any]
    sites: tuple[Judged, ...]
    findings: tuple[Finding, ...]
    not_observed: tuple[tuple[str, str, str], ...] = field(default=())
    timelines: tuple[Timeline, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """A short name for each site, the same on every run of the same code, fit for the names of metrics.

        The path of the activation module (``layer1.0.relu``), or the producing layer's with the activation
        (``layer1.0.bn1.relu`` for ``F.relu``). A second site of a name is ``…-2``, in the order of the first call.
        """
        taken: Counter[str] = Counter()
        names = []
        for judged in self.sites:
            name = _name(judged.site)
            taken[name] += 1
            names.append(name if taken[name] == 1 else f"{name}-{taken[name]}")
        return tuple(names)

    def to_metrics(self) -> dict[str, float]:
        """The numbers that loggers take: flat, finite, with stable names.

        ``relume/dead``, ``relume/dead_share``: dead units, and their share of ``relume/units``, the units judged;
        ``relume/overhead``: share of the steps' time that watching took. For each site, by its name in :attr:`names`:
        ``relume/<site>/firing_rate``: mean over its units; ``relume/<site>/examples``: on which it was judged;
        ``relume/<site>/dead``, ``relume/<site>/dead_share``. As in ``relume check``, provisional sites are no part of
        dead units and shares: a number without enough examples is left out.
        """
        told: dict[str, float] = {}
        dead, units = count_dead(self.sites)
        if units:
            told |= {"relume/dead": dead, "relume/units": units, "relume/dead_share": dead / units}
        if self.run.get("overhead") is not None:
            told["relume/overhead"] = self.run["overhead"]
        for name, judged in zip(self.names, self.sites, strict=True):
            told |= {f"relume/{name}/{what}": number for what, number in _numbers(judged).items()}
        return told

    def to_dict(self) -> FindingsJson:
        """The JSON of ``relume report --json``; numbers and strings only."""
        return {
            "schema": SCHEMA,
            "run": cast(RunJson, dict(self.run)),
            "sites": [site.to_dict() for site in self.sites],
            "timelines": [timeline.to_dict() for timeline in self.timelines],
            "findings": [
                {
                    "rule": f.rule,
                    "slug": f.slug,
                    "severity": f.severity,
                    "site": f.site,
                    "units": list(f.units),
                    "evidence": f.evidence,
                    "advice": f.advice,
                    "cures": [
                        {"cure": c.cure, "changes": c.changes, "units": c.units, "evidence": list(c.evidence)}
                        for c in f.cures
                    ],
                }
                for f in self.findings
            ],
            "not_observed": [{"what": what, "where": where, "why": why} for what, where, why in self.not_observed],
        }


def _name(site: Site) -> str:
    """A site's name before it is made unique: of letters, digits, ``_``, ``-`` and ``.``."""
    if site.call.rpartition(".")[2][:1].isupper():  # an activation module: nn.ReLU
        name = site.module or site.model
    else:
        name = f"{site.layer or site.module or site.model}.{site.activation}"
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


def _numbers(judged: Judged) -> dict[str, float]:
    rates = [rate for rate in judged.firing_rate if rate is not None]
    numbers: dict[str, float] = {"firing_rate": sum(rates) / len(rates)} if rates else {}
    numbers["examples"] = judged.examples
    if not judged.provisional:
        numbers |= {"dead": len(judged.dead), "dead_share": len(judged.dead) / judged.site.units}
    return numbers

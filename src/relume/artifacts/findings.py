"""The findings: what the doctor makes of a recording. ``to_dict`` is the stable JSON of ``relume report``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from relume.artifacts.recording import Site

SCHEMA = 1

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One pathology at one site.

    ``rule`` is its code (``RLM001``), ``slug`` its name (``dead_unit``). ``evidence`` is numbers, for machines and
    people alike; ``advice`` is a sentence that says what to do.
    """

    rule: str
    slug: str
    severity: Severity
    site: str
    units: tuple[int, ...]
    evidence: str
    advice: str


@dataclass(frozen=True)
class Cause:
    """Why one unit died: the kind is a key of ``KINDS`` in ``doctor/causes.py``; ``says`` is the evidence."""

    kind: str
    says: str


@dataclass(frozen=True)
class Judged:
    """A site and what its units are. Tuples hold the numbers of units; ``firing_rate`` and ``last_fired`` one for each.

    ``examples`` and ``samples`` are those that the units were judged on: of the latest closed window and the open one.
    ``mortal``: the unit can die; ``earlier_rate``: its firing rate before that window; ``slopes``: a PReLU's learned
    ones; ``vitals``: as in the recording; ``gradient_share``: of the largest gradient in the model, None where unknown.
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
    vitals: Mapping[str, float] = field(default_factory=dict)
    gradient_share: float | None = None

    def to_dict(self) -> dict[str, Any]:
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
            "unit_axis": s.unit_axis,
            "units": s.units,
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
            "firing_rate": list(self.firing_rate),
            "last_fired": list(self.last_fired),
            "events": [list(event) for event in self.events],
            "died_at": _latest(self.events, "died"),
            "revived_at": _latest(self.events, "revived"),
            "slopes": list(self.slopes),
            "vitals": dict(self.vitals),
            "cause": {str(unit): {"kind": cause.kind, "evidence": cause.says} for unit, cause in self.cause.items()},
        }


def _latest(events: tuple[tuple[int, int, str], ...], kind: str) -> dict[str, int]:
    return {str(unit): step for unit, step, what in events if what == kind}


@dataclass(frozen=True)
class Findings:
    """Everything the doctor says about one run."""

    run: Mapping[str, Any]
    sites: tuple[Judged, ...]
    findings: tuple[Finding, ...]
    not_observed: tuple[tuple[str, str, str], ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``relume report --json``; numbers and strings only."""
        return {
            "schema": SCHEMA,
            "run": dict(self.run),
            "sites": [site.to_dict() for site in self.sites],
            "findings": [
                {
                    "rule": f.rule,
                    "slug": f.slug,
                    "severity": f.severity,
                    "site": f.site,
                    "units": list(f.units),
                    "evidence": f.evidence,
                    "advice": f.advice,
                }
                for f in self.findings
            ],
            "not_observed": [{"what": what, "where": where, "why": why} for what, where, why in self.not_observed],
        }

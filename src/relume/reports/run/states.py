"""The state that a unit is shown in: the worst one that its site lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relume.artifacts.findings import Findings, Judged


@dataclass(frozen=True)
class UnitState:
    """A word for a unit, how it is drawn (``key`` names its color and its pattern), and the lists that say so."""

    key: str
    label: str
    says: str
    fields: tuple[str, ...] = ()


STATES = (
    UnitState("broken", "NaN or infinite", "an output was NaN or infinite", ("non_finite",)),
    UnitState("dead", "dead", "did not fire on any example of the window", ("dead",)),
    UnitState("stuck", "stuck", "on a flat part of its curve for 99 % of the samples", ("stuck_high", "saturated")),
    UnitState("rare", "rare", "fires on less than 1 % of the samples", ("rare",)),
    UnitState("on", "always on", "never switches, so it is linear on the data", ("always_on", "one_sided")),
    UnitState("healthy", "healthy", "fires, and can learn"),
)
"""Worst first: a unit in two of these states is shown as the first."""

HEALTHY = len(STATES) - 1
LOST = frozenset(("broken", "dead", "stuck"))
"""States in which a unit is useless."""

BINS = 20
"""Bins of firing rates above 0; units that never fired have a separate bin."""


def codes(judged: Judged) -> NDArray[np.uint8]:
    """For each unit the place of its state in :data:`STATES`; shape (units,)."""
    found = np.full(judged.site.units, HEALTHY, np.uint8)
    for place in reversed(range(HEALTHY)):
        for field in STATES[place].fields:
            found[list(getattr(judged, field))] = place
    return found


def counts(states: NDArray[np.uint8]) -> tuple[int, ...]:
    """How many units each state has."""
    return tuple(np.bincount(states, minlength=len(STATES)).tolist())


def lost(judged: Judged) -> int:
    """How many units of a site are useless."""
    fields = [name for state in STATES if state.key in LOST for name in state.fields]
    return len({unit for name in fields for unit in getattr(judged, name)})


def worst_first(findings: Findings) -> list[int]:
    """The places of the sites in the order in which they should be looked at: what lost most units comes first."""
    severities: dict[str, list[str]] = {}
    for found in findings.findings:
        severities.setdefault(found.site, []).append(found.severity)

    def weight(place: int) -> tuple[int, ...]:
        judged = findings.sites[place]
        told = severities.get(judged.site.key, [])
        follows = judged.broken_by is not None
        severe = [-told.count(severity) for severity in ("error", "warning")]
        return (-bool(judged.non_finite), follows, -lost(judged), *severe, -len(judged.rare))

    return sorted(range(len(findings.sites)), key=weight)


def present(numbers: Sequence[int]) -> list[tuple[UnitState, int]]:
    """The states that some units have, and how many."""
    return [(state, number) for state, number in zip(STATES, numbers, strict=True) if number]


def said(numbers: Sequence[int]) -> str:
    """``55 dead, 9 healthy``: a drawing in words."""
    return ", ".join(f"{number:,} {state.label}" for state, number in present(numbers)) or "no units"


def histogram(rates: Sequence[float | None]) -> tuple[int, ...]:
    """How many units never fired, and how many have a rate in each of :data:`BINS` equal parts of (0, 1]."""
    known = np.array([rate for rate in rates if rate is not None], float)
    above = np.histogram(known[known > 0], bins=BINS, range=(0, 1))[0]
    return (int((known == 0).sum()), *above.tolist())


def ranges(units: Sequence[int], most: int = 60) -> str:
    """Numbers of units with neighbors put together, and how many more there are.

    Example:
        >>> ranges([0, 1, 2, 5, 7, 8])
        '0–2, 5, 7–8'
        >>> ranges([0, 2, 4, 6], most=2)
        '0, 2 and 2 more'
    """
    if not units:
        return "none"
    spans: list[list[int]] = []
    for unit in units:
        if spans and unit == spans[-1][1] + 1:
            spans[-1][1] = unit
        else:
            spans.append([unit, unit])
    text = ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in spans[:most])
    left = sum(last - first + 1 for first, last in spans[most:])
    return f"{text} and {left:,} more" if left else text

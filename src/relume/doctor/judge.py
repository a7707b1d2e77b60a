"""From counts to words: which units are dead, rare, always on, … by DESIGN's definitions, and no other numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from relume.activations import ACTIVATIONS, NUMPY
from relume.artifacts.findings import Judged
from relume.artifacts.recording import Clock, Count, SiteRecord

RARE_RATE = 0.01
"""A unit that fires on a smaller share of its samples is rare."""

FLAT_SHARE = 0.99
"""A unit with at least this share of its samples on a flat part of its curve is saturated, or stuck high."""

DORMANT_TAU = 0.025
"""τ of the dormant score: the default of ReDo (Sokar et al. 2023, arXiv 2302.12902, appendix)."""

PROVISIONAL_BOUND = 0.01
"""While the 95 % bound 3/n on a dead unit's firing rate is above this, its site is provisional."""

Mask = NDArray[np.bool_]


def bound(examples: int) -> float:
    """The 95 % upper bound on the firing rate of a unit that was silent on n examples: 3/n ("rule of three")."""
    return min(1.0, 3 / max(examples, 1))


def judge(record: SiteRecord, clock: Clock, *, literal: bool = False) -> Judged:
    """The words for the units of one site, from its latest closed window and the open one.

    ``literal``: the user set the window's length; a unit that is silent in it is dead. Otherwise the window is as short
    as the evidence allows, and whether its silence is a death is decided by :class:`~relume.artifacts.recent.Recent`.
    A sparse code is judged on the whole run, and its units are rare by the mean of their rates.
    """
    site = record.site
    count = record.total if site.code and not literal else record.judged()
    finite = record.finite
    can_die = _can_die(record) & finite
    dead = _dead(record, can_die, literal=literal)
    rare_rate = RARE_RATE * (record.mean_rate if site.code else 1.0)
    silent = (count.fired == 0) & (count.samples > 0)
    splits = np.full(site.units, _splits_at_zero(site.activation))
    never_off = (count.fired == count.samples) & finite & splits
    at_rest = (count.flat >= FLAT_SHARE * max(count.samples, 1)) & finite
    bounded = np.full(site.units, site.activation == "relu6")  # flat for it is its upper bound: below 0 it is silent
    return Judged(
        site=site,
        steps=clock.steps,
        examples=count.examples,
        samples=count.samples,
        total_examples=record.total.examples,
        provisional=_is_provisional(record, literal=literal),
        dead=_units(dead),
        born_dead=_units(dead & (record.first_fired < 0)),
        rare=_units(~dead & can_die & (count.fired < rare_rate * count.samples)),
        always_on=_units(never_off & can_die & ~at_rest),
        stuck_high=_units(at_rest & bounded),
        one_sided=_units((silent | never_off) & finite & ~can_die & splits),
        saturated=_units(at_rest & ~bounded),
        dormant=_units(_dormant(count)),
        non_finite=_units(~finite),
        firing_rate=tuple(_rates(count, 9 if site.code else 6)),
        non_finite_since=_since(record),
        last_fired=tuple(record.last_fired.tolist()),
        needed=math.ceil(record.needed or 3 / PROVISIONAL_BOUND),
        silent_for=tuple(record.silent_for().astype(int).tolist()),
        events=tuple(record.events),
        mortal=tuple(can_die.tolist()),
        earlier_rate=tuple(_rates(_before(record.total, count))),
        slopes=() if record.slope is None else tuple(record.slope.tolist()),
        statistics=record.statistics,
        history=record.history,
        band=record.band,
        optimizer=clock.name if clock.kind == "optimizer" else "",
    )


def judged_dead(record: SiteRecord, *, literal: bool = False) -> Mask | None:
    """Which units are dead, and nothing else, for a reader during the run; None for a provisional site or a copy."""
    if _is_provisional(record, literal=literal) or "copy_of" in record.statistics:
        return None
    return _dead(record, _can_die(record) & record.finite, literal=literal)


def _is_provisional(record: SiteRecord, *, literal: bool) -> bool:
    """Whether too little was seen to call a unit dead."""
    if literal and record.dead_after is None:
        return bound(record.judged().examples) > PROVISIONAL_BOUND
    return bound(record.judged().examples) > PROVISIONAL_BOUND or record.total.examples < (record.needed or 0)


def _dead(record: SiteRecord, can_die: Mask, *, literal: bool) -> Mask:
    count = record.judged()
    is_literal = literal and record.dead_after is None
    silent = count.fired == 0 if is_literal else record.surely_silent()
    return np.asarray(silent & (count.samples > 0) & can_die)


def _splits_at_zero(name: str) -> bool:
    """Whether the activation is one straight line below zero and another above it, as its definition says."""
    activation = ACTIVATIONS[name]
    if not activation.elementwise:
        return False
    slopes = activation.slope(np.array([-2.0, -1.0, 1.0, 2.0]), NUMPY, **activation.defaults()).tolist()
    return activation.fires_above(**activation.defaults()) == 0 and slopes[::2] == slopes[1::2]


def _can_die(record: SiteRecord) -> Mask:
    """Which units have no slope when they do not fire: by the activation's definition and its parameters."""
    site = record.site
    activation = ACTIVATIONS[site.activation]
    if record.slope is not None:
        return np.asarray([activation.dies(weight=float(slope)) for slope in record.slope])
    parameters = {name: value for name, value in site.parameters.items() if name != "max_val"}
    return np.full(site.units, activation.dies(**activation.defaults() | parameters))


def _since(record: SiteRecord) -> dict[int, int]:
    """Since which step each unit is not finite, if that is known."""
    if record.non_finite_since is None:
        return {}
    return {unit: step for unit, step in enumerate(record.non_finite_since.tolist()) if step >= 0}


def _dormant(count: Count) -> Mask:
    """Units whose mean |output| is at most τ of the layer's mean."""
    mean = count.magnitude.mean() if count.magnitude.size else np.nan
    if not np.isfinite(mean) or mean == 0:
        return np.zeros(count.magnitude.shape, bool)
    return np.asarray(count.magnitude / mean <= DORMANT_TAU)


def _before(total: Count, latest: Count) -> Count:
    """What was counted before the latest window."""
    return replace(total, samples=total.samples - latest.samples, fired=total.fired - latest.fired)


def _rates(count: Count, digits: int = 6) -> list[float | None]:
    if count.samples <= 0:
        return [None] * len(count.fired)
    rates: list[float | None] = np.round(count.fired / count.samples, digits).tolist()
    return rates


def _units(mask: Mask) -> tuple[int, ...]:
    units: list[int] = np.flatnonzero(mask).tolist()
    return tuple(units)

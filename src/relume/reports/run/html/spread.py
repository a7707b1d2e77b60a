"""When trouble spread: for each site the share of its units that were dead, over the steps, and since when NaN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from relume.artifacts.findings import Judged, Timeline

MOST_SITES = 24
"""Rows: more would not fit on a screen."""

SHADES = 8
"""Shades of a share: more could not be distinguished."""


@dataclass(frozen=True)
class Stretch:
    """A part of a row: state, beginning and length in % of the run, and opacity."""

    state: str
    start: float
    length: float
    opacity: float


@dataclass(frozen=True)
class SpreadRow:
    """A site: its place among the run's sites, its stretches, and what they show in words."""

    place: int
    stretches: tuple[Stretch, ...]
    says: str


def spread(clock: Timeline, sites: Sequence[Judged]) -> tuple[SpreadRow, ...]:
    """The sites of a clock at which units died or broke, in the order of the network; nothing if there is only one."""
    own = [(place, judged) for place, judged in enumerate(sites) if judged.site.clock == clock.clock]
    hit = [(place, judged) for place, judged in own if judged.events or judged.broken_since is not None]
    if len(hit) < 2:
        return ()
    return tuple(SpreadRow(place, _stretches(judged, clock.steps), _says(judged)) for place, judged in hit[:MOST_SITES])


def _stretches(judged: Judged, steps: int) -> tuple[Stretch, ...]:
    broken = judged.broken_since
    end = steps if broken is None else min(broken, steps)
    changes = [(0, 0.0), *_shares(judged, end), (end, 0.0)]
    found = []
    for (start, share), (stop, _) in pairwise(changes):
        if share and stop > start:
            found.append(_stretch("dead", start, stop, steps, share))
    if broken is not None and end < steps:
        found.append(_stretch("broken", end, steps, steps, 1.0))
    return tuple(found)


def _shares(judged: Judged, end: int) -> list[tuple[int, float]]:
    """(step, share of the units that are dead from there on), rounded up to a shade, where it changes."""
    dead = 0
    shares: list[tuple[int, float]] = []
    all_count = judged.broken_since is not None or not judged.mortal  # a unit that broke may have been dead before
    events = [event for event in judged.events if all_count or judged.mortal[event[0]]]
    for _, step, kind in sorted(events, key=lambda event: event[1]):
        dead += 1 if kind == "died" else -1
        share = -(-dead * SHADES // judged.site.units) / SHADES
        if step < end and (not shares or shares[-1][1] != share):
            shares.append((step, share))
    return shares


def _stretch(state: str, start: int, stop: int, steps: int, share: float) -> Stretch:
    whole = max(steps, 1)
    return Stretch(state, round(100 * start / whole, 3), round(100 * (stop - start) / whole, 3), round(share, 3))


def _says(judged: Judged) -> str:
    if judged.broken_since is not None:
        return f"NaN or infinite since step {judged.broken_since:,}"
    first = min(step for _, step, _ in judged.events)
    return f"{len(judged.dead):,} of {judged.site.units:,} dead, the first at step {first:,}"

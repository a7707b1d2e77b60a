"""When units died and revived on all ranks of a run, from what each rank knows of its own.

A unit is dead on the run while it is dead on every rank that saw its site. So its deaths are the stretches that the
ranks' deaths share: from the latest "died" to the earliest "revived". Such a stretch may be shorter than each rank's
own. It is kept where the ranks' buckets inside it hold enough examples to say so by the measure that holds for one rank
(the bound 3/n is at most 1 %), and left out otherwise. A unit on which no rank alone had seen enough, and all together
have, died at the first step of its silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relume.artifacts.recording import Recording, SiteRecord
from relume.doctor.judge import PROVISIONAL_BOUND, bound

Event = tuple[int, int, str]
Bucket = tuple[int, int, int]
"""(first step, last step, examples) of a closed bucket."""
Stretch = tuple[int, int | None]
"""From a step up to another, exclusive; None: to the end."""


@dataclass
class RankSite:
    """A site as one rank saw it, and the examples of its closed buckets."""

    record: SiteRecord
    buckets: list[Bucket]


def buckets_of(recording: Recording, number: int) -> list[Bucket]:
    """The closed buckets of a site, by its number in the recording."""
    clock = recording.sites[number].site.clock
    ends = {w.first_step: w.last_step for w in recording.windows if w.clock == clock}
    rows = [(first, examples) for site, first, _, examples in recording.timeline if site == number]
    return [(first, ends[first], examples) for first, examples in rows if first in ends]


def shared_events(merged: SiteRecord, ranks: Sequence[RankSite], literal: bool) -> list[Event]:
    """The deaths and revivals of a site that holds the ranks' counts together.

    ``literal``: the user set the windows' length; a unit that is silent in one is dead, even with few examples.
    """
    ranks = [seen for seen in ranks if seen.record.total.looks]
    stretches = [_deaths(seen.record.events) for seen in ranks]
    now_dead = _now_dead(merged, literal)
    events: list[Event] = []
    for unit in sorted({unit for known in stretches for unit in known} | now_dead):
        shared: list[Stretch] = [(0, None)] if ranks else []
        for known in stretches:
            shared = _intersect(shared, known.get(unit, []))
        shared = [stretch for stretch in shared if literal or _enough(_examples(ranks, stretch))]
        if unit in now_dead and not any(end is None for _, end in shared):
            shared.append((int(merged.silent_since[unit]), None))
        for died, revived in shared:
            events.append((unit, died, "died"))
            if revived is not None:
                events.append((unit, revived, "revived"))
    return sorted(events, key=lambda event: event[1])


def _now_dead(merged: SiteRecord, literal: bool) -> set[int]:
    """The units that all ranks together have seen silent for long enough at their end."""
    if merged.window is None:
        return set()
    silent = merged.judged().fired == 0 if literal else merged.surely_silent()
    enough = literal or _enough(merged.window.examples)
    return {unit for unit, since in enumerate(merged.silent_since) if enough and silent[unit] and since >= 0}


def _deaths(events: Sequence[Event]) -> dict[int, list[Stretch]]:
    """The stretches in which each unit was dead on one rank."""
    found: dict[int, list[Stretch]] = {}
    for unit, step, kind in events:
        stretches = found.setdefault(unit, [])
        if kind == "died":
            stretches.append((step, None))
        elif stretches and stretches[-1][1] is None:
            stretches[-1] = (stretches[-1][0], step)
    return found


def _intersect(some: Sequence[Stretch], others: Sequence[Stretch]) -> list[Stretch]:
    shared = []
    for one_from, one_to in some:
        for two_from, two_to in others:
            start = max(one_from, two_from)
            ends = [end for end in (one_to, two_to) if end is not None]
            end = min(ends, default=None)
            if end is None or start < end:
                shared.append((start, end))
    return sorted(shared, key=lambda stretch: stretch[0])


def _examples(ranks: Sequence[RankSite], stretch: Stretch) -> int:
    """The examples that the ranks have seen in a stretch, of the buckets that lie in it whole."""
    start, end = stretch
    closed = sum(
        examples
        for seen in ranks
        for first, last, examples in seen.buckets
        if first >= start and (end is None or last < end)
    )
    return closed + (sum(seen.record.open.examples for seen in ranks) if end is None else 0)


def _enough(examples: int) -> bool:
    return bound(examples) <= PROVISIONAL_BOUND

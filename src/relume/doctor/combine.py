"""The recordings of one run into one.

Ranks do the same work on other data: their counts are added, and a unit is dead only if it is silent on all of them.
Children do other work: their sites are listed after those of the first, under the child's name.

The loss is the mean of the ranks' losses. What cannot be added up is the first rank's: the windows, the learning rates
and the timeline of sites. How many units were silent on *all* ranks in a stretch of steps does not follow from each
rank's own number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relume.artifacts.curve import LossPoint
from relume.artifacts.curve import merged as merged_curve
from relume.artifacts.parts import Part, Unseen
from relume.artifacts.recent import Recent
from relume.artifacts.recording import Count, Death, Integers, Recording, SiteRecord
from relume.doctor.events import RankSite, buckets_of, shared_events


def combine(parts: Sequence[Part], unseen: Sequence[Unseen] = ()) -> Recording:
    """One recording of all parts of a run; the first part is the first process's.

    ``unseen``: what else to list as not observed. A single part is returned unchanged.
    """
    first = parts[0].recording
    if len(parts) == 1:
        return replace(first, not_observed=[*first.not_observed, *unseen]) if unseen else first
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.child, []).append(part)
    whole = Recording({}, [], [], [], [], [])
    for child, ranks in groups.items():
        _append(whole, _merge_ranks(ranks), child)
    whole.meta = _facts(parts)
    rows = [row for part in parts for row in part.recording.not_observed] + _absent(parts) + _unfinished(parts)
    whole.not_observed = list(dict.fromkeys([*rows, *unseen]))
    return whole


# ---- ranks ---------------------------------------------------------------------------------------------------------


def _merge_ranks(ranks: Sequence[Part]) -> Recording:
    """The ranks of one process: what has the same key, activation and units is one site."""
    first = ranks[0].recording
    merged = replace(
        first, clocks=list(first.clocks), sites=[], windows=list(first.windows), rates=list(first.rates), losses=[]
    )
    kept = len(first.sites)
    merged.timeline = [row for row in first.timeline if row[0] < kept]
    literal = first.meta.get("window") is not None
    met: dict[tuple[Any, ...], list[RankSite]] = {}
    losses: dict[int, list[LossPoint]] = {}
    for part in ranks:
        clocks = _take_clocks(merged, part.recording, new=part is not ranks[0])
        for point in part.recording.losses:
            losses.setdefault(clocks[point.clock], []).append(point._replace(clock=clocks[point.clock]))
        places = [_same(record) for record in part.recording.sites]
        for place in places:
            met.setdefault(place, [])
        order = list(met)
        numbers = {number: order.index(place) for number, place in enumerate(places)}
        for number, record in enumerate(part.recording.sites):
            site = replace(record.site, clock=clocks[record.site.clock])
            moved = _renumbered(replace(record, site=site), numbers)
            met[places[number]].append(RankSite(moved, buckets_of(part.recording, number)))
    merged.losses = [point for _, points in sorted(losses.items()) for point in merged_curve(points)]
    taken: set[str] = set()
    for found in met.values():
        record = found[0].record if len(found) == 1 else _merge_site(found, literal)
        merged.sites.append(_named_apart(record, taken))
    return merged


def _same(record: SiteRecord) -> tuple[Any, ...]:
    """What must be equal for sites of two ranks to be one site."""
    return record.site.key, record.site.activation, record.site.units


def _renumbered(record: SiteRecord, numbers: Mapping[int, int]) -> SiteRecord:
    """The record, with new numbers for the sites upstream and the one that it is a copy of."""
    deaths = {unit: death._replace(upstream=numbers.get(death.upstream, -1)) for unit, death in record.deaths.items()}
    statistics = dict(record.statistics)
    if "copy_of" in statistics:
        statistics["copy_of"] = float(numbers[int(statistics["copy_of"])])
    return replace(record, deaths=deaths, statistics=statistics)


def _last_deaths(records: Sequence[SiteRecord]) -> dict[int, Death]:
    """How each unit died on the rank where it fell silent last: then it was dead on all of them."""
    found: dict[int, Death] = {}
    for record in records:
        for unit, death in record.deaths.items():
            if unit not in found or death.after > found[unit].after:
                found[unit] = death
    return found


def _take_clocks(merged: Recording, other: Recording, *, new: bool) -> dict[int, int]:
    """Take over another rank's clocks; returns its numbers → ours. The n-th of a name and kind is the same on all."""
    if not new:
        return {clock.id: clock.id for clock in other.clocks}
    ours: dict[tuple[str, str], list[int]] = {}
    for place, clock in enumerate(merged.clocks):
        ours.setdefault((clock.name, clock.kind), []).append(place)
    numbers = {}
    for clock in other.clocks:
        same = ours.get((clock.name, clock.kind))
        if same:
            place = same.pop(0)
            mine = merged.clocks[place]
            # Which steps each rank looked at is not known: at least this many were looked at on one of them.
            merged.clocks[place] = replace(
                mine, steps=max(mine.steps, clock.steps), looked=max(mine.looked, clock.looked)
            )
            numbers[clock.id] = mine.id
        else:
            number = 1 + max((c.id for c in merged.clocks), default=-1)
            merged.clocks.append(replace(clock, id=number))
            merged.windows += [replace(w, clock=number) for w in other.windows if w.clock == clock.id]
            merged.rates += [r._replace(clock=number) for r in other.rates if r.clock == clock.id]
            numbers[clock.id] = number
    return numbers


def _merge_site(found: Sequence[RankSite], literal: bool) -> SiteRecord:
    """One site as several ranks saw it."""
    records = [seen.record for seen in found]
    windows = [record.window for record in records if record.window is not None]
    zero = Count.zero(records[0].site.units)
    closed = [record for record in records if record.window is not None]
    silent = np.full(records[0].site.units, -1, np.int64)
    if closed:
        since = np.stack([record.silent_since for record in closed])
        silent = np.where((since < 0).any(axis=0), -1, since.max(axis=0))
    merged = replace(
        records[0],
        total=sum((record.total for record in records), zero),
        window=sum(windows, zero) if windows else None,
        open=sum((record.open for record in records), zero),
        first_fired=_earliest([record.first_fired for record in records]),
        last_fired=np.max([record.last_fired for record in records], axis=0),
        silent_since=silent,
        slope=_steepest(records),
        recent=_recent(records),
        non_finite_since=_earliest([r.non_finite_since for r in records if r.non_finite_since is not None]),
        deaths=_last_deaths(records),
        statistics=_widest(records),
        history=None,  # each rank has stretches of its own
    )
    merged.events = shared_events(merged, found, literal)
    return merged


def _earliest(steps: Sequence[Integers]) -> Any:
    """For each unit the earliest step of those that are not −1; None of nothing."""
    if not steps:
        return None
    never = np.iinfo(np.int64).max
    first = np.min([np.where(some < 0, never, some) for some in steps], axis=0)
    return np.where(first == never, -1, first)


def _recent(records: Sequence[SiteRecord]) -> Recent | None:
    """The sum of firings and examples of all ranks; silent: of the rank that fired last, times the ranks."""
    known = [record.recent for record in records if record.recent is not None and record.total.looks]
    if not known:
        return None
    fired, examples, silent = (np.stack([getattr(r, name) for r in known]) for name in ("fired", "examples", "silent"))
    return Recent(fired.sum(0), examples.sum(0), silent.min(0) * len(known))


def _widest(records: Sequence[SiteRecord]) -> dict[str, float]:
    """The first rank's numbers, and the largest peak of all."""
    peaks = [record.statistics["peak"] for record in records if "peak" in record.statistics]
    return records[0].statistics | ({"peak": max(peaks)} if peaks else {})


def _steepest(records: Sequence[SiteRecord]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The learned slope of each unit; where ranks differ the one furthest from 0: a unit with a slope cannot die."""
    slopes = [record.slope for record in records if record.slope is not None]
    if not slopes:
        return None
    stacked = np.stack(slopes)
    furthest = np.abs(stacked).argmax(axis=0)
    return np.asarray(np.take_along_axis(stacked, furthest[None], axis=0)[0])


def _named_apart(record: SiteRecord, taken: set[str]) -> SiteRecord:
    """The record, under a key of its own where another rank has this key for other units."""
    key, order = record.site.key, 1
    while key in taken:
        order += 1
        key = f"{record.site.key}@other{order - 1}"
    taken.add(key)
    return record if key == record.site.key else replace(record, site=replace(record.site, key=key))


# ---- children, facts -----------------------------------------------------------------------------------------------


def _append(whole: Recording, other: Recording, child: str) -> None:
    """Append a child's sites and clocks, under the child's name."""
    sites, clocks = len(whole.sites), 1 + max((clock.id for clock in whole.clocks), default=-1)
    prefix = f"{child}/" if child else ""
    whole.clocks += [replace(c, id=c.id + clocks, name=prefix + c.name) for c in other.clocks]
    whole.windows += [replace(w, clock=w.clock + clocks) for w in other.windows]
    whole.rates += [r._replace(clock=r.clock + clocks) for r in other.rates]
    whole.losses += [point._replace(clock=point.clock + clocks) for point in other.losses]
    whole.timeline += [(site + sites, *rest) for site, *rest in other.timeline if site < len(other.sites)]  # type: ignore[misc]  # a tuple of four stays one
    for record in other.sites:
        site = record.site
        model = prefix + site.model if site.model else child
        moved = replace(site, key=prefix + site.key, model=model, clock=site.clock + clocks)
        numbers = {number: number + sites for number in range(len(other.sites))}
        whole.sites.append(_renumbered(replace(record, site=moved), numbers))


def _facts(parts: Sequence[Part]) -> dict[str, Any]:
    """The facts of the whole run: the first process's, and of the ranks the worst."""
    ranks = [part.recording.meta for part in parts if part.child == parts[0].child]
    facts = dict(ranks[0])
    facts["parts"] = [part.name for part in parts]
    facts["ranks"] = max(len(ranks), _told_ranks(parts))
    for name in ("overhead", "overhead_ns"):
        told = [meta[name] for meta in ranks if meta.get(name) is not None]
        if told:
            facts[name] = max(told)  # ranks wait for each other
    facts["exit"] = next((meta["exit"] for meta in ranks if meta.get("exit")), ranks[0].get("exit"))
    facts["finished"] = all(meta.get("finished") for meta in ranks)
    faults = [f"{part.name}: {part.recording.meta['fault']}" for part in parts if part.recording.meta.get("fault")]
    if faults:
        facts["fault"] = "; ".join(faults)
    return facts


def _told_ranks(parts: Sequence[Part]) -> int:
    """How many ranks the run had by its own account."""
    told = [part.recording.meta.get("ranks") for part in parts]
    return max((number for number in told if isinstance(number, int)), default=1)


def _absent(parts: Sequence[Part]) -> list[Unseen]:
    here = {part.rank for part in parts if part.child == parts[0].child}
    why = "its recording is missing: a unit that fired only there would be called dead"
    return [(f"rank {rank}", "this run", why) for rank in range(_told_ranks(parts)) if rank not in here]


def _unfinished(parts: Sequence[Part]) -> list[Unseen]:
    cut = [part for part in parts if part.child and not part.recording.meta.get("finished")]
    return [("the end of a child", part.name, "it is still running, or was cut off") for part in cut]

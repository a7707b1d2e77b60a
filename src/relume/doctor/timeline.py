"""What happened when: a clock's windows, its learning rates and losses, and how many units were dead in each window.

A long run closes a thousand windows. A chart shows no more than :data:`MOST_SPANS` points, so neighboring windows are
put together, as many in each span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from relume.artifacts.findings import Judged, Point, Span, Timeline
from relume.artifacts.recording import Clock, Recording, Window

MOST_SPANS = 250
"""Spans of a timeline: a chart is not wider than a few hundred points that can be told apart."""


def timelines(recording: Recording, sites: Sequence[Judged]) -> tuple[Timeline, ...]:
    """A timeline for each clock, in the order of their ids."""
    return tuple(
        replace(
            _timeline(clock, recording.windows, sites),
            rates=tuple((change.step, change.rates) for change in recording.rates if change.clock == clock.id),
            losses=tuple(point for point in recording.losses if point.clock == clock.id),
        )
        for clock in recording.clocks
    )


def with_points(recording: Recording, sites: Sequence[Judged], lines: Sequence[Timeline]) -> tuple[Judged, ...]:
    """The sites, each with its own line: the spans after which another number of its units was silent or dead."""
    starts = {line.clock: np.array([span.first_step for span in line.spans]) for line in lines}
    ends = {line.clock: np.array([span.last_step for span in line.spans]) for line in lines}
    numbers = [number for number, record in enumerate(recording.sites) if record.is_counted]
    rows: dict[int, list[tuple[int, int]]] = {}
    for site, first_step, silent, _ in recording.timeline:
        rows.setdefault(site, []).append((first_step, silent))
    return tuple(
        replace(
            judged,
            timeline=_points(judged, rows.get(number, []), starts[judged.site.clock], ends[judged.site.clock]),
        )
        for number, judged in zip(numbers, sites, strict=True)
    )


def _timeline(clock: Clock, windows: Sequence[Window], sites: Sequence[Judged]) -> Timeline:
    own = sorted((window for window in windows if window.clock == clock.id), key=lambda window: window.first_step)
    together = -(-len(own) // MOST_SPANS)
    groups = [own[n : n + together] for n in range(0, len(own), max(together, 1))]
    ends = np.array([group[-1].last_step for group in groups])
    dead = sum((_dead_at(judged, ends) for judged in sites if judged.site.clock == clock.id), np.zeros(len(ends), int))
    spans = tuple(_span(group, int(number)) for group, number in zip(groups, dead, strict=True))
    return Timeline(clock.id, clock.name, clock.kind, clock.steps, clock.looked, spans)


def _span(windows: Sequence[Window], dead: int) -> Span:
    return Span(windows[0].first_step, windows[-1].last_step, sum(window.looked for window in windows), dead)


def _dead_at(judged: Judged, steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many units of a site were dead after each of these steps, by its events."""
    changes = sorted(
        (step, 1 if kind == "died" else -1)
        for unit, step, kind in judged.events
        if not judged.mortal or judged.mortal[unit]
    )
    count = np.cumsum([0, *(change for _, change in changes)])
    return np.asarray(count[np.searchsorted([step for step, _ in changes], steps, side="right")])


def _points(
    judged: Judged,
    rows: Sequence[tuple[int, int]],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> tuple[Point, ...]:
    if not rows or not len(starts):
        return ()
    silent: dict[int, int] = {}
    ordered = sorted(rows)
    places = np.searchsorted(starts, [first_step for first_step, _ in ordered], side="right") - 1
    for place, (first_step, number) in zip(places.tolist(), ordered, strict=True):
        if place >= 0 and first_step <= ends[place]:
            silent[place] = number  # of the latest window in the span
    dead = _dead_at(judged, ends)
    points: list[Point] = []
    for place, number in silent.items():
        if not points or (points[-1].silent, points[-1].dead) != (number, dead[place]):
            points.append(Point(int(ends[place]), number, int(dead[place])))
    return tuple(points)

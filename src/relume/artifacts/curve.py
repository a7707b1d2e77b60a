"""A loss curve of bounded size: each point sums up a stretch of steps, and stretches double when there are too many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

MOST_POINTS = 2_000
"""Points of a curve: more than a screen has columns. A point takes about 100 bytes."""


class LossPoint(NamedTuple):
    """The losses of one stretch of steps.

    Attributes:
        clock: whose steps. ``first_step``, ``last_step``: of the losses in it.
        number: how many losses. ``mean``, ``low``, ``high``: of the finite ones, nan if there are none.
        non_finite: how many are NaN or infinite. ``non_finite_since``: the first step of these, −1 for none.
    """

    clock: int
    first_step: int
    last_step: int
    number: int
    mean: float
    low: float
    high: float
    non_finite: int
    non_finite_since: int

    @property
    def finite(self) -> int:
        """How many of its losses are finite."""
        return self.number - self.non_finite

    def __or__(self, other: LossPoint) -> LossPoint:
        """Both stretches as one."""
        one, two = (self, other) if self.finite else (other, self)  # a mean that is nan has no weight
        weight = two.finite / max(one.finite + two.finite, 1)
        since = [step for step in (self.non_finite_since, other.non_finite_since) if step >= 0]
        return LossPoint(
            self.clock,
            min(self.first_step, other.first_step),
            max(self.last_step, other.last_step),
            self.number + other.number,
            one.mean + (two.mean - one.mean) * weight if weight else one.mean,
            min(one.low, two.low) if weight else one.low,
            max(one.high, two.high) if weight else one.high,
            self.non_finite + other.non_finite,
            min(since, default=-1),
        )


class LossCurve:
    """The losses of one clock, as they come; ``changed_from``: the first point that is new since it was written."""

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.changed_from = 0
        self._points: list[LossPoint] = []
        self._stride = 1  # steps of a point
        self._fresh: list[tuple[int, Sequence[float | None]]] = []
        self._number = 0

    def add(self, step: int, losses: Sequence[float | None]) -> None:
        """Add the losses of consecutive steps, None if one is not known; steps come in their order."""
        self._fresh.append((step, losses))  # summed up later, many at a time: one by one they cost 6 µs each
        self._number += len(losses)
        if self._number >= 2 * MOST_POINTS:
            self._sum_up()

    @property
    def points(self) -> list[LossPoint]:
        """The curve so far."""
        if self._fresh:
            self._sum_up()
        return self._points

    def _sum_up(self) -> None:
        known = [
            (step, loss)
            for first, losses in self._fresh
            for step, loss in enumerate(losses, start=first)
            if loss is not None
        ]
        self._fresh, self._number = [], 0
        if not known:
            return
        fresh = _points(self.clock, known, self._stride)
        self.changed_from = min(self.changed_from, max(len(self._points) - 1, 0))
        self._points = [*self._points[:-1], *_joined([*self._points[-1:], *fresh], self._stride)]
        while len(self._points) > MOST_POINTS:
            self._stride *= 2
            self._points, self.changed_from = _joined(self._points, self._stride), 0


def _points(clock: int, losses: Sequence[tuple[int, float]], stride: int) -> list[LossPoint]:
    """One point for each stretch of ``stride`` steps."""
    table = np.array(losses, np.float64)  # exact to 2⁵³ steps
    steps, values = table[:, 0].astype(np.int64), table[:, 1]
    starts = np.flatnonzero(np.diff(steps // stride, prepend=-1))
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    never = np.iinfo(np.int64).max
    since = np.minimum.reduceat(np.where(finite, never, steps), starts)
    sizes, counts = np.diff(starts, append=len(steps)), np.add.reduceat(finite.astype(np.int64), starts)
    with np.errstate(invalid="ignore", over="ignore"):  # 0 / 0: a stretch without a finite loss
        mean = np.add.reduceat(np.where(finite, values, 0.0), starts) / counts
        columns = (
            steps[starts], steps[starts + sizes - 1], sizes, mean,
            np.fmin.reduceat(known, starts), np.fmax.reduceat(known, starts),
            sizes - counts, np.where(since == never, -1, since),
        )  # fmt: skip
    return [LossPoint(clock, *row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _joined(points: Iterable[LossPoint], stride: int) -> list[LossPoint]:
    """Join the points of each stretch of ``stride`` steps."""
    joined: list[LossPoint] = []
    for point in points:
        if joined and joined[-1].first_step // stride == point.first_step // stride:
            joined[-1] |= point
        else:
            joined.append(point)
    return joined


def merged(points: Iterable[LossPoint], most: int = MOST_POINTS) -> list[LossPoint]:
    """Join curves over the same steps, such as one per rank: points that overlap become one point, their mean."""
    ordered = sorted(points, key=lambda point: (point.first_step, -point.last_step))
    joined: list[LossPoint] = []
    for point in ordered:
        if joined and point.first_step <= joined[-1].last_step:
            joined[-1] |= point
        else:
            joined.append(point)
    stride = 1
    while len(joined) > most:
        stride *= 2
        joined = _joined(joined, stride)
    return joined

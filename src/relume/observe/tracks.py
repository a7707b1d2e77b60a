"""What is kept of a site and of a clock while the run goes: windows, and the units that died or revived in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from relume.artifacts.recording import Count, SiteRecord
from relume.framework import Tally

ENOUGH_EXAMPLES = 1_000
"""A window closes when it has seen so many: a unit that fires on 1 % of them is silent in 1 window of 23,000."""

FEWEST_EXAMPLES = 300
"""Fewer leave the 95 % bound 3/n above 1 %: no window closes on them at the end of a run, unless there is no other."""

_ENOUGH_LOOKS = 8  # and at least so many steps: one batch alone is no window
_PATIENCE = 256  # looks after which a window closes all the same: a site may hardly ever be visited


@dataclass
class ClockTrack:
    """A clock's steps and its open window."""

    name: str
    kind: str
    steps: int = 0
    looked: int = 0
    looking: bool = True
    first_step: int = 0
    looks: int = 0
    losses: list[float] = field(default_factory=list)
    rates: tuple[float, ...] = ()

    def is_full(self, window: int | None, examples: Callable[[], int]) -> bool:
        """Whether the window closes: after ``window`` steps, or when it has seen enough."""
        if not self.looks:
            return False
        if window is not None:
            return self.steps - self.first_step >= window
        return self.looks >= _PATIENCE or (self.looks >= _ENOUGH_LOOKS and examples() >= ENOUGH_EXAMPLES)

    def begin_window(self) -> None:
        """Open the next window at the next step."""
        self.first_step, self.looks, self.losses = self.steps, 0, []


def fold(record: SiteRecord, tally: Tally, first_step: int) -> None:
    """Add what a probe counted to the site's open window and totals."""
    count = Count(tally.looks, tally.examples, tally.samples, tally.fired, tally.flat, tally.magnitude)
    record.open += count
    record.total += count
    fired = tally.fired > 0
    record.last_fired = np.where(fired, tally.last_fired, record.last_fired)
    record.first_fired = np.where(fired & (record.first_fired < 0), first_step, record.first_fired)
    if tally.slope is not None:
        record.slope = tally.slope


def close_window(record: SiteRecord, first_step: int) -> list[tuple[int, int, str]]:
    """Close the site's open window; returns the (unit, step, "died" | "revived") that it shows."""
    silent = record.open.fired == 0
    was_silent = record.silent_since >= 0
    died, revived = silent & ~was_silent, ~silent & was_silent
    record.silent_since = np.where(silent, np.where(was_silent, record.silent_since, first_step), -1)
    record.window, record.open = record.open, Count.zero(record.site.units)
    events = [(int(unit), first_step, "died") for unit in np.flatnonzero(died)]
    return events + [(int(unit), first_step, "revived") for unit in np.flatnonzero(revived)]

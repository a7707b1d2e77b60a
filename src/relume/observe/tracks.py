"""What is kept of a site and of a clock while the run goes.

Counts are kept in panes: stretches of a clock's consecutive steps. The window on which units are judged is the
latest pane where the user set its length (``--window N``), or else as many of the latest panes as hold enough
examples, and fewer where these show a death for certain. So a unit that died is noticed soon. Its silence is dated to
the look: from the first look on in which it did not fire; or to the pane, where the user set its length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from relume.artifacts.recent import SURE, Recent
from relume.artifacts.recording import Count, Death, Site, SiteRecord, Window
from relume.framework import Tally

ENOUGH_EXAMPLES = 1_000
"""A window holds so many: a unit that fires on 1 % of examples is silent on all of them once in 23,000 times."""

FEWEST_EXAMPLES = 300
"""On fewer the 95 % bound 3/n is above 1 %: no death is written down."""

_LATEST = 4  # of a run that has seen little, the window is the latest of so many parts: what died must not be hidden

_PANES = 8  # a window of enough examples consists of about so many
_FEWEST_LOOKS = 4
_RESOLUTION = 100  # a pane grows to this part of the looks so far, so that their number grows with the logarithm
_PATIENCE = 64  # looks after which a pane closes though its least visited site has seen little


@dataclass
class ClockTrack:
    """A clock's steps and its open pane."""

    name: str
    kind: str
    steps: int = 0
    looked: int = 0
    looking: bool = True
    first_step: int = 0
    looks: int = 0
    losses: list[float] = field(default_factory=list)
    rates: tuple[float, ...] = ()
    drained: dict[int, int] = field(default_factory=dict)  # site → examples of the open pane that were drained before
    examples: float = 0.0  # in a look, by the latest closed pane
    urgent: bool = False  # units are missed that have not been looked at enough since
    parted: bool = False  # the pane closes, so that the next one holds nothing of before

    def miss(self, fresh: int, missed: int) -> None:
        """Units are missed, ``fresh`` of them since now: what they do is looked at in a pane of its own."""
        if fresh:
            self.urgent, self.parted = True, self.looks > 0
        elif not missed:
            self.urgent = False

    def wanted(self) -> int:
        """How many looks in a row show for certain whether the units that are missed are dead."""
        return math.ceil(FEWEST_EXAMPLES / self.examples) if self.examples else 1

    def pane_is_full(self, window: int | None, examples: Callable[[], int]) -> bool:
        """Whether the pane closes: after ``window`` steps, or when it has seen enough.

        Where nothing trains there is one pane: the units do not change, and all examples count.
        """
        if not self.looks or (self.kind == "forward" and window is None):
            return False
        if window is not None:
            return self.steps - self.first_step >= window
        if self.urgent:
            return self.parted or self.looks >= _PATIENCE or examples() >= FEWEST_EXAMPLES
        wanted = max(_FEWEST_LOOKS, self.looked // _RESOLUTION)
        return self.looks >= wanted and (self.looks >= _PATIENCE or examples() >= ENOUGH_EXAMPLES // _PANES)

    def mean_loss(self) -> float | None:
        """Mean loss of the pane's looked-at steps."""
        return sum(self.losses) / len(self.losses) if self.losses else None

    def begin_pane(self) -> None:
        """Open the next pane at the next step."""
        self.first_step, self.looks, self.losses, self.drained = self.steps, 0, [], {}
        self.urgent, self.parted = self.parted, False


@dataclass
class Drained:
    """What a clock's sites saw in one pane or in a part of it; ``closed`` says how the pane ended, None: it goes on."""

    tallies: list[Tally]
    closed: Window | None


class SiteTrack:
    """A site's record, its latest panes, and which of its units are known to be dead."""

    def __init__(self, site: Site, *, slides: bool) -> None:
        """``slides``: the window is as many panes as hold enough examples; otherwise it is the latest one."""
        self.record = SiteRecord.new(site)
        self.record.recent = Recent.nothing(site.units)
        self.record.non_finite_since = np.full(site.units, -1, np.int64)
        self.changed = True
        self._slides = slides
        self._fired_again = np.full(site.units, -1, np.int64)  # the first look of the open pane in which a unit fired
        self._fired_looks = np.zeros(site.units, np.int64)
        self._panes: list[Count] = []
        self._written = 0
        self._dead = np.zeros(site.units, bool)
        self._fresh_deaths: dict[int, Death] = {}
        self._quiet_since = np.full(site.units, -1, np.int64)  # by the signs of life

    def fold(self, tally: Tally) -> None:
        """Add what a probe counted to the open pane and to the totals."""
        record, counted, self.changed = self.record, tally.counted(), True
        count = Count(tally.looks, tally.examples, tally.samples, counted.fired, counted.flat, counted.magnitude)
        record.open += count
        record.total += count
        since = record.non_finite_since
        if since is not None and counted.non_finite_since is not None:
            record.non_finite_since = np.where(since < 0, counted.non_finite_since, since)
        fired = counted.fired > 0
        record.last_fired = np.where(fired, counted.last_fired, record.last_fired)
        record.first_fired = np.where(fired & (record.first_fired < 0), counted.first_fired, record.first_fired)
        self._fired_looks += counted.fired_looks
        self._fired_again = np.where(fired & (self._fired_again < 0), counted.first_fired, self._fired_again)
        if self._slides:
            went_on = ~fired & (record.silent_since >= 0)
            record.silent_since = np.where(went_on, record.silent_since, counted.silent_since)
        if counted.slope is not None:
            record.slope = counted.slope
        if counted.quiet_since is not None:
            self._quiet_since = counted.quiet_since
        record.vitals.update(counted.vitals)
        self._fresh_deaths.update((death.unit, death) for death in counted.deaths)

    def close_pane(self, first_step: int) -> int:
        """Close the open pane; returns the number of units that are silent in the window. Events go to the record."""
        record, pane = self.record, self.record.open
        fired = pane.fired > 0
        again, self._fired_again = self._fired_again, np.full(record.site.units, -1, np.int64)
        if not self._slides:
            again = np.full(record.site.units, first_step, np.int64)
            silence = np.where(record.silent_since < 0, first_step, record.silent_since)
            record.silent_since = np.where(fired, -1, silence)
        self._note(fired & self._dead, "revived", again)
        self._dead &= ~fired
        record.open = Count.zero(record.site.units)
        record.window = self._window(pane) if self._slides else pane
        assert record.recent is not None
        record.recent.add(pane.fired, pane.examples, pane.samples)
        silent = record.surely_silent() if self._slides else ~fired
        number = int(silent.sum())
        if self._slides and record.total.examples < ENOUGH_EXAMPLES:
            silent &= record.total.fired > 0  # one that never fired may be about to begin
        self._bury(silent)
        return number

    def end(self) -> None:
        """The watching ends or pauses: what has never fired will not begin any more."""
        if self._slides and self.record.window is not None:
            self._bury(self.record.surely_silent())

    def _bury(self, silent: NDArray[np.bool_]) -> None:
        assert self.record.window is not None
        if not self._slides or self.record.window.examples >= FEWEST_EXAMPLES:
            self._note(silent & ~self._dead, "died", self._died_at())
            self._dead |= silent

    def new_events(self) -> list[tuple[int, int, str]]:
        """Hand over the events since the last time."""
        fresh = self.record.events[self._written :]
        self._written = len(self.record.events)
        return fresh

    def new_deaths(self) -> list[Death]:
        """Hand over how the units fell silent that are still silent, since the last time."""
        silent = self.record.judged().fired == 0
        fresh = [death for unit, death in self._fresh_deaths.items() if silent[unit]]
        self._fresh_deaths = {unit: d for unit, d in self._fresh_deaths.items() if not silent[unit]}
        return fresh

    def _window(self, pane: Count) -> Count:
        """The latest panes, as many as hold enough examples; older ones are forgotten."""
        self._panes.append(pane)
        enough = min(ENOUGH_EXAMPLES, max(FEWEST_EXAMPLES, self.record.total.examples / _LATEST))
        longest = self._that_hold(enough)
        shorter = range(self._that_hold(FEWEST_EXAMPLES), longest)
        kept = next((panes for panes in shorter if self._shows_a_death(panes, longest)), longest)
        del self._panes[: len(self._panes) - kept]  # a window's beginning never moves back
        return self._sum(kept)

    def _that_hold(self, examples: float) -> int:
        """How many of the latest panes hold so many examples."""
        held, kept = 0, 0
        while held < examples and kept < len(self._panes):
            kept += 1
            held += self._panes[-kept].examples
        return kept

    def _sum(self, kept: int) -> Count:
        return sum(self._panes[len(self._panes) - kept :], Count.zero(self.record.site.units))

    def _shows_a_death(self, shorter: int, longer: int) -> bool:
        """Whether a unit fired in the longer window, and the shorter one is enough to say that it has died since.

        The examples of a batch may fire together, so looks are counted: at the share of looks in which the unit fired
        before, none of so many comes by chance as seldom as :data:`~relume.artifacts.recent.SURE` says.
        """
        window = self._sum(shorter)
        fell = (window.fired == 0) & (self._sum(longer).fired > 0)
        if window.examples < FEWEST_EXAMPLES or not fell.any():
            return False
        share = (self._fired_looks[fell] + 0.5) / (self.record.total.looks - window.looks + 1)
        return bool((-np.log1p(-share) * window.looks >= SURE).any())

    def _died_at(self) -> NDArray[np.int64]:
        """Since when units are silent: the first look, or the step between the looks at which their signs ended."""
        record, quiet = self.record, self._quiet_since
        between = (quiet > record.last_fired) & (quiet < record.silent_since)
        return np.where(between & (record.last_fired >= 0) & self._slides, quiet, record.silent_since)

    def _note(self, units: NDArray[np.bool_], kind: str, steps: NDArray[np.int64]) -> None:
        self.record.events += [(int(unit), int(steps[unit]), kind) for unit in np.flatnonzero(units)]

"""The data of a site and of a clock during the run.

Counts are kept in buckets: stretches of a clock's consecutive steps. The window on which units are judged is the
latest bucket if the user set its length (``--window N``), or else the latest buckets that together have enough
examples, and fewer where these show a death for certain. So a unit that died is noticed soon. Its silence is dated to
the look: from the first look in which it did not fire; or to the bucket, if the user set its length.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from relume.artifacts.history import Firings
from relume.artifacts.recent import SURE, Recent
from relume.artifacts.recording import Count, Death, Site, SiteRecord, Window
from relume.framework import Rows, Seen, Steps

ENOUGH_EXAMPLES = 1_000
"""Examples in a window: a unit that fires on 1 % of examples is silent on all of them once in 23,000 times."""

FEWEST_EXAMPLES = 300
"""On fewer the 95 % bound 3/n is above 1 %: no death is written down."""

_LATEST = 4  # in a short run the window is the last of this many parts, so that deaths are not hidden

_BUCKETS = 8  # about this many make a window of enough examples
_FEWEST_LOOKS = 4
_RESOLUTION = 200  # a bucket grows to this part of the looks so far, so that their number grows with the logarithm
_PATIENCE = 64  # looks after which a bucket closes though its least visited site has seen little


@dataclass
class ClockTrack:
    """A clock's steps and its open bucket: a stretch of consecutive steps.

    Attributes:
        looked: how many steps were looked at. ``stale``: steps since the latest look.
        first_step: of the open bucket.
    """

    name: str
    kind: str
    steps: int = 0
    looked: int = 0
    stale: int = 0
    first_step: int = 0
    _looks_before: int = 0  # the open bucket
    _looks: list[int] = field(default_factory=list)  # the steps that were looked at from the open bucket on

    def take(self, steps: Steps) -> None:
        """Count steps that are over."""
        looked, begin = steps.looked, self.steps
        self.steps += steps.number
        self.stale = steps.number - looked[-1] - 1 if looked else self.stale + steps.number
        self.looked += len(looked)
        self._looks += [begin + step for step in looked]

    def bucket_end(self, window: int | None, sites: Sequence[SiteTrack]) -> int | None:
        """The last step of the open bucket, None while it is open: by what was looked at, whenever this is asked.

        It ends after ``window`` steps with a look, or when it has enough looks and each site that was visited in it has
        seen enough examples. If nothing trains there is one bucket: the units do not change, and all examples count.
        """
        if window is not None:
            end = max([self.first_step + window - 1, *self._looks[:1]])
            return end if self._looks and end < self.steps else None
        if self.kind == "forward":
            return None
        wanted = max(_FEWEST_LOOKS, self._looks_before // _RESOLUTION)
        if len(self._looks) < wanted:
            return None
        first = float(self._looks[wanted - 1])
        latest = max(first, self._looks[_PATIENCE - 1]) if len(self._looks) >= _PATIENCE else math.inf
        ends, later = -1.0, first
        while later > ends:
            ends = later
            later = min(max([ends, *(site.step_with(ENOUGH_EXAMPLES // _BUCKETS, ends) for site in sites)]), latest)
        return int(ends) if math.isfinite(ends) else None

    def close_bucket(self, clock: int, last_step: int) -> Window:
        """Begin the next bucket after this step."""
        looks = bisect_right(self._looks, last_step)
        bucket = Window(clock, self.first_step, last_step, looks)
        self.first_step, self._looks_before = last_step + 1, self._looks_before + looks
        del self._looks[:looks]
        return bucket


class SiteTrack:
    """A site's record, its latest buckets, and which of its units are known to be dead."""

    def __init__(self, site: Site, *, slides: bool, dead_after: int | None = None) -> None:
        """``slides``: the window is as many buckets as hold enough examples; otherwise it is the latest one."""
        self.record = SiteRecord.new(site)
        self.record.dead_after = dead_after
        self.record.recent = Recent.nothing(site.units)
        self.record.non_finite_since = np.full(site.units, -1, np.int64)
        self.changed = True
        self._slides = slides
        self._fired_again = np.full(site.units, -1, np.int64)  # the first look of the open bucket in which a unit fired
        self._fired_looks = np.zeros(site.units, np.int64)
        self._rows: list[Rows] = []  # that are not folded yet
        self._buckets: list[Count] = []
        self.firings = Firings(site.units)
        self._written = 0
        self._dead = np.zeros(site.units, bool)
        self._fresh_deaths: dict[int, Death] = {}

    def take(self, seen: Seen) -> None:
        """Keep what a probe saw; its rows are folded bucket by bucket."""
        self.changed = True
        self._rows.append(seen.rows)
        if self.record.site.clock != seen.clock:  # it was met before its optimizer was
            self.record.site = replace(self.record.site, clock=seen.clock)
        if seen.slope is not None:
            self.record.slope = seen.slope
        self.record.statistics.update(seen.statistics)
        self.record.band = seen.band or self.record.band
        self._fresh_deaths.update((death.unit, death) for death in seen.deaths)

    def step_with(self, examples: int, last_step: float) -> float:
        """The step at which the open bucket reaches ``examples``: ∞ if not yet, −1 if it has none by ``last_step``."""
        seen = self.record.open.examples
        if seen >= examples or not (seen or (self._rows and self._rows[0].steps[0] <= last_step)):
            return -1
        for rows in self._rows:
            total = seen + rows.examples.cumsum()
            if len(total) and total[-1] >= examples:
                return float(rows.steps[np.searchsorted(total, examples)])
            seen = total[-1]
        return math.inf

    def fold(self, last_step: int | None = None) -> None:
        """Add the rows up to a step (None: all) to the open bucket and to the totals."""
        while self._rows:
            rows = self._rows[0]
            number = len(rows.steps) if last_step is None else int(np.searchsorted(rows.steps, last_step, "right"))
            if number:
                self._add(rows.part(0, number))
            if number < len(rows.steps):
                self._rows[0] = rows.part(number, len(rows.steps))
                return
            del self._rows[0]

    def _add(self, rows: Rows) -> None:
        record, steps = self.record, rows.steps
        with np.errstate(invalid="ignore", over="ignore"):
            magnitude = rows.magnitude.sum(0)
        fired = rows.fired.sum(0).astype(np.int64)
        flat = np.zeros_like(fired) if rows.flat is None else rows.flat.sum(0).astype(np.int64)
        count = Count(len(steps), int(rows.examples.sum()), int(rows.samples.sum()), fired, flat, magnitude)
        record.open += count
        record.total += count
        fires, last = rows.fired > 0, len(steps) - 1
        ever, at_first, at_last = fires.any(0), steps[fires.argmax(0)], last - fires[::-1].argmax(0)
        silent = np.where(at_last < last, steps[np.minimum(at_last + 1, last)], -1)
        going_on = np.where(record.silent_since < 0, steps[0], record.silent_since)
        broken = ~np.isfinite(rows.magnitude)
        since = record.non_finite_since
        if since is not None and broken.any():
            record.non_finite_since = np.where((since < 0) & broken.any(0), steps[broken.argmax(0)], since)
        if self._slides:
            record.silent_since = np.where(ever, silent, going_on)
        record.last_fired = np.where(ever, steps[at_last], record.last_fired)
        record.first_fired = np.where(ever & (record.first_fired < 0), at_first, record.first_fired)
        self._fired_looks += fires.sum(0)
        self._fired_again = np.where(ever & (self._fired_again < 0), at_first, self._fired_again)

    def close_bucket(self, first_step: int, last_step: int) -> int:
        """Close the open bucket; returns the number of units that are silent in the window. Events go to the record."""
        record, bucket = self.record, self.record.open
        fired = bucket.fired > 0
        self.firings.add(last_step, bucket.fired, bucket.samples)
        again, self._fired_again = self._fired_again, np.full(record.site.units, -1, np.int64)
        if not self._slides:
            again = np.full(record.site.units, first_step, np.int64)
            silence = np.where(record.silent_since < 0, first_step, record.silent_since)
            record.silent_since = np.where(fired, -1, silence)
        self._note(fired & self._dead, "revived", again)
        self._dead &= ~fired
        record.open = Count.zero(record.site.units)
        record.window = self._window(bucket) if self._slides else bucket
        assert record.recent is not None
        record.recent.add(bucket.fired, bucket.examples, bucket.samples)
        silent = ~fired if self._is_literal else record.surely_silent()
        number = int(silent.sum())
        if self._slides and record.total.examples < ENOUGH_EXAMPLES:
            silent &= record.total.fired > 0  # one that never fired may be about to begin
        self._bury(silent)
        return number

    @property
    def _is_literal(self) -> bool:
        """Whether what is silent in a window is dead: the user set its length, and nothing else."""
        return not self._slides and self.record.dead_after is None

    def end(self) -> None:
        """The watching ends or pauses: what has never fired will not begin any more."""
        if self._slides and self.record.window is not None:
            self._bury(self.record.surely_silent())

    def _bury(self, silent: NDArray[np.bool_]) -> None:
        assert self.record.window is not None
        if not self._slides or self.record.window.examples >= FEWEST_EXAMPLES:
            self._note(silent & ~self._dead, "died", self.record.silent_since)
            self._dead |= silent

    def new_events(self) -> list[tuple[int, int, str]]:
        """Return the events since the last call."""
        fresh = self.record.events[self._written :]
        self._written = len(self.record.events)
        return fresh

    def new_deaths(self) -> list[Death]:
        """Return how the units that are still silent fell silent since the last call."""
        silent = self.record.judged().fired == 0
        fresh = [death for unit, death in self._fresh_deaths.items() if silent[unit]]
        self._fresh_deaths = {unit: d for unit, d in self._fresh_deaths.items() if not silent[unit]}
        return fresh

    def _window(self, bucket: Count) -> Count:
        """The latest buckets that together have enough examples; older ones are dropped."""
        self._buckets.append(bucket)
        enough = min(ENOUGH_EXAMPLES, max(FEWEST_EXAMPLES, self.record.total.examples / _LATEST))
        longest = self._that_hold(enough)
        fired = np.cumsum(
            [p.fired for p in self._buckets[: -longest - 1 : -1]], axis=0
        )  # of the latest 1, 2, … buckets
        shorter = range(self._that_hold(FEWEST_EXAMPLES), longest)
        kept = next((buckets for buckets in shorter if self._shows_a_death(buckets, fired)), longest)
        del self._buckets[: len(self._buckets) - kept]  # a window's beginning never moves back
        buckets = self._buckets
        looks, examples, samples = (sum(getattr(p, of) for p in buckets) for of in ("looks", "examples", "samples"))
        flat, magnitude = sum(p.flat for p in buckets), sum(p.magnitude for p in buckets)
        return Count(looks, examples, samples, fired[kept - 1], np.asarray(flat), np.asarray(magnitude))

    def _that_hold(self, examples: float) -> int:
        """How many of the latest buckets have this many examples."""
        held, kept = 0, 0
        while held < examples and kept < len(self._buckets):
            kept += 1
            held += self._buckets[-kept].examples
        return kept

    def _shows_a_death(self, buckets: int, fired: NDArray[np.int64]) -> bool:
        """Whether a unit fired in a longer window, and this number of buckets shows that it has died since.

        The examples of a batch may fire together, so looks are counted: at the share of looks in which the unit fired
        before, this run of silent looks comes by chance as seldom as :data:`~relume.artifacts.recent.SURE` says.
        """
        fell = (fired[buckets - 1] == 0) & (fired[-1] > 0)
        if not fell.any() or sum(p.examples for p in self._buckets[-buckets:]) < FEWEST_EXAMPLES:
            return False
        looks = sum(p.looks for p in self._buckets[-buckets:])
        share = (self._fired_looks[fell] + 0.5) / (self.record.total.looks - looks + 1)
        return bool((-np.log1p(-share) * looks >= SURE).any())

    def _note(self, units: NDArray[np.bool_], kind: str, steps: NDArray[np.int64]) -> None:
        self.record.events += [(int(unit), int(steps[unit]), kind) for unit in np.flatnonzero(units)]

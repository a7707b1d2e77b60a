"""When to look: a token bucket for each kind of look.

Each step adds a share of its duration; a look is taken when its bucket covers what such looks cost lately. Lean
looks (fired counts at known sites) get most of it, wide ones (axes, causes, layer statistics) the rest, and what
the full lean bucket cannot hold. So lean looks are taken at most steps, and wide ones seldom. Times are nanoseconds.
"""

from __future__ import annotations

import math

from relume.framework import Look, Plan, Steps

ALLOWANCE_NS = 250_000_000
"""What a run may cost in any case: it pays for some 3,000 lean looks at a tiny network."""

FLOOR_NS, FLOOR_SHARE = 20_000, 0.045
"""What a short step may cost although it is more than the budget's share, and the largest part of the step that it is:
a lean look at two sites costs 80 µs there, so 2 % of a 0.5 ms step would pay for hardly more than passing it over.
"""

FULL_BUDGET = 0.02  # the budget at which allowance and floor are whole; a smaller one has a part of them

AIM = 0.75
"""The part of the budget that is planned: measured times scatter by half a percent around the booked ones."""

IDLE_NS = 6_500
"""The cost of a step that is passed over: its loss, its learning rates, one hook. An estimate: a stopwatch found 9 µs
(6 to 14) with two wrapped calls of dynamo a step, which are gone. Our own clock sees none of it.
"""

COLD = 1.55
"""How much more ours costs than its own clock sees: caches are cold, and what it drives out of them is missed later.
By a stopwatch on steps of 0.46 ms: 1.5 for rows of lean looks, 1.6 for single ones, 1.4 for wide ones; on steps of 25
to 57 ms the difference is within the noise.
"""

LEAN_PART = 0.91  # of what is added: with 0.93, 20,000 steps of 0.3 ms had a tenth without any wide look
BEGIN, SHORT = 0.5, 500
"""Half of the allowance can be spent in the first 500 steps, so that a short run is seen step by step: on a busy
machine, with looks of 200 µs, each of 440 steps was looked at. The rest pays for later looks that cannot wait.
"""

FUND, PACE = 0.15, 0.15
"""This part of the bucket is for wide looks, and they take at most this share of any stretch: 500 steps of 0.7 ms
have 11 to 13 of them, the first at 0, 1, 2, 4, 8 …
"""

ROW_NS, FEWEST_IN_ROW, MOST_IN_ROW = 16_000_000, 8, 32
"""Lean looks come in rows, of this duration at most: the caches are cold after steps that are passed over. By our own
clock (0.7 ms a step) a look costs 65 µs in a row of 20, 140 in one of 2, and 250 by itself.
"""

CYCLES, CYCLES_NS = 4, 250_000_000
"""This many single looks, for this long, are one plan. To report each and plan the next are 60 of 130 calls of
ours; by our own clock a single look costs 190 µs so, and 250 otherwise.
"""

SAVED, SAVED_WIDE = 256, 8  # looks that a bucket holds at most: a long evaluation must not buy a thousand in a row
FRESH, FRESH_PART = 16, 100
"""The latest look is at most 16 steps old, or 1 % of the run."""

OUTLIER = 2
"""A cost above this multiple of the usual one counts as that multiple: on a busy machine, a look that another
process interrupts takes 4 to 10 ms instead of 0.1, and short runs would be seen less than on a quiet one.
"""


class Mean:
    """A running mean, in which outliers are cut off."""

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, number: float) -> None:
        """Take one more number in."""
        self.value += (min(number, OUTLIER * self.value) - self.value) / 8 if self.value else number


class Bucket:
    """What may be spent on one kind of look; below 0 it is in debt. ``price``: the recent cost of such a look."""

    def __init__(self, ns: float, most: int) -> None:
        """``most``: looks that are saved up at most, unless more is there from the beginning (``start``)."""
        self.ns = self.start = ns
        self._most = most
        self.price = Mean()

    def add(self, ns: float) -> float:
        """Add to it; returns what it cannot hold."""
        over = max(self.ns + ns - max(self._most * self.price.value, min(self.ns, self.start)), 0.0)
        self.ns += ns - over
        return over

    def pay(self, cost: float, looks: int) -> None:
        """Pay for looks."""
        self.ns -= min(cost, OUTLIER * looks * self.price.value) if self.price.value else cost


class Budget:
    """The account of one run.

    Attributes:
        spent: what watching has cost. ``elapsed``: the time since the end of the first step. ``steps``: their number.
    """

    def __init__(self, share: float, every: int | None = None) -> None:
        """``share`` of the time may be spent (1.0: look at every step); or look at each ``every``-th step."""
        self._share, self._every = share, every
        part = min(share / FULL_BUDGET, 1.0)
        self._floor, self._allowance = FLOOR_NS * part, ALLOWANCE_NS * part
        begin = BEGIN * self._allowance
        self._lean, self._wide = Bucket((1 - FUND) * begin, SAVED), Bucket(FUND * begin, SAVED_WIDE)
        self._step = Mean()
        self._earned = 0.0
        self._narrow = 0  # steps since the latest wide look
        self.spent, self.elapsed, self.steps = 0.0, 0.0, 0

    @property
    def allowance_ns(self) -> int:
        """What the run may cost in any case."""
        return int(self._allowance)

    @property
    def overhead(self) -> float | None:
        """Share of the training's time that watching took; None while that says nothing."""
        bare = self.elapsed - self.spent
        return self.spent / bare if bare > 0 and self.steps > 1 else None

    def book(self, steps: Steps, duration: float, own: float) -> None:
        """Book steps: their total time, and our cost by our own clock."""
        looks = len(steps.looked)
        wide = looks > 0 and steps.plan.look is Look.WIDE
        cost = COLD * own + IDLE_NS * steps.number
        first = not self.steps
        if first:  # its duration holds the script's preparations
            duration = cost
        self.spent, self.elapsed, self.steps = self.spent + cost, self.elapsed + duration, self.steps + steps.number
        self._narrow = 0 if wide else self._narrow + steps.number
        if first:
            return  # the very first look meets the sites and warms the code
        step_ns = max(duration - cost, 0.0) / steps.number
        self._step.add(step_ns)
        if self.steps > SHORT:
            self._lean.start = self._wide.start = 0.0
        granted = self._granted(steps.number, step_ns)
        self._earned += steps.number * self._allowed(step_ns, 1.0)
        over = self._lean.add(LEAN_PART * granted)
        self._wide.add((1 - LEAN_PART) * steps.number * self._allowed(step_ns) + over)
        bucket = self._wide if wide else self._lean
        if wide or (looks and steps.plan.steps >= min(FEWEST_IN_ROW, self._row())):
            bucket.price.add(COLD * own / looks + IDLE_NS)
        bucket.pay(cost, max(looks, self._row()))
        if self.spent < self._allowance:  # it pays for lean looks that cannot wait
            self._lean.ns = max(self._lean.ns, 0.0)

    def _allowed(self, step_ns: float, part: float = AIM) -> float:
        """What a step of this duration may cost; ``part``: of the share of time."""
        return max(self._share * part * step_ns, min(self._floor, FLOOR_SHARE * step_ns))

    def _granted(self, steps: int, step_ns: float) -> float:
        """What these steps add to the buckets: half if the run has cost its allowance and not yet earned it."""
        return steps * self._allowed(step_ns) * (0.5 if self._earned < self._allowance <= self.spent else 1.0)

    def _row(self) -> int:
        """How many lean looks are planned together."""
        return max(1, min(int(ROW_NS / max(self._step.value, 1.0)), MOST_IN_ROW))

    def plan(self, step: int, stale: int, *, urgent: bool = False) -> Plan:
        """What to do from a step on, by its number on its clock.

        ``stale``: steps of the clock since its latest look. ``urgent``: something new was met that only a wide look
        sees.
        """
        if self._every is not None:
            return Plan(Look.WIDE, 1, -step % self._every)
        until_wide = self._steps_to_a_wide_look(step)
        if self._share >= 1.0 or urgent or until_wide <= 0:
            return Plan(Look.WIDE, 1)
        bucket, row = self._lean, self._row()
        price = max(bucket.price.value, 1.0)
        each = LEAN_PART * self._granted(1, self._step.value) - IDLE_NS  # a step that is passed over adds so much
        short = min(FEWEST_IN_ROW, row) * price - bucket.ns
        off = 0
        if short > 0:
            fresh = max(FRESH, step // FRESH_PART) - stale - 1
            off = max(0, min(fresh, math.ceil(short / each) if each > 0 else fresh))
        if off >= until_wide:
            return Plan(Look.WIDE, 1, until_wide)
        looks = max(min(math.ceil((bucket.ns + off * each) / price), row, until_wide - off), 1)
        if looks > 1 or not off:
            return Plan(Look.LEAN, looks, off)
        cycles = min(CYCLES, until_wide // (off + 1), int(CYCLES_NS / ((off + 1) * max(self._step.value, 1.0))))
        return Plan(Look.LEAN, 1, off, max(cycles, 1))

    def _steps_to_a_wide_look(self, step: int) -> int:
        doubled = (1 << (step - 1).bit_length()) - step  # the steps 1, 2, 4, 8 …: a run of any length has some
        step_ns, price = max(self._step.value, 1.0), self._wide.price.value
        paid = (price - self._wide.ns) / ((1 - LEAN_PART) * self._allowed(step_ns))
        apart = price / (PACE * step_ns) - self._narrow
        return min(doubled, math.ceil(max(paid, apart)))

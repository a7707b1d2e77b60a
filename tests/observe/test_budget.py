"""The budget under a virtual clock: what watching costs stays what was promised, whatever the steps are like.

The simulated machine has its own truth (what a look really costs, what a step that is passed over really costs); the
budget sees only what a clock inside can see: the duration of steps, and a part of the cost of looks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from relume.framework import Look, Plan, Steps
from relume.observe.budget import Budget

US, MS, S = 1_000, 1_000_000, 1_000_000_000
FLOOR, PART = 20 * US, 0.045  # "or 20 µs a step if that is more, 4.5 % at most"
ALLOWANCE = S // 4  # "or a quarter of a second"
PASSED = 8_000  # what a step that is passed over costs in truth, as measured
SEEN = 1 / 1.5  # the part of a look's cost that its own clock sees
FRESH = 16


@dataclass
class Machine:
    """Training steps in virtual time, watched as the observer watches them."""

    budget: Budget
    lean: float  # what a lean look costs in truth
    wide: float
    rng: np.random.Generator
    base: float = 0.0
    spent: float = 0.0
    step: int = 0
    stale: int = 0
    seen: dict[Look, list[int]] = field(default_factory=lambda: {look: [] for look in Look})

    def train(self, steps, duration, noise=0.1, pause=None):
        """Take steps of a duration (ns), lognormal noise; ``pause``: {step: ns} beside the training."""
        end = self.step + steps
        while self.step < end:
            plan = self.budget.plan(self.step, self.stale) if self.step else Plan(Look.WIDE, 1)
            assert plan.steps >= 1
            assert plan.off >= 0
            assert plan.cycles >= 1
            number = min((plan.off + plan.steps) * plan.cycles, end - self.step)
            told = Steps(plan, number)
            self.stale = number - told.looked[-1] - 1 if told.looked else self.stale + number
            base = sum(
                duration * self.rng.lognormal(0, noise) + (pause or {}).get(self.step + n, 0) for n in range(number)
            )
            each = {Look.LEAN: self.lean, Look.WIDE: self.wide}[plan.look]
            cost = sum(each * self.rng.lognormal(0, noise) for _ in told.looked)
            self.base += base
            self.spent += cost + PASSED * number
            self.seen[plan.look] += [self.step + n for n in told.looked]
            self.step += number
            self.budget.book(told, base + cost + PASSED * number, cost * SEEN)
        return self

    @property
    def looks(self):
        """The steps that were looked at."""
        return sorted(self.seen[Look.LEAN] + self.seen[Look.WIDE])

    def promised(self, share=0.02):
        part = min(share / 0.02, 1)
        return max(share * self.base, min(FLOOR * part * self.step, PART * self.base), ALLOWANCE * part)

    def forced(self):
        """What is spent in any case: on steps that are passed over, and so that the latest look is never old."""
        return PASSED * self.step + self.lean * self.step / FRESH


def machine(share=0.02, lean=80 * US, wide=800 * US, every=None, seed=0):
    return Machine(Budget(share, every), lean, wide, np.random.default_rng(seed))


DURATIONS = [300 * US, 1 * MS, 10 * MS, 200 * MS, 5 * S]


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("noise", [0.02, 0.3])
@pytest.mark.parametrize(("lean", "wide"), [(20 * US, 300 * US), (100 * US, 1 * MS), (1 * MS, 50 * MS)])
@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize("steps", [100, 1_000, 20_000])
def test_spending_stays_within_the_budget(duration, lean, wide, noise, share, steps):
    """To 10 %, what is spent in any case, and the first looks, which are made before their price is known."""
    m = machine(share, lean, wide).train(steps, duration, noise)
    once = np.log2(steps) * wide * (1 + noise) + 40 * lean  # the steps 0, 1, 2, 4, 8 …
    assert m.spent <= 1.10 * m.promised(share) + m.forced() + once
    assert m.looks[0] == 0


@pytest.mark.parametrize("duration", [500 * US, 2 * MS, 20 * MS])
def test_a_short_run_is_seen_step_by_step(duration):
    m = machine().train(440, duration)
    assert m.looks == list(range(m.step))
    assert {0, 1, 2, 4, 8, 16, 32, 64, 128, 256} <= set(m.seen[Look.WIDE])
    assert len(m.seen[Look.WIDE]) > 10  # causes too


@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize("lean", [80 * US, 3 * MS])
def test_the_latest_look_is_at_most_16_steps_old_or_1_percent_of_the_run(duration, lean):
    m = machine(lean=lean).train(20_000, duration)
    for before, after in itertools.pairwise([*m.looks, m.step]):
        assert after - before <= max(FRESH, after // 100)


def test_a_25_ms_step_is_looked_at_at_least_every_fourth_time():
    m = machine(lean=400 * US, wide=20 * MS).train(4_000, 25 * MS)
    assert len(m.looks) >= m.step / 2
    assert len(m.seen[Look.WIDE]) >= 8


def test_a_half_millisecond_step_is_looked_at_at_least_every_tenth_time():
    for steps in (2_000, 20_000, 100_000):
        assert len(machine().train(steps, 460 * US).looks) >= 0.1 * steps


@pytest.mark.parametrize("duration", [300 * US, 1 * MS, 30 * MS])
def test_wide_looks_continue_to_the_end(duration):
    m = machine().train(20_000, duration)
    assert {look * 10 // m.step for look in m.seen[Look.WIDE]} == set(range(10))


@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize(("lean", "wide"), [(20 * US, 300 * US), (1 * MS, 5 * MS)])
def test_the_stated_cost_is_the_true_one(duration, lean, wide):
    m = machine(lean=lean, wide=wide).train(5_000, duration, noise=0.02)
    assert m.budget.spent == pytest.approx(m.spent, rel=0.15)
    assert m.budget.overhead == pytest.approx(m.spent / m.base, rel=0.2)


def test_something_new_is_looked_at_widely_at_once():
    m = machine(wide=500 * MS).train(2_000, 1 * MS)
    assert m.budget.plan(3_000, 0).look is not Look.WIDE  # it cannot be paid for
    assert m.budget.plan(3_000, 0, urgent=True) == Plan(Look.WIDE, 1)


def test_half_the_budget_is_half_the_price_on_short_steps_too():
    whole, half = (machine(share).train(40_000, 400 * US) for share in (0.02, 0.01))
    assert half.spent - half.forced() <= 0.6 * whole.spent


def test_a_stated_cost_needs_a_second_step():
    m = machine()
    assert m.budget.overhead is None
    m.train(1, 1 * MS)
    assert m.budget.overhead is None
    m.train(5_000, 100 * MS)
    assert 0 < m.budget.overhead < 0.021


@pytest.mark.parametrize("share", [0.001, 0.02])
def test_the_first_step_is_always_seen(share):
    for steps in (1, 2, 5):
        assert machine(share, 50 * MS).train(steps, 50 * US).looks[0] == 0


def test_at_a_share_of_1_every_step_is_seen_widely():
    m = machine(1.0, 5 * MS).train(500, 50 * US)
    assert m.seen[Look.WIDE] == list(range(500))


@pytest.mark.parametrize("every", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_kth_step_is_seen_widely_at_any_cost(every, seed):
    m = machine(0.02, 50 * MS, every=every, seed=seed).train(400, 50 * US, noise=1.0, pause={50: 10 * S})
    assert m.seen[Look.WIDE] == list(range(0, 400, every))
    assert m.seen[Look.LEAN] == []


@pytest.mark.parametrize("pause", [1 * S, 600 * S])
def test_a_pause_buys_no_burst_of_wide_looks(pause):
    """A long evaluation between two steps is time in which nothing was spent; it must not be spent at once."""
    m = machine(wide=5 * MS).train(20_500, 1 * MS, pause={20_000: pause})
    before, after = ([s for s in m.seen[Look.WIDE] if first <= s < first + 500] for first in (19_500, 20_000))
    assert len(after) <= len(before) + 9


@pytest.mark.parametrize(
    ("before", "after"), [(500 * US, 20 * MS), (20 * MS, 500 * US), (5 * S, 1 * MS), (1 * MS, 5 * S)]
)
def test_steps_that_change_their_duration_are_followed(before, after):
    m = machine().train(2_000, before)
    base, spent, steps, looks = m.base, m.spent, m.step, len(m.looks)
    m.train(20_000, after)
    promised = max(0.02 * (m.base - base), FLOOR * (m.step - steps), ALLOWANCE)
    assert m.spent - spent <= 1.15 * promised + PASSED * 20_000 + 80 * US * 20_000 / FRESH
    assert len(m.looks) - looks > 2_000


def test_looks_that_grow_dearer_are_followed():
    m = machine().train(4_000, 5 * MS)
    base, spent = m.base, m.spent
    m.lean, m.wide = 1 * MS, 10 * MS
    m.train(40_000, 5 * MS)
    assert m.spent - spent <= 1.1 * 0.02 * (m.base - base) + ALLOWANCE


def test_one_slow_look_is_repaid_and_the_other_looks_continue():
    m = machine().train(4_000, 5 * MS)
    before, m.lean = m.spent, 300 * MS
    m.train(1, 5 * MS)
    slow, m.lean = m.spent - before, 80 * US
    m.train(10_000, 5 * MS)
    assert len([look for look in m.looks if look > 4_000]) > 2_000
    assert m.spent - slow <= 1.1 * m.promised() + m.forced()

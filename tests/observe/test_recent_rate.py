"""Dead or only rare: units whose firing rate is planted, over 96,000 examples.

| 200 units that fire on | "died" while alive, of them at the end | killed halfway: shown by 3,200 examples, by 9,600 |
| :-- | :-- | :-- |
| 1 % | 0, 0 | 169, 200 |
| 0.3 % | 8, 0 | 0, 180 |
| 0.1 % | 76, 0 | 0, 1 |
| 19 %, falling in 6 steps to 0.3 % | 0, 0 (before this rule: 2,012, 3) | 25, 200 (200, 200) |
| 19 %, falling in 6 steps to 1 % | 0, 0 (34, 2) | 200, 200 (200, 200) |
| 50 %, falling in 9 steps to 0.1 % | 0, 0 (3,818, 39) | 0, 116 (200, 200) |
| 19 %, falling at once to 0.3 % | 55, 0 (1,680, 32) | 200, 200 (200, 200) |

A rate that falls at once cannot be told from a death before the unit fires again.
"""

from __future__ import annotations

import numpy as np
import pytest

from relume.artifacts.recent import MEMORY, Recent
from relume.artifacts.recording import Site
from relume.framework import Look, Plan, Rows, Seen, Steps
from relume.observe.tracks import ClockTrack, SiteTrack

BATCH, UNITS, STEPS = 32, 100, 3000


def watched(rate, steps=STEPS):
    """The track of a site whose units fire on ``rate(step)`` of the examples, every step looked at."""
    rng = np.random.default_rng(0)
    site = Site("s", "Net", "m", "nn.ReLU", "x.py", 1, "relu", {}, "", -1, UNITS, False, 0)
    track, clock = SiteTrack(site, slides=True), ClockTrack("SGD", "optimizer")
    examples = np.full(1, BATCH)
    for step in range(steps):
        fired = rng.binomial(BATCH, rate(step), (1, UNITS)) * 1.0
        track.take(Seen(0, 0, Rows(np.full(1, step), examples, examples, fired, None, fired)))
        clock.take(Steps(Plan(Look.LEAN, 1), 1))
    while (end := clock.bucket_end(None, [track])) is not None:
        close(track, clock, end)
    close(track, clock, steps - 1)
    track.end()
    return track


def close(track, clock, end):
    track.fold(end)
    if track.record.open.looks:
        track.close_bucket(clock.close_bucket(0, end).first_step, end)


def deaths(track):
    return [unit for unit, _, kind in track.record.events if kind == "died"]


def falling(begin, end, parts):
    """A rate that falls in equal steps, on a scale of logarithms, over the first half of the run."""
    return lambda step: begin * (end / begin) ** (min(parts, int(2 * parts * step / STEPS)) / parts)


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.01, 0.005])
def test_units_of_a_steady_rate_never_die_and_are_missed_when_they_do(rate):
    assert deaths(watched(lambda step: rate)) == []
    killed = watched(lambda step: rate * (step < STEPS // 2))
    assert sorted(deaths(killed)) == list(range(UNITS))


@pytest.mark.parametrize(("end", "parts"), [(0.01, 6), (0.003, 6), (0.001, 9)])
def test_units_whose_rate_falls_step_by_step_are_rare_and_not_dead(end, parts):
    track = watched(falling(0.19, end, parts))
    assert deaths(track) == []
    silent = track.record.judged().fired == 0
    assert not track.record.surely_silent().any()
    assert silent.any() or end == 0.01  # else nothing was decided


def test_a_rate_that_fell_at_once_is_known_after_a_few_firings():
    track = watched(lambda step: 0.19 if step < STEPS // 2 else 0.003)
    assert len(deaths(track)) < UNITS
    assert not track.record.surely_silent().any()


def test_the_silence_that_is_a_death_is_22_times_the_usual_gap():
    recent = Recent.nothing(2)
    for _ in range(100):
        recent.add(np.array([1, 50]), 100, 100)  # 1 % and 50 %
    assert recent.fired.tolist() == [MEMORY, MEMORY]
    assert recent.surprised(40).tolist() == [False, False]
    assert recent.surprised(50).tolist() == [False, True]
    assert recent.surprised(2_230).tolist() == [False, True]
    assert recent.surprised(2_240).tolist() == [True, True]


def test_the_positions_of_one_example_count_as_one_example():
    """A channel fires on 500 of 1,000 positions, of one example in a hundred: 300 silent examples prove nothing."""
    recent = Recent.nothing(1)
    for _ in range(100):
        recent.add(np.array([500]), 100, 100_000)
    assert not recent.surprised(1_000).any()
    assert recent.surprised(2_240).all()

"""How often each unit fired over the steps: exact while there is room, bounded after it, and kept in the recording."""

from __future__ import annotations

import numpy as np
import pytest

from relume.artifacts.history import FEWEST_STRETCHES, MOST_BYTES, MOST_STRETCHES, MOST_UNITS, SCALE, Firings


def test_few_stretches_are_stored_unchanged():
    firings = Firings(3)
    for last, fired in ((9, [0, 1, 10]), (19, [10, 0, 5])):
        firings.add(last, np.array(fired), 10)
    history = firings.history
    assert history.ends == (9, 19)
    assert history.rates.tolist() == [[0, 26, SCALE], [SCALE, 0, 128]]


def test_a_unit_that_fired_once_in_a_million_is_not_at_zero():
    firings = Firings(2)
    firings.add(0, np.array([1, 0]), 1_000_000)
    assert firings.history.rates.tolist() == [[1, 0]]


@pytest.mark.parametrize("units", [1, 500, 5_000, MOST_UNITS])
def test_the_size_is_bounded_and_no_firing_is_lost(units):
    firings, stretches = Firings(units), 5 * MOST_STRETCHES + 1
    rng = np.random.default_rng(0)
    fired = (rng.random(stretches) < 0.5).astype(np.int64) * 7
    for stretch, number in enumerate(fired):
        firings.add(10 * stretch + 9, np.full(units, number), 10)
    history = firings.history
    assert history.ends[-1] == 10 * stretches - 1
    assert len(history.ends) <= max(FEWEST_STRETCHES, min(MOST_STRETCHES, MOST_BYTES // units))
    lengths = np.diff([-1, *history.ends])
    mean = (history.rates[:, 0] / SCALE * lengths).sum() / lengths.sum()
    assert mean == pytest.approx(fired.mean() / 10, abs=1 / SCALE)


def test_a_site_that_saw_nothing_or_is_too_wide_stores_no_history():
    for units, samples in ((4, 0), (MOST_UNITS + 1, 10)):
        firings = Firings(units)
        firings.add(5, np.zeros(units, np.int64), samples)
        assert firings.history is None

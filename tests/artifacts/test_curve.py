"""The loss curve: small, and still what the losses were."""

from __future__ import annotations

import math

import numpy as np
import pytest

from relume.artifacts.curve import MOST_POINTS, LossCurve, LossPoint, merged


def curve_of(losses, clock=0, reads=()):
    curve = LossCurve(clock)
    for step, loss in losses:
        curve.add(step, [loss])
        if step in reads:
            assert curve.points
    return curve


def losses_of(steps, seed=0, broken=0.1):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=steps)
    values[rng.random(steps) < broken] = rng.choice([np.nan, np.inf, -np.inf])
    return [(step, float(value)) for step, value in enumerate(values) if rng.random() < 0.8]


def assert_sums_up(points, losses):
    """Against the losses of each stretch, one by one."""
    assert sum(point.number for point in points) == len(losses)
    for point in points:
        own = [(step, loss) for step, loss in losses if point.first_step <= step <= point.last_step]
        finite = [loss for _, loss in own if math.isfinite(loss)]
        assert (own[0][0], own[-1][0], len(own)) == point[1:4]
        assert point.non_finite == len(own) - len(finite)
        assert point.non_finite_since == next((step for step, loss in own if not math.isfinite(loss)), -1)
        if finite:
            assert point[4:7] == pytest.approx((sum(finite) / len(finite), min(finite), max(finite)), nan_ok=True)
        else:
            assert all(map(math.isnan, point[4:7]))


def test_a_short_curve_has_a_point_for_each_loss():
    losses = losses_of(500)
    points = curve_of(losses).points
    assert [(p.first_step, p.last_step, p.number) for p in points] == [(step, step, 1) for step, _ in losses]
    assert_sums_up(points, losses)


@pytest.mark.parametrize("reads", [(), range(0, 30_000, 997)], ids=["read once", "read often"])
def test_a_long_curve_has_few_points_that_sum_up_all_losses(reads):
    losses = losses_of(30_000)
    points = curve_of(losses, reads=reads).points
    assert MOST_POINTS / 4 < len(points) <= MOST_POINTS
    assert_sums_up(points, losses)


def test_steps_far_apart_are_separate_points():
    points = curve_of([(1_000_000 * n, 1.0) for n in range(10)]).points
    assert len(points) == 10


def test_the_first_step_that_is_not_finite_is_exact_however_coarse_the_curve():
    losses = [(step, 1.0 if step < 40_001 else math.nan) for step in range(50_000)]
    points = curve_of(losses).points
    assert len(points) <= MOST_POINTS
    assert next(p.non_finite_since for p in points if p.non_finite) == 40_001


def test_curves_of_several_ranks_are_averaged_into_one():
    one, two = ([(step, float(step + add)) for step in range(3_000)] for add in (0, 10))
    points = merged([*curve_of(one).points, *curve_of(two).points])
    assert_sums_up(points, [pair for pairs in zip(one, two, strict=True) for pair in pairs])
    assert points[0].mean == pytest.approx(5 + (points[0].last_step / 2))
    assert len(points) <= MOST_POINTS


def test_a_rank_that_is_nan_has_no_weight_and_is_counted():
    points = merged([*curve_of([(0, 2.0)]).points, *curve_of([(0, math.nan)]).points])
    assert points == [LossPoint(0, 0, 0, 2, 2.0, 2.0, 2.0, 1, 0)]


def test_losses_too_large_to_be_added_make_no_warning():
    losses = [(step, 1e308) for step in range(3 * MOST_POINTS)]
    assert curve_of(losses).points[0].high == 1e308

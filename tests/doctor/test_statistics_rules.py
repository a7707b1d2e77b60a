"""The rules that speak of a whole site: each finds what it is for, just beyond its threshold and not just before it."""

from __future__ import annotations

import numpy as np
import pytest

from relume.artifacts.curve import LossPoint
from relume.artifacts.recording import Clock, Count, Recording, Site, SiteRecord
from relume.doctor.diagnosis import diagnose

N = 1000


def record(
    key="net.1@train.py:8", activation="relu", units=4, *, earlier=None, now=(500,) * 4, slope=None, **statistics
):
    """A site that fired ``now`` on 1,000 samples of the latest window, and ``earlier`` on as many before it."""
    site = Site(key, "Net", "1", "nn.ReLU", "train.py", 8, activation, {}, "0", 1, units, False, 0)
    zero = np.zeros(units, np.int64)
    made = SiteRecord.new(site)
    made.window = Count(20, N, N, np.asarray(now, np.int64), zero, np.ones(units))
    made.total = made.window
    if earlier is not None:
        before = np.asarray(earlier, np.int64)
        made.total = Count(40, 2 * N, 2 * N, before + made.window.fired, zero, np.ones(units))
    made.first_fired = np.zeros(units, np.int64)
    made.slope = None if slope is None else np.asarray(slope, float)
    made.statistics = statistics
    return made


def found(*records):
    """The findings, as slug → (site, units, evidence)."""
    return found_with((1.0,) * 8, *records)


def found_with(losses, *records, optimizer="SGD"):
    """The same, of a run with these losses."""
    points = [LossPoint(0, n, n, 1, loss, loss, loss, 0, -1) for n, loss in enumerate(losses)]
    recording = Recording({}, [Clock(0, optimizer, "optimizer", 100, 40)], list(records), [], [], [], losses=points)
    return {f.slug: f for f in diagnose(recording).findings}


def test_a_unit_that_falls_below_a_quarter_of_its_rate_is_dying():
    site = record(units=6, earlier=(400, 400, 60, 40, 400, 60), now=(19, 21, 16, 5, 0, 14))
    finding = found(site)["dying_trend"]
    # 1: not yet near zero; 2: just above a quarter; 3: it was rare before; 4: dead already
    assert finding.units == (0, 5)
    assert "40 % to 1.9 %" in finding.evidence
    assert "dying_trend" not in found(record(activation="leaky_relu", earlier=(400,) * 4, now=(9,) * 4))


def test_a_gradient_that_is_a_ten_thousandth_of_the_largest_vanishes():
    first = record("a", gradient=0.9e-4, gradient_first=1.0)
    last = record("b", gradient=1.0, gradient_first=1.0)
    assert found(first, last)["vanishing_gradient"].site == "a"
    first.statistics = {"gradient": 1.1e-4}
    assert "vanishing_gradient" not in found(first, last)
    assert "vanishing_gradient" not in found(record("a", gradient=0.0))


def test_a_small_gradient_is_excused_if_the_optimizer_scales_by_it_down_to_its_epsilon():
    for gradient, optimizer, vanishes in ((1e-6, "SGD", True), (1e-6, "Adam#2", False), (9e-9, "Adam#2", True)):
        records = record("a", gradient=gradient), record("b", gradient=1.0)
        assert ("vanishing_gradient" in found_with((), *records, optimizer=optimizer)) is vanishes


@pytest.mark.parametrize(
    ("offset", "advice"), [(20.0, "center the input"), (1.0, "lower or warm up the learning rate")]
)
def test_deaths_without_another_cause_are_attributed_to_an_input_far_from_zero(offset, advice):
    finding = found(record(now=(0, 500, 500, 500), offset=offset))["dead_unit"]
    assert advice in finding.advice


@pytest.mark.parametrize(
    ("slug", "beyond", "before"),
    [
        ("exploding_gradient", {"gradient_first": 1e-3, "gradient": 1.1}, {"gradient_first": 1e-3, "gradient": 0.9}),
        (
            "exploding_activation",
            {"rms_first": 0.1, "rms": 11.0, "peak": 12.0},
            {"rms_first": 0.1, "rms": 9.0, "peak": 12.0},
        ),
        ("vanishing_activation", {"rms_first": 1.0, "rms": 0.9e-3}, {"rms_first": 1.0, "rms": 1.1e-3}),
        ("noisy_gradient", {"noise": 0.995, "gradients": 32.0}, {"noise": 0.995, "gradients": 31.0}),
        ("noisy_gradient", {"noise": 0.995, "gradients": 32.0}, {"noise": 0.98, "gradients": 80.0}),
        ("init_gain", {"init_gain": 4.4}, {"init_gain": 4.1}),
        ("init_gain", {"init_gain": 0.45}, {"init_gain": 0.58}),
        ("input_offset", {"offset": 3.1}, {"offset": 2.9}),
        ("wide_range", {"peak": 45.0, "rms": 1.0}, {"peak": 43.0, "rms": 1.0}),
    ],
)
def test_a_site_beyond_a_threshold_is_found_and_one_before_it_is_not(slug, beyond, before):
    finding = found(record(**beyond))[slug]
    assert finding.units == ()
    assert finding.advice
    assert slug not in found(record(**before))
    assert slug not in found(record())


def test_a_gradient_that_is_mostly_noise_is_not_a_finding_while_the_loss_falls():
    noisy = record(noise=1.0, gradients=200.0)
    assert "noisy_gradient" not in found_with((2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3), noisy)
    assert "noisy_gradient" not in found_with((), noisy)
    assert (
        "(2 at first, 2.05 at the end)"
        in found_with((2.0, 2.0, 1.0, 3.0, 2.0, 2.0, 2.0, 2.1), noisy)["noisy_gradient"].evidence
    )


def test_a_gain_that_fits_one_way_is_enough():
    """An orthogonal layer that widens keeps the length of its input, and makes each number smaller."""
    assert "init_gain" not in found(record(activation="tanh", init_gain=0.35, init_gain_back=1.41))
    assert "init_gain" in found(record(activation="tanh", init_gain=0.35, init_gain_back=0.4))
    assert "init_gain" in found(record(activation="tanh", init_gain=5.0, init_gain_back=50.0))


def test_a_sigmoid_is_not_expected_to_keep_the_scale():
    assert "init_gain" not in found(record(activation="sigmoid", init_gain=0.58))


@pytest.mark.parametrize(
    ("slopes", "says"),
    [
        ((0.01, 0.0, -0.01, 0.02), "it is a ReLU"),
        ((0.1, 0.15, 0.05, 0.2), "it is a LeakyReLU"),
        ((0.99, 1.0, 1.01, 1.0), "it is linear"),
        ((0.5, -0.3, 0.5, -0.03), "2 of 4 slopes are negative"),
        ((0.50, 0.51, 0.515, 0.5), "all alike"),
    ],
)
def test_a_learned_prelu_is_described_by_its_shape(slopes, says):
    assert says in found(record(activation="prelu", slope=slopes))["learned_slope"].evidence


@pytest.mark.parametrize("slopes", [(0.25,) * 4, (0.1, 0.4, 0.3, 0.9)])
def test_a_prelu_that_is_still_a_prelu_is_not_reported(slopes):
    assert "learned_slope" not in found(record(activation="prelu", slope=slopes))


def test_a_layer_that_collapsed_is_not_wide_by_the_peak_of_its_better_days():
    assert "wide_range" not in found(record(peak=40.0, rms=0.01, rms_first=1.0))


def test_a_site_whose_units_are_all_dead_is_not_reported_as_shrinking():
    assert "vanishing_activation" not in found(record(now=(0,) * 4, rms_first=1.0, rms=1e-9))
    assert "vanishing_activation" not in found(record(rms_first=1.0, rms=0.0))


def test_dead_units_come_before_dying_ones_and_both_in_the_order_of_the_network():
    dying = record("a", earlier=(400,) * 4, now=(10,) * 4)
    dead = [record(key, earlier=(400,) * 4, now=(0, 400, 400, 10)) for key in ("b", "c")]
    recording = Recording({}, [Clock(0, "SGD", "optimizer", 100, 40)], [dying, *dead], [], [], [])
    told = [(f.rule, f.site) for f in diagnose(recording).findings if f.severity == "warning"]
    assert told == [("RLM001", "b"), ("RLM001", "c"), ("RLM009", "a"), ("RLM009", "b"), ("RLM009", "c")]

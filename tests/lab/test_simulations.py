"""The promises of the verdicts, held against worlds whose truth is known, through the public functions.

The short tests see a gross fault: with 120 studies a family-wise error of 0.2 is caught nearly always. The slow ones
hold the figures of ``docs/reference/lab-statistics.md``.
"""

from __future__ import annotations

import pytest
from scenes import SCENES
from scipy.stats import binomtest
from simulate import SEEDS, power, power_as_needed, simulate
from statsmodels.stats.power import TTestPower
from world import Truth, design

PROMISED = 0.055
FEW, MANY = 120, 2000
SURE = 1e-3
"""A test fails by chance in one of so many runs; the seeds are fixed, so it does so always or never."""


def above(hits, of, promised):
    """How unlikely so many are if the promise is kept."""
    return binomtest(hits, of, promised, alternative="greater").pvalue


def below(hits, of, promised):
    return binomtest(hits, of, promised, alternative="less").pvalue


# ---- short ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("steep", 8),
        ("at delta", 20),
        ("half a step off, 3", 20),
        ("beyond the grid", 20),
        ("10 % collapse", 8),
        ("20 items, paired", 8),
    ],
)
def test_false_verdicts_are_rare(name, seeds):
    count = simulate(SCENES[name], seeds, FEW)
    assert above(count.false, count.studies, PROMISED) > SURE, count
    assert below(count.covered, count.intervals, 0.94) > SURE, count


@pytest.mark.parametrize(("name", "studies"), [("not tuned", FEW), ("one contender, not tuned", 1000)])
def test_false_verdicts_are_rare_when_seeds_are_added_until_decided(name, studies):
    count = simulate(SCENES[name], 5, studies, until_decided=True)
    assert above(count.false, count.studies, PROMISED) > SURE, count
    assert below(count.all_covered, count.studies, 0.95) > SURE, count


def test_a_true_difference_is_found_as_often_as_theory_says():
    asked = design(1, 8, factors=(1.0,))
    expected = TTestPower().power(1.5 / 2**0.5, 8, 0.03)
    found = round(300 * power(asked, Truth(top=1.5), 300))
    assert min(above(found, 300, expected), below(found, 300, expected)) > SURE


# ---- slow ----------------------------------------------------------------------------------------------------------


def enough(name, studies):
    """More where the intervals tell less: one contender has a sixth of them, and a noisy baseline makes all six miss
    together, so that 2000 studies leave a standard error of 0.005, half of what ``ci`` may be off."""
    return studies * (4 if name == "noisy baseline" else 6 // (len(SCENES[name].truths) - 1))


HELD = [name for name, scene in SCENES.items() if not scene.over_all]
"""Verdicts are about the runs that train: what a collapse costs over all runs is measured, not promised."""


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("name", HELD)
def test_family_wise_error_and_coverage_are_as_stated(name, seeds):
    count = simulate(SCENES[name], seeds, enough(name, MANY))
    assert count.family_wise <= PROMISED, count
    assert count.coverage >= 0.94, count
    if SCENES[name].asked.get("factors") and SCENES[name].metric is None:  # not tuned: no choice to be paid for
        assert count.coverage <= 0.96, count
    assert below(count.all_covered, count.studies, 0.95) > SURE, count


@pytest.mark.slow
@pytest.mark.parametrize("name", HELD)
def test_family_wise_error_is_as_stated_until_decided(name):
    count = simulate(SCENES[name], 5, enough(name, MANY // 2), until_decided=True)
    assert count.family_wise <= PROMISED, count
    assert below(count.all_covered, count.studies, 0.95) > SURE, count


@pytest.mark.slow
@pytest.mark.parametrize("contenders", [1, 6])
@pytest.mark.parametrize(
    ("seeds", "top", "correlation"), [(5, 2.5, 0.0), (8, 1.5, 0.5), (20, 1.2, 0.0), (20, 0.8, 0.5)]
)
def test_power_equals_theory_without_tuning(contenders, seeds, top, correlation):
    spread = (2 * (1 - correlation)) ** 0.5
    expected = TTestPower().power(top / spread, seeds, 0.03 / contenders)
    found = power(design(contenders, seeds, factors=(1.0,)), Truth(top=top), MANY, correlation=correlation)
    assert found == pytest.approx(expected, abs=0.035)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{"factors": (1.0,)}, {}])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("delta", [0.8, 1.5])
def test_the_seeds_that_are_said_to_be_needed_find_delta_in_80_of_100(delta, correlation, asked):
    base, truth = Truth(curvature=0.3), Truth(top=delta, curvature=0.3)
    found, pilots = power_as_needed(
        design(2, 8, delta=delta, **asked), truth, MANY // 4, correlation=correlation, base=base
    )
    assert 0.75 <= found / pilots <= 0.85

"""The arithmetic of verdicts against libraries that share no code with it, and on the data that have no spread."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from relume.lab.judging import stats

NAN = math.nan


@pytest.fixture
def rng():
    return np.random.default_rng(20_261_121)


# ---- paired differences --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [2, 3, 5, 20])
@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.7])
def test_one_sided_p_equals_scipy(rng, pairs, margin):
    differences = rng.normal(0.4, 1.3, (3, pairs))
    expected = [scipy.stats.ttest_1samp(row, margin, alternative="greater").pvalue for row in differences]
    assert stats.p_greater(differences, margin) == pytest.approx(expected, rel=1e-9)


def test_pairs_without_a_difference_are_omitted(rng):
    kept = rng.normal(1.0, 1.0, 6)
    with_gaps = np.array([NAN, *kept[:2], NAN, *kept[2:]])
    assert stats.p_greater(with_gaps) == pytest.approx(float(stats.p_greater(kept)))
    assert [float(part) for part in stats.moments(with_gaps)] == pytest.approx([6, kept.mean(), kept.std(ddof=1)])
    assert stats.sign_flip(with_gaps) == stats.sign_flip(kept)


@pytest.mark.parametrize("pairs", [2, 4, 15])
def test_interval_equals_scipy(rng, pairs):
    differences = rng.normal(0.4, 1.3, pairs)
    low, high = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.99)
    assert stats.interval(*map(float, stats.moments(differences)), 0.01) == pytest.approx((low, high))


def p_equivalent(differences, delta):
    return float(max(stats.p_greater(differences, -delta), stats.p_greater(-differences, -delta)))


def test_equivalence_equals_statsmodels(rng):
    first, second = rng.normal(0, 1, (2, 12))
    expected = ttost_paired(first, second, -0.8, 0.8)[0]
    assert p_equivalent(first - second, 0.8) == pytest.approx(expected)


def test_no_pair_and_one_pair_prove_nothing():
    for differences in (np.array([]), np.array([NAN, NAN]), np.array([5.0]), np.array([NAN, 5.0])):
        count, mean, deviation = map(float, stats.moments(differences))
        assert float(stats.p_greater(differences)) == 1.0
        assert all(map(math.isnan, stats.interval(count, mean, deviation, 0.05)))
        assert math.isnan(deviation)
        assert p_equivalent(differences, 100.0) == 1.0


def test_differences_that_are_all_equal_have_the_exact_p_and_not_zero():
    same = np.full(5, 0.1) + np.array([0, 1, -1, 0, 1]) * 1e-17
    assert float(stats.moments(same)[2]) == 0.0
    assert float(stats.p_greater(same)) == 0.5**5
    assert float(stats.p_greater(-same)) == 1.0
    assert float(stats.p_greater(same, 0.2)) == 1.0
    assert float(stats.p_greater(np.zeros(5))) == 1.0
    assert p_equivalent(same, 0.2) == 0.5**5
    assert stats.interval(5, 0.1, 0.0, 0.05) == (0.1, 0.1)


# ---- sign flips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [1, 2, 3, 7, 10])
def test_sign_flip_counts_every_flip(rng, pairs):
    differences = rng.normal(0.5, 1, pairs)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product([1, -1], repeat=pairs)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert stats.sign_flip(differences) == pytest.approx(expected)


def test_sign_flip_equals_scipy(rng):
    differences = np.round(rng.normal(0.6, 1, 11), 1)  # with ties
    found = scipy.stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
    )
    assert stats.sign_flip(differences) == pytest.approx(found.pvalue)


@pytest.mark.parametrize("pairs", [1, 2, 5, 8, 32])
def test_sign_flip_of_pairs_on_one_side_reaches_the_floor(pairs):
    assert stats.sign_flip(np.linspace(1, 2, pairs)) == pytest.approx(stats.sign_flip_floor(pairs), rel=1e-12)
    assert stats.sign_flip_floor(5) == 0.0625


def test_sign_flip_without_a_difference_is_one():
    assert stats.sign_flip([]) == stats.sign_flip([NAN]) == stats.sign_flip([0.0, 0.0]) == 1.0
    assert stats.sign_flip([0.1 + 0.2, -0.3]) == 1.0  # rounding is no difference


def test_sign_flip_of_many_pairs_is_drawn_and_repeats_itself(rng):
    differences = rng.normal(0.25, 1, 60)
    found = stats.sign_flip(differences)
    assert found == stats.sign_flip(differences)
    normal = 2 * scipy.stats.norm.sf(abs(differences.sum()) / math.sqrt((differences**2).sum()))
    assert found == pytest.approx(normal, abs=4 * math.sqrt(normal / stats.FLIPS) + 0.003)


# ---- losses, shares, correlation -----------------------------------------------------------------------------------


def test_losses_count_a_failure_as_the_worst_and_two_as_a_tie():
    first, second = np.array([NAN, NAN, NAN, 2.0, 1.0]), np.array([1.0, 1.0, NAN, 1.0, 1.0])
    expected = scipy.stats.binomtest(2, 3, alternative="greater").pvalue  # two lost, one won, two tied
    assert stats.p_sign_losses(first, second) == pytest.approx(expected)
    assert stats.p_sign_losses(second, first) == pytest.approx(
        scipy.stats.binomtest(1, 3, alternative="greater").pvalue
    )
    assert stats.p_sign_losses(np.full(8, NAN), np.ones(8)) == 0.5**8
    assert stats.p_sign_losses(np.full(8, NAN), np.full(8, NAN)) == 1.0


@pytest.mark.parametrize(
    ("here", "elsewhere"), [((6, 8), (0, 16)), ((3, 5), (4, 10)), ((0, 4), (2, 4)), ((5, 5), (9, 9))]
)
def test_more_often_is_the_exact_test_of_scipy(here, elsewhere):
    table = [[hits, runs - hits] for hits, runs in (here, elsewhere)]
    assert stats.p_more_often(here, elsewhere) == pytest.approx(scipy.stats.fisher_exact(table, "greater").pvalue)
    assert stats.p_more_often(here, (0, 0)) == 1


def test_share_of_pairs_that_improve_counts_a_tie_half():
    assert stats.p_improves(np.array([1.0, 2.0, 0.0, -1.0, NAN])) == 0.625
    assert math.isnan(stats.p_improves(np.array([NAN])))


def test_correlation_is_pearsons_and_unknown_without_spread(rng):
    first, second = rng.normal(size=(2, 9))
    assert stats.correlation(first, second) == pytest.approx(scipy.stats.pearsonr(first, second).statistic)
    gaps = np.where(np.arange(9) == 4, NAN, first)
    kept = np.arange(9) != 4
    assert stats.correlation(gaps, second) == pytest.approx(scipy.stats.pearsonr(first[kept], second[kept]).statistic)
    assert math.isnan(stats.correlation(first[:2], second[:2]))
    assert math.isnan(stats.correlation(np.full(9, 0.1), second))


# ---- several at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 6, 15])
def test_correction_equals_statsmodels(rng, count):
    p = rng.uniform(0, 1, count) ** 3
    p[count // 2] = p[0]  # a tie
    assert stats.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_missing_hypotheses_count_as_not_rejected():
    p = [0.004, 0.03]
    assert stats.holm(p, of=5) == pytest.approx(multipletests([*p, 1, 1, 1], method="holm")[1][:2])


@pytest.mark.parametrize(("hits", "of"), [(0, 5), (1, 5), (5, 5), (3, 20), (0, 1)])
def test_wilson_equals_statsmodels(hits, of):
    assert stats.wilson(hits, of) == pytest.approx(proportion_confint(hits, of, method="wilson"), abs=1e-12)
    assert stats.wilson(hits, of, 0.01) == pytest.approx(proportion_confint(hits, of, 0.01, method="wilson"), abs=1e-12)


def test_wilson_without_trials_is_the_whole_range():
    assert stats.wilson(0, 0) == (0.0, 1.0)


# ---- power ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [2, 3, 5, 20, 100, 2000])
@pytest.mark.parametrize("level", [0.05, 0.005, 0.0001])
def test_detectable_effect_is_found_as_often_as_it_says(pairs, level):
    effect, threshold = stats.detectable_effect(pairs, level), scipy.stats.t(pairs - 1).isf(level / 2)
    spread = scipy.stats.chi(pairs - 1)

    def found(part):
        at = spread.ppf(part) / math.sqrt(pairs - 1)
        return scipy.stats.norm.sf(threshold * at - effect * pairs**0.5)

    assert scipy.integrate.quad(found, 0, 1)[0] == pytest.approx(0.8, abs=2e-4)


@pytest.mark.parametrize(
    ("pairs", "one", "six"),
    [(3, 3.26, 8.0), (5, 1.68, 2.76), (7, 1.27, 1.87), (10, 1.00, 1.37), (15, 0.78, 1.03), (20, 0.66, 0.86)],
)
def test_detectable_effect_has_the_measured_values(pairs, one, six):
    assert stats.detectable_effect(pairs, 0.05) == pytest.approx(one, abs=0.01)
    assert stats.detectable_effect(pairs, 0.05 / 6) == pytest.approx(six, abs=0.02)


def test_detectable_effect_of_one_pair_is_infinite():
    assert stats.detectable_effect(1, 0.05) == math.inf


# ---- without SciPy -------------------------------------------------------------------------------------------------

WITHOUT_SCIPY = """
import sys
sys.modules["scipy"] = None  # as if it were not installed
from relume.errors import MissingExtra
from relume.lab.judging import stats
import numpy as np
try:
    stats.p_greater(np.ones(3))
except MissingExtra as error:
    print(error)
"""


def test_verdicts_without_scipy_say_what_to_install():
    said = subprocess.run([sys.executable, "-c", WITHOUT_SCIPY], capture_output=True, text=True, check=True).stdout
    assert "pip install 'relume[lab]'" in said
    assert said.endswith("[missing-extra]\n")


# ---- rounding ------------------------------------------------------------------------------------------------------


def test_the_smallest_step_comes_from_the_digits_or_the_items():
    items = np.array([61, 58, 61, 60, 57, 63]) / 64
    assert stats.least_step(items) == 1 / 64
    assert stats.least_step(np.round(items, 3)) == pytest.approx(0.015)
    assert stats.least_step(np.array([0.5, NAN, 0.1 + 0.2, 0.3])) == pytest.approx(0.2)  # rounding is no step
    assert stats.least_step(np.array([0.5, 0.5, NAN])) == stats.least_step(np.array([])) == 0.0


def test_differences_within_one_step_are_counted_and_not_treated_as_normal():
    near = np.array([0.016, 0.015, 0.016, 0.016, 0.015, 0.016])
    assert float(stats.p_greater(near)) < 1e-6
    assert float(stats.p_greater(near, step=0.015)) == pytest.approx(0.5**6)
    assert float(stats.p_greater(-near, step=0.015)) == 1.0
    mixed = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
    assert float(stats.p_greater(mixed, step=1.0)) == pytest.approx(0.125)
    assert stats.p_greater(mixed, step=0.1) == pytest.approx(float(stats.p_greater(mixed)))


@pytest.mark.parametrize(("alpha", "pairs"), [(0.05, 6), (0.01, 8), (0.0625, 5)])
def test_the_fewest_pairs_are_those_with_which_the_sign_flip_test_reaches_alpha(alpha, pairs):
    assert stats.least_pairs(alpha) == pairs
    assert stats.sign_flip_floor(pairs) <= alpha < stats.sign_flip_floor(pairs - 1)


def test_fewer_pairs_than_the_least_prove_nothing():
    differences = np.array([[1.0, 1.1, 1.2, 1.0, 0.9], [1.0, 1.1, 1.2, 1.0, NAN]])
    assert stats.p_greater(differences, least=5)[0] < 0.001
    assert stats.p_greater(differences, least=5)[1] == 1.0


def test_the_lower_limit_equals_the_interval(rng):
    differences = rng.normal(0.4, 1.3, (2, 7))
    found = stats.lower_limit(differences, np.array([0.01, 0.025]))
    expected = [
        stats.interval(*map(float, stats.moments(row)), 2 * level)[0]
        for row, level in zip(differences, (0.01, 0.025), strict=True)
    ]
    assert found == pytest.approx(expected)
    assert stats.lower_limit(np.array([1.0, NAN]), np.array(0.05)) == -math.inf

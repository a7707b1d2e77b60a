"""The words a verdict may use, each on trials made for it."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from world import Truth, World, design, run, truths

from relume.artifacts.trial import BASELINE, InterimAnalysis, Trial, TrialKey
from relume.errors import StudyError
from relume.lab.judging import stats
from relume.lab.judging.schedule import look_now
from relume.lab.judging.verdicts import JudgedStudy, judge, judge_all

NAN = math.nan
NOISE = np.random.default_rng(5).standard_normal(64)


def trials(values, *, factor=1.0, stage="confirm", first_seed=0, **told):
    """One confirmation trial a value; NaN failed, None is not there."""
    made = []
    for name, numbers in values.items():
        for seed, number in enumerate(numbers, first_seed):
            if number is None:
                continue
            key = TrialKey(name, seed, factor, stage)
            bad = math.isnan(number)
            made.append(
                Trial(key, "failed" if bad else "finished", {} if bad else {"quality": ((0, float(number)),)}, **told)
            )
    return made


def alone(names, seeds, **asked):
    """A design that does not tune."""
    return design(names, seeds, factors=(1.0,), **asked)


def spread(n, mean=0.0, offset=0):
    return mean + NOISE[offset : offset + n]


# ---- equal time ----------------------------------------------------------------------------------------------------


def timed(name, seconds, shift):
    """Runs that reach 0, 1, 2, 3 + shift by quarters of their time."""
    return [
        Trial(
            TrialKey(name, seed, 1.0, "confirm"),
            "finished",
            {"quality": tuple((float(i), i + shift + noise) for i in range(4))},
            seconds=seconds,
        )
        for seed, noise in enumerate(spread(6, 0.0, int(shift * 8)) / 100)
    ]


@pytest.mark.parametrize(("at_time", "seconds", "difference"), [("baseline", 8.0, -1.5), ("12", 12.0, -0.5)])
def test_a_contender_is_also_compared_after_the_same_time(at_time, seconds, difference):
    runs = timed(BASELINE, 8.0, 0.0) + timed("elu", 16.0, 0.5)
    (one,) = judge(alone(["elu"], 6, at_time=at_time), runs)
    assert one.difference == pytest.approx(0.5, abs=0.02)
    assert one.equal_time.seconds == seconds
    assert one.equal_time.difference == pytest.approx(difference, abs=0.02)  # the second, or the third of its values
    assert one.equal_time.low < one.equal_time.difference < one.equal_time.high
    (without,) = judge(alone(["elu"], 6), runs)
    assert without.equal_time is None
    assert (without.verdict, without.p_holm) == (one.verdict, one.p_holm)


def test_a_run_that_has_logged_nothing_by_that_time_has_no_value_then():
    (one,) = judge(alone(["elu"], 6, at_time="1"), timed(BASELINE, 8.0, 0.0) + timed("elu", 16.0, 0.5))
    assert one.equal_time.n == 0


# ---- the numbers ---------------------------------------------------------------------------------------------------


def test_numbers_of_a_verdict_equal_those_of_scipy_and_statsmodels():
    base, first, second = spread(8), spread(8, 1.0, 8), spread(8, 0.2, 16)
    found = judge(alone(["elu", "gelu"], 8, delta=0.5), trials({BASELINE: base, "elu": first, "gelu": second}))
    tests = [scipy.stats.ttest_rel(values, base) for values in (first, second)]
    p_holm = multipletests([test.pvalue / 0.6 for test in tests], method="holm")[1]
    for one, values, test, p in zip(found, (first, second), tests, p_holm, strict=True):
        difference = values - base
        assert (one.n, one.runs, one.failed, one.look) == (8, 8, 0, 1)
        assert (one.mean, one.sd) == pytest.approx((values.mean(), values.std(ddof=1)))
        assert (one.baseline_mean, one.baseline_sd) == pytest.approx((base.mean(), base.std(ddof=1)))
        assert one.difference == pytest.approx(difference.mean())
        assert one.ci == pytest.approx(tuple(test.confidence_interval(0.95)))
        assert one.ci_simultaneous == pytest.approx(tuple(test.confidence_interval(1 - 0.03 / 2)))
        assert one.p_holm == pytest.approx(min(1.0, p))
        assert one.p_sign_flip == stats.sign_flip(difference)
        assert one.p_better == np.mean(difference > 0)
        assert one.correlation == pytest.approx(np.corrcoef(values, base)[0, 1])
        assert one.level == pytest.approx(0.03)
        assert one.mdd == pytest.approx(stats.detectable_effect(8, 0.015) * difference.std(ddof=1))
        for needed, part in zip(one.seeds_needed, (0.25, 0.75), strict=True):  # of the spreads the pairs allow
            deviation = difference.std(ddof=1) * math.sqrt(7 / scipy.stats.chi2.isf(part, 8))
            assert TTestPower().power(0.5 / deviation, needed, 0.005) == pytest.approx(
                0.8, abs=0.06
            )  # at the next look


def test_seeds_needed_refers_to_delta_and_not_to_the_difference_seen():
    base, small, large = spread(8), spread(8, 0.1, 8), spread(8, 0.1, 8) + 3
    found = []
    for values in (small, large):
        (one,) = judge(alone(["elu"], 8, delta=0.5), trials({BASELINE: base, "elu": values}))
        found.append(one.seeds_needed)
        (one,) = judge(alone(["elu"], 8), trials({BASELINE: base, "elu": values}))
        assert one.seeds_needed is None
    assert found[0] == found[1]
    assert found[0][0] < found[0][1]


def test_seeds_needed_counts_every_test_that_the_verdict_needs():
    rates = (0.25, 1.0, 4.0)
    flat = {
        (name, f): spread(8, -(f != 1.0) * 3, 8 * (3 * (name == "elu") + i))
        for name in (BASELINE, "elu")
        for i, f in enumerate(rates)
    }
    (tuned_one,) = judge(design(["elu"], 8, delta=0.5), tuned({BASELINE: 1.0, "elu": 1.0}, flat))
    known = {name: flat[name, 1.0] for name in (BASELINE, "elu")}
    (one,) = judge(alone(["elu"], 8, delta=0.5), trials(known))
    assert tuned_one.seeds_needed[0] > one.seeds_needed[0]


def test_less_is_better_if_the_design_says_so():
    values = {BASELINE: spread(8), "elu": spread(8, -4.0, 8), "gelu": spread(8, 4.0, 16)}
    lower = judge(alone(["elu", "gelu"], 8, mode="min"), trials(values))
    assert [one.verdict for one in lower] == ["better", "worse"]
    assert (lower[0].p_better, lower[1].p_better) == (1.0, 0.0)
    assert lower[0].difference < 0  # contender − baseline, in the metric's own direction
    higher = judge(alone(["elu", "gelu"], 8, mode="max"), trials(values))
    assert [one.verdict for one in higher] == ["worse", "better"]


@pytest.mark.parametrize(
    ("mean", "delta", "expected"),
    [
        (0.0, None, "undecided"),
        (0.0, 3.0, "equivalent"),
        (0.0, 0.3, "undecided"),
        (6.0, 3.0, "better"),
        (-6.0, 3.0, "worse"),
    ],
)
def test_verdict_follows_the_difference_and_delta(mean, delta, expected):
    values = {BASELINE: spread(8), "elu": spread(8, mean, 8)}
    (one,) = judge(alone(["elu"], 8, delta=delta), trials(values))
    assert one.verdict == expected


def test_a_real_difference_smaller_than_delta_is_reported():
    values = {BASELINE: spread(20), "elu": spread(20) + 0.3 + 0.1 * NOISE[20:40]}
    (one,) = judge(alone(["elu"], 20, delta=2.0), trials(values))
    assert one.verdict == "better"
    assert "The difference is real and smaller than delta (2)." in one.notes


def test_holm_keeps_a_verdict_that_bonferroni_would_not():
    base = spread(12)
    values = {BASELINE: base, **{f"a{i}": base + 9 + 0.1 * NOISE[12 + i : 24 + i] for i in range(3)}}
    values["last"] = base + 0.75 + 1.05 * (NOISE[30:42] - NOISE[30:42].mean())
    p = scipy.stats.ttest_rel(values["last"], base).pvalue / 0.6
    found = judge(alone(["a0", "a1", "a2", "last"], 12), trials(values))
    assert p < 0.05 < 4 * p  # corrected by 4 it would fail; after three that are sure, it stands
    assert [one.verdict for one in found] == ["better"] * 4
    assert found[-1].p_holm == pytest.approx(p)


# ---- the noise of tuning -------------------------------------------------------------------------------------------


def tuned(best, confirmed):
    """A study that tuned: ``best`` maps names to their tuned factor, ``confirmed`` (name, factor) to values."""
    runs = []
    for name, factor in best.items():
        for place in (0.25, 1.0, 4.0):
            runs += trials(
                {name: [9.0 - abs(math.log2(place / factor))] * 2}, factor=place, stage="tune", first_seed=10_000
            )
    for (name, factor), values in confirmed.items():
        runs += trials({name: values}, factor=factor)
    return runs


RATES = (0.25, 1.0, 4.0)


def bracketed(name, top, offset, side=-3.0):
    """Values at three rates, of which the middle one is clearly the best."""
    return {(name, f): spread(8, top + (f != 1.0) * side, offset + 8 * i) for i, f in enumerate(RATES)}


def test_better_must_beat_the_baseline_at_each_of_its_rates_and_between_them():
    best = {BASELINE: 1.0, "elu": 1.0}
    values = bracketed(BASELINE, 0.0, 0) | bracketed("elu", 5.0, 24)
    (one,) = judge(design(["elu"], 8), tuned(best, values))
    assert one.verdict == "better"
    other = {
        **values,
        ("elu", 1.0): values["elu", 1.0] - 5,
        ("elu", 4.0): values["elu", 4.0] + 3,
        ("elu", 16.0): spread(8, -9, 40),
    }
    (one,) = judge(design(["elu"], 8), tuned(best, other))
    assert (one.verdict, one.lr_factor) == ("better", 4.0)  # at a rate that tuning did not choose
    assert any("Tuning chose ×1 for elu; ×4 did better on the verdict's seeds" in note for note in one.notes)
    assert one.difference == pytest.approx((other["elu", 4.0] - values[BASELINE, 1.0]).mean())
    lucky = {**values, (BASELINE, 4.0): spread(8, 5, 16), (BASELINE, 16.0): spread(8, -9, 40)}
    (one,) = judge(design(["elu"], 8), tuned(best, lucky))  # the baseline is as good at another rate
    assert (one.verdict, one.baseline_lr_factor) == ("undecided", 4.0)
    assert one.ci[0] < 0 < one.ci[1]


def test_a_rate_between_the_confirmed_ones_that_would_explain_it_keeps_it_from_better():
    best = {BASELINE: 1.0, "elu": 1.0}
    means = {0.25: -2.4, 1.0: 0.0, 4.0: -0.001, 16.0: -9.0}  # the parabola's top is 0.3 above: too near for a half step
    values = {(BASELINE, f): spread(8, mean) for f, mean in means.items()}
    for top, verdict in ((0.2, "undecided"), (0.9, "better")):
        elu = {("elu", f): spread(8, top - 3 * (f != 1)) + 0.1 * spread(8, 0, 8 * i) for i, f in enumerate(RATES)}
        (one,) = judge(design(["elu"], 8), tuned(best, values | elu))
        assert one.verdict == verdict
        told = [note for note in one.notes if note.startswith("At the confirmed learning rates it looks better,")]
        assert bool(told) == (verdict == "undecided")
        assert all(note.endswith("Try --lr-factors 0.25,0.5,1,2,4.") for note in told)


def test_worse_must_lose_at_each_of_its_own_confirmed_rates():
    best = {BASELINE: 1.0, "elu": 1.0}
    values = bracketed(BASELINE, 5.0, 0) | bracketed("elu", 0.0, 24)
    (one,) = judge(design(["elu"], 8), tuned(best, values))
    assert one.verdict == "worse"
    (one,) = judge(
        design(["elu"], 8), tuned(best, values | {("elu", 0.25): spread(8, 5, 24), ("elu", 0.0625): spread(8, -9)})
    )
    assert one.verdict == "undecided"


def test_the_interval_holds_the_difference_of_best_against_best():
    best = {BASELINE: 1.0, "elu": 1.0}  # tuning chose a rate at which elu loses by 5
    means = {0.25: -9, 1.0: -5, 4.0: 0, 16.0: -9}
    values = bracketed(BASELINE, 0.0, 0) | {
        ("elu", f): spread(8, m, 24 + 8 * i) for i, (f, m) in enumerate(means.items())
    }
    (one,) = judge(design(["elu"], 8), tuned(best, values))
    assert (one.verdict, one.lr_factor, one.baseline_lr_factor) == ("undecided", 4.0, 1.0)
    alike = values["elu", 4.0] - values[BASELINE, 1.0]
    assert one.difference == pytest.approx(alike.mean())
    plain = scipy.stats.ttest_1samp(alike, 0).confidence_interval(0.95)
    assert plain[0] - 2 < one.ci[0] < plain[0]  # the choice of the rate is paid for
    assert plain[1] < one.ci[1] < plain[1] + 2


def test_a_best_rate_that_is_not_bracketed_withholds_the_verdict_and_says_what_to_type():
    best = {BASELINE: 4.0, "elu": 1.0}
    rising = {(BASELINE, 4.0**i): spread(8, 2.0 * i, 8 * max(0, i)) for i in range(-1, 7)}
    values = rising | bracketed("elu", 90.0, 24)
    runs = tuned(best, values) + trials({BASELINE: [9.5]}, factor=16.0, stage="tune", first_seed=10_000)
    runs += trials({BASELINE: [9.9]}, factor=64.0, stage="tune", first_seed=10_000)
    runs += [t for f in (16.0, 64.0) for t in trials({"elu": [0.0]}, factor=f, stage="tune", first_seed=10_000)]
    (one,) = judge(design(["elu"], 8), runs)
    assert one.verdict == "undecided"
    assert any(
        "The baseline did best at the last learning rate tried" in note and "--lr-factors" in note for note in one.notes
    )


def test_a_best_rate_at_the_edge_and_a_factor_without_effect_are_reported():
    asked, world = design(1, 3), World(truths(1, Truth(curvature=50), Truth(curvature=50, optimum=40)))
    (one,) = judge(asked, run(asked, world))
    assert one.at_edge
    assert any("did best at the last learning rate tried (×4096)" in note for note in one.notes)
    same = [
        dataclasses.replace(t, weights=f"{t.key.activation}{t.key.seed}")
        for t in tuned({BASELINE: 1.0, "elu": 1.0}, {})
    ]
    same += trials({BASELINE: spread(8), "elu": spread(8, 0, 8)})
    (one,) = judge(design(["elu"], 8), same)
    assert (one.n, one.look) == (8, 1)
    assert any("elu ended with the same weights at every learning-rate factor" in note for note in one.notes)


# ---- failures ------------------------------------------------------------------------------------------------------


def test_zero_failures_are_reported_with_the_upper_bound():
    (one,) = judge(alone(["elu"], 8), trials({BASELINE: spread(8), "elu": spread(8, 0, 8)}))
    for whose in ("", " of the baseline"):
        assert f"0 of 8 runs{whose} failed or collapsed; the true share is below 32 % (95 % confidence)." in one.notes


def curves(values, start):
    """Trials whose curves begin at the start of training."""
    return [
        dataclasses.replace(t, metrics={n: ((0.0, start), (9.0, curve[-1][1])) for n, curve in t.metrics.items()})
        for t in trials(values)
    ]


def test_a_run_that_ends_where_training_began_is_a_failure():
    elu = [*spread(7, 20.0, 8), 0.1]
    values = {BASELINE: spread(8, 20.0), "elu": elu}
    (one,) = judge(alone(["elu"], 8), curves(values, 0.0))
    assert (one.failed, one.n, one.baseline_failed) == (1, 7, 0)
    assert one.mean == pytest.approx(np.mean(elu[:7]))
    (blind,) = judge(alone(["elu"], 8), trials(values))  # one value a run: nobody can know
    assert (blind.failed, blind.n) == (0, 8)
    (near,) = judge(alone(["elu"], 8), curves({BASELINE: spread(8, 3.0), "elu": [*spread(7, 3.0, 8), 0.1]}, 0.0))
    assert near.failed == 0  # the start lies within what runs vary by


def with_dead_layers(runs, name, seeds):
    return [
        dataclasses.replace(t, dead_layers=1) if t.key.activation == name and t.key.seed in seeds else t for t in runs
    ]


def test_a_run_that_ends_with_a_dead_layer_is_a_failure():
    values = {BASELINE: spread(8, 20.0), "elu": spread(8, 20.0, 8)}
    (one,) = judge(alone(["elu"], 8), with_dead_layers(trials(values), "elu", {2, 5}))
    assert (one.failed, one.n, one.baseline_failed) == (2, 6, 0)
    assert any(
        note.startswith("2 of 8 runs of elu failed or collapsed (2 ended with a dead layer);") for note in one.notes
    )
    asked = alone(["elu"], 8, metric="dead_share", mode="min")
    shares = [dataclasses.replace(t, dead_share=0.5) for t in trials(values)]
    (one,) = judge(asked, with_dead_layers(shares, "elu", {2, 5}))
    assert (one.failed, one.n) == (0, 8)  # the metric counts them itself


def test_a_contender_is_better_than_a_baseline_whose_runs_all_collapse():
    runs = trials({BASELINE: spread(8, 20.0), "elu": spread(8, 30.0, 8)})
    (one,) = judge(alone(["elu"], 8), with_dead_layers(runs, BASELINE, range(8)))
    assert (one.verdict, one.baseline_failed, one.n) == ("better", 8, 0)
    assert one.mean == pytest.approx(spread(8, 30.0, 8).mean())
    few = alone(["elu", "gelu", "silu"], 6)  # failures of six runs decide, among three contenders
    runs = trials({BASELINE: spread(6), **{n: spread(6, 30.0, 8 * i) for i, n in enumerate(("elu", "gelu", "silu"))}})
    assert [one.verdict for one in judge(few, with_dead_layers(runs, BASELINE, range(6)))] == ["better"] * 3
    runs = trials({BASELINE: spread(8, 20.0), "elu": spread(8, 30.0, 8)})
    both = with_dead_layers(with_dead_layers(runs, BASELINE, range(8)), "elu", range(8))
    assert judge(alone(["elu"], 8), both)[0].verdict == "undecided"


def test_a_run_that_begins_below_the_others_and_gains_has_not_collapsed():
    runs = curves({BASELINE: spread(8, 20.0), "elu": [*spread(7, 20.0, 8), 6.5]}, 7.0)
    assert judge(alone(["elu"], 8), runs)[0].failed == 1
    late = [
        dataclasses.replace(t, metrics={"quality": ((0.0, 2.0), *t.metrics["quality"][1:])})
        if t.key[:2] == ("elu", 7)
        else t
        for t in runs
    ]
    assert judge(alone(["elu"], 8), late)[0].failed == 0


def test_a_rate_at_which_by_chance_no_run_collapsed_does_not_make_it_better():
    base, elu = bracketed(BASELINE, 20.0, 0), bracketed("elu", 22.5, 24)
    begins = {f: list(elu["elu", f]) for f in RATES}
    for collapsed, verdict in ((0, "better"), (2, "undecided")):
        elu = {("elu", f): [0.0] * (collapsed * (f != 1)) + each[collapsed * (f != 1) :] for f, each in begins.items()}
        runs = [
            t
            if t.key.stage == "tune"
            else dataclasses.replace(t, metrics={"quality": ((0.0, 0.0), (9.0, t.metrics["quality"][-1][1]))})
            for t in tuned({BASELINE: 1.0, "elu": 1.0}, base | elu)
        ]
        (one,) = judge(design(["elu"], 8), runs)
        assert (one.verdict, one.failed, one.lr_factor) == (verdict, 0, 1.0)


def test_equivalent_is_withheld_if_an_unnoticed_collapse_could_move_the_mean_by_delta():
    values = {BASELINE: spread(8, 20.0), "elu": spread(8, 20.0, 8), "gelu": [*spread(7, 20.0, 16), 0.0]}
    asked = alone(["elu", "gelu"], 8, delta=3.0)
    for runs in (curves(values, 0.0), trials(values)):  # a collapse would be seen, or not
        one, _ = judge(asked, runs)
        assert (one.verdict, one.failed) == ("undecided", 0)
        (said,) = (note for note in one.notes if note.startswith("The runs that train are equivalent"))
        assert "up to 32 % of the runs of" in said
    one, _ = judge(dataclasses.replace(asked, delta=7.0), curves(values, 0.0))
    assert one.verdict == "equivalent"  # 32 % of 20


def test_a_contender_that_raises_the_same_exception_is_not_compared():
    runs = [dataclasses.replace(t, status="failed", error="TypeError: no") for t in trials({"elu": [NAN] * 2})]
    runs += trials({BASELINE: spread(8), "gelu": spread(8, 6, 8)})
    one, other = judge(alone(["elu", "gelu"], 8), runs)
    assert (one.verdict, one.look) == ("undecided", 0)
    assert one.notes == ("Not compared: every run failed with the same error (TypeError: no).",)
    assert other.verdict == "better"


def test_errors_that_differ_in_an_address_are_the_same_exception():
    runs = trials({"elu": [NAN] * 2, BASELINE: spread(8)})
    runs = [dataclasses.replace(t, error=f"ValueError: no at 0x7f{t.key.seed}a") for t in runs]
    assert judge(alone(["elu"], 8), runs)[0].notes[0].startswith("Not compared: every run failed")


def test_failed_runs_are_reported_with_an_interval_and_left_out_of_the_mean():
    elu = [NAN, *spread(6, 0.0, 8), NAN]
    (one,) = judge(alone(["elu"], 8), trials({BASELINE: [*spread(7), NAN], "elu": elu}))
    assert (one.n, one.runs, one.failed, one.baseline_failed) == (6, 8, 2, 1)
    assert one.failed_ci == stats.wilson(2, 8)
    assert one.mean == pytest.approx(spread(6, 0.0, 8).mean())
    assert any(note.startswith("2 of 8 runs of elu failed or collapsed") for note in one.notes)
    assert any(note.startswith("1 of 8 runs of the baseline failed or collapsed") for note in one.notes)


@pytest.mark.parametrize("how", ["failed", "diverged", "timeout", "nan"])
def test_every_kind_of_failure_counts_alike(how):
    runs = trials({BASELINE: spread(8), "elu": spread(8, 4, 8)})
    ends = {"quality": ((0, 1.0), (1, NAN))} if how == "nan" else runs[-1].metrics
    runs[-1] = dataclasses.replace(runs[-1], status="finished" if how == "nan" else how, metrics=ends)
    (one,) = judge(alone(["elu"], 8), runs)
    assert (one.n, one.failed) == (7, 1)


def test_a_better_verdict_that_depends_on_omitting_failures_is_withheld():
    base = spread(12)
    good = base + 2 + 0.1 * NOISE[12:24]
    values = {BASELINE: base, "elu": good}
    (one,) = judge(alone(["elu"], 12), trials(values))
    assert one.verdict == "better"
    values["elu"] = [NAN] * 5 + list(good[5:])
    (one,) = judge(alone(["elu"], 12), trials(values))
    assert one.verdict == "undecided"
    assert one.ci_simultaneous[0] > 0
    assert "It looks better among the finished runs, but not if failures count as the worst value seen." in one.notes


def test_a_better_verdict_survives_failures_that_change_nothing():
    values = {BASELINE: spread(20), "elu": [NAN, *spread(19, 9, 20)]}
    (one,) = judge(alone(["elu"], 20), trials(values))
    assert (one.verdict, one.failed) == ("better", 1)


def test_a_worse_verdict_must_survive_the_failures_of_the_baseline():
    base = spread(12)
    values = {BASELINE: [NAN] * 5 + list(base[5:]), "elu": base - 2 + 0.1 * NOISE[12:24]}
    (one,) = judge(alone(["elu"], 12), trials(values))
    assert one.verdict == "undecided"
    values[BASELINE] = base
    values["elu"] = [NAN] * 5 + list(values["elu"][5:])  # its own failures do not make it better
    (one,) = judge(alone(["elu"], 12), trials(values))
    assert one.verdict == "worse"


def test_a_contender_that_never_finishes_is_worse_by_an_exact_test_of_its_failures():
    (one,) = judge(alone(["elu"], 8), trials({BASELINE: spread(8), "elu": [NAN] * 8}))
    assert (one.verdict, one.n, one.failed) == ("worse", 0, 8)
    assert one.p_holm == pytest.approx(2 * 2 / math.comb(16, 8) / 0.6)  # Fisher's exact test: the better of two
    assert math.isnan(one.mean)
    assert math.isnan(one.difference)
    assert any("each failure counts as a loss" in note for note in one.notes)
    (one,) = judge(alone(["elu"], 4), trials({BASELINE: spread(4), "elu": [NAN] * 4}))
    assert one.verdict == "undecided"  # four failures of four cannot reach it


def test_a_failing_baseline_loses_by_its_failures_but_not_to_contenders_that_fail_as_well():
    for failed in ([NAN] * 8, [NAN] * 5 + [0.0, 0.1, 0.2]):
        asked, theirs = alone(["elu"], 8, delta=99.0), [NAN] * 3 + list(spread(5, 50))
        (one,) = judge(asked, trials({BASELINE: failed, "elu": spread(8, 50)}))
        assert (one.verdict, one.baseline_failed) == ("better", sum(map(math.isnan, failed)))
        (other,) = judge(asked, trials({BASELINE: failed, "elu": theirs}))
        assert other.verdict == "undecided"
        assert any("Fewer than half of the baseline's runs finished" in note for note in one.notes)


def failing(values, counts):
    """The same with so many failures in the first seeds."""
    return {key: [NAN] * counts.get(key[1], 0) + list(each[counts.get(key[1], 0) :]) for key, each in values.items()}


def at_rates(name, means, offset):
    """16 values at each rate."""
    draws = np.random.default_rng(offset)
    return {(name, f): mean + draws.standard_normal(16) for f, mean in means.items()}


def test_a_rate_of_the_baseline_at_which_hardly_a_run_finished_does_not_count():
    elu = at_rates("elu", {0.25: 2, 1.0: 5, 4.0: 2}, 1)
    base = at_rates(BASELINE, {0.25: -3, 1.0: 0, 2.0: -3, 4.0: 99}, 2)
    best = {BASELINE: 1.0, "elu": 1.0}
    (one,) = judge(design(["elu"], 16), tuned(best, failing(base, {4.0: 14}) | elu))
    assert one.verdict == "better"
    assert any("Too few runs of the baseline finished at ×4" in note for note in one.notes)
    # It fails everywhere: the rate is not why, and may be the best.
    (one,) = judge(design(["elu"], 16), tuned(best, failing(base, {0.25: 8, 1.0: 8, 2.0: 8, 4.0: 12}) | elu))
    assert (one.verdict, one.baseline_failed) == ("undecided", 8)


def test_a_contenders_own_rate_at_which_few_runs_finished_by_chance_prevents_worse():
    base = at_rates(BASELINE, {0.25: 6, 1.0: 9, 4.0: 6}, 1)
    elu = at_rates("elu", {0.25: -3, 1.0: 0, 2.0: -3, 4.0: 12}, 2)
    best = {BASELINE: 1.0, "elu": 1.0}
    for failed, verdict in (({0.25: 2, 4.0: 13}, "worse"), ({0.25: 7, 1.0: 7, 2.0: 7, 4.0: 10}, "undecided")):
        (one,) = judge(design(["elu"], 16), tuned(best, base | failing(elu, failed)))
        assert one.verdict == verdict


def test_a_failure_counts_as_the_worst_value_of_the_rates_compared_not_of_a_poor_rate():
    base = at_rates(BASELINE, {0.25: -99, 0.5: -3, 1.0: 0, 2.0: -3, 4.0: -6}, 1)
    elu = failing(at_rates("elu", {0.25: 3, 1.0: 6, 4.0: 3}, 2), dict.fromkeys(RATES, 1))
    (one,) = judge(design(["elu"], 16), tuned({BASELINE: 1.0, "elu": 1.0}, base | elu))
    assert (one.verdict, one.failed) == ("better", 1)


# ---- little data ---------------------------------------------------------------------------------------------------


def test_one_seed_decides_nothing():
    (one,) = judge(alone(["elu"], 1, delta=99.0), trials({BASELINE: [0.0], "elu": [9.0]}))
    assert (one.verdict, one.n, one.difference, one.look) == ("undecided", 1, 9.0, 1)
    assert all(map(math.isnan, (*one.ci, *one.ci_simultaneous, one.sd, one.correlation, one.mdd)))
    assert one.seeds_needed is None


def test_pairs_that_all_differ_alike_have_the_exact_p_and_say_so():
    base = np.array([0.91, 0.92, 0.9, 0.94, 0.95, 0.93])
    (one,) = judge(alone(["elu"], 6), trials({BASELINE: base, "elu": base + 0.02}))
    assert one.verdict == "undecided"  # six equal pairs reach 0.031 and no less; Student's t would say 0
    assert one.p_holm == pytest.approx(0.03125 / 0.6)
    assert any("an exact test replaces the t-test" in note for note in one.notes)
    same = trials({BASELINE: [0.9] * 6, "elu": [0.9] * 6})
    (one,) = judge(alone(["elu"], 6), same)
    assert (one.verdict, one.p_holm, one.difference) == ("undecided", 1.0, 0.0)
    assert any("the same for every seed" in note for note in one.notes)


def test_fewer_pairs_than_the_exact_test_needs_decide_nothing():
    (one,) = judge(alone(["elu"], 5), trials({BASELINE: spread(5), "elu": spread(5) + 9 + 0.01 * NOISE[5:10]}))
    assert (one.verdict, one.p_holm) == ("undecided", 1.0)
    assert "5 pairs cannot show a difference: better and worse need 6 finished pairs." in one.notes


def test_two_seeds_with_few_digits_are_not_certain():
    values = {BASELINE: [0.5, 0.5469], "elu": [0.6094, 0.6562]}
    assert 2 * float(stats.p_greater(np.array([0.1094, 0.1093]))) < 0.001  # what Student's t says
    (one,) = judge(alone(["elu"], 2), trials(values))
    assert (one.verdict, one.p_holm) == ("undecided", 1.0)


def test_a_verdict_that_the_exact_test_does_not_reach_warns():
    elu = spread(6) + np.array([1, 1.1, 0.9, 1, 1, -0.01])
    (one,) = judge(alone(["elu"], 6), trials({BASELINE: spread(6), "elu": elu}))
    assert (one.verdict, one.p_sign_flip) == ("better", 0.0625)
    assert any("6 pairs cannot go below 0.0312" in note for note in one.notes)


def test_an_empty_study_is_undecided():
    found = judge(design(["elu", "gelu"], 8), [])
    assert [one.verdict for one in found] == ["undecided"] * 2
    assert all(one.look == one.n == one.runs == 0 and math.isnan(one.p_holm) for one in found)
    assert all("still being tuned" in one.notes[0] for one in found)


# ---- looks ---------------------------------------------------------------------------------------------------------


def test_no_verdict_before_all_runs_of_the_look():
    runs = trials({BASELINE: spread(8), "elu": spread(8, 9, 8)})
    (one,) = judge(alone(["elu"], 8), runs[:-1])
    assert (one.verdict, one.n, one.look) == ("undecided", 7, 0)
    assert math.isnan(one.p_holm)
    assert one.notes[0].startswith("No verdict before all runs of 8 seeds")
    (one,) = judge(alone(["elu"], 8), runs)
    assert (one.verdict, one.look) == ("better", 1)


def test_seeds_beyond_the_look_do_not_count_until_the_next_is_complete():
    values = {BASELINE: spread(8), "elu": [*spread(4, 0, 8), 50.0, 60.0, 70.0, None]}
    first = judge(alone(["elu"], 4), trials({name: numbers[:4] for name, numbers in values.items()}))
    looks = [look_now(alone(["elu"], 4), trials({name: numbers[:4] for name, numbers in values.items()}), [])]
    (one,) = judge(alone(["elu"], 8), trials(values), looks)
    assert one.notes[0].startswith("Based on the first 4 seeds")
    assert dataclasses.replace(one, notes=()) == dataclasses.replace(first[0], notes=())


def test_a_later_look_has_a_smaller_part_of_the_error():
    asked = alone(["elu"], 8)
    shifted = trials({BASELINE: spread(8), "elu": spread(8, 1.2, 8)})
    p = scipy.stats.ttest_rel(spread(8, 1.2, 8), spread(8)).pvalue
    spent = [InterimAnalysis(1, 4, ("elu",), "another question")]
    for looks, part in (([], 0.6), (spent, 0.2), (spent * 2, 0.1)):
        (one,) = judge(asked, shifted, looks)
        assert one.look == len(looks) + 1
        assert one.p_holm == pytest.approx(p / part)
        assert (one.verdict == "better") == (p <= 0.05 * part)


def test_a_contender_left_out_later_still_counts_in_the_correction():
    runs = trials({BASELINE: spread(8), "elu": spread(8, 1.2, 8), "gelu": spread(8, 0, 16)})
    both = alone(["elu", "gelu"], 8)
    looks = [look_now(both, runs, [])]
    assert judge(alone(["elu"], 8), runs, looks)[0].p_holm == judge(both, runs)[0].p_holm


def test_seeds_without_a_planned_verdict_are_refused():
    runs = trials({BASELINE: spread(6), "elu": spread(6, 1, 8)})
    looks = [InterimAnalysis(1, 4, ("elu",), "asked")]
    with pytest.raises(StudyError, match="not-a-look"):
        judge(alone(["elu"], 6), runs, looks)


# ---- several studies -----------------------------------------------------------------------------------------------


def test_several_studies_are_corrected_together():
    one = JudgedStudy(
        alone(["elu", "gelu"], 8), trials({BASELINE: spread(8), "elu": spread(8, 1.2, 8), "gelu": spread(8, 0, 16)})
    )
    other = JudgedStudy(alone(["elu"], 8, mode="min"), trials({BASELINE: spread(8, 0, 24), "elu": spread(8, 0.3, 32)}))
    together = judge_all([one, other])
    raw = [judge(study.design, study.trials) for study in (one, other)]
    p = [scipy.stats.ttest_rel(*pair).pvalue / 0.6 for pair in (
        (spread(8, 1.2, 8), spread(8)), (spread(8, 0, 16), spread(8)), (spread(8, 0.3, 32), spread(8, 0, 24)),
    )]  # fmt: skip
    expected = np.minimum(multipletests(p, method="holm")[1], 1)
    assert [v.p_holm for study in together for v in study] == pytest.approx(expected.tolist())
    assert together[0][0].p_holm > raw[0][0].p_holm
    assert together[0][0].ci_simultaneous[0] < raw[0][0].ci_simultaneous[0]  # it holds over all three
    assert together[0][0].ci == raw[0][0].ci
    unfinished = JudgedStudy(alone(["elu"], 8), other.trials[:-1])
    mixed = judge_all([one, unfinished])
    assert mixed[1][0].verdict == "undecided"
    assert mixed[0][0].p_holm == pytest.approx(min(1, 3 * min(p[:2])))  # what is not there yet is in the family


# ---- what must hold of the trials ----------------------------------------------------------------------------------


def test_a_seed_without_effect_is_refused():
    runs = trials({BASELINE: spread(4), "elu": spread(4, 0, 4)})
    digests = [dataclasses.replace(trial, weights=f"{trial.key.activation}{trial.key.seed}") for trial in runs]
    judge(alone(["elu"], 4), digests)
    same = [*digests[:1], dataclasses.replace(digests[1], weights=digests[0].weights), *digests[2:]]
    with pytest.raises(
        StudyError, match=r"baseline ended with the same weights at seeds 0 and 1.*\[seed-without-effect\]"
    ):
        judge(alone(["elu"], 4), same)
    judge(alone(["elu"], 4), [dataclasses.replace(trial, status="diverged") for trial in same])  # NaN equals NaN


def test_a_run_that_does_not_repeat_itself_is_reported_and_counts_once():
    runs = [
        dataclasses.replace(trial, weights=f"{trial.key.activation}{trial.key.seed}")
        for trial in trials({BASELINE: spread(4), "elu": spread(4, 0, 4)})
    ]
    again = dataclasses.replace(
        runs[0], weights="other", metrics={"quality": ((0, runs[0].metrics["quality"][0][1] + 0.25),)}
    )
    (one,) = judge(alone(["elu"], 4), [*runs, again])
    (alike,) = judge(alone(["elu"], 4), [*runs, runs[0]])
    assert any("baseline at seed 0 was run twice" in note and "0.25 apart in quality" in note for note in one.notes)
    assert not any("run twice" in note for note in alike.notes)
    assert dataclasses.replace(one, notes=()) == dataclasses.replace(alike, notes=())


def test_costs_are_medians_of_the_finished_runs_at_the_chosen_rates():
    runs = trials({BASELINE: spread(3)}, seconds=2.0, cpu_seconds=1.5, peak_memory=100, dead_share=0.25)
    runs += [
        dataclasses.replace(trial, seconds=float(trial.key.seed), parameters_added=7)
        for trial in trials({"elu": spread(3, 0, 3)})
    ]
    (one,) = judge(alone(["elu"], 3), runs)
    assert one.cost["activation"] == {
        "seconds": 1.0, "cpu_seconds": 0.0, "peak_memory": 0, "parameters_added": 7, "dead_share": None,
    }  # fmt: skip
    assert one.cost["baseline"] == {
        "seconds": 2.0, "cpu_seconds": 1.5, "peak_memory": 100, "parameters_added": 0, "dead_share": 0.25,
    }  # fmt: skip


def test_an_interval_of_equal_pairs_is_as_wide_as_their_digits_allow():
    values = {BASELINE: [0.70, 0.69, 0.72], "elu": [0.70, 0.69, 0.72]}
    (one,) = judge(alone(["elu"], 3), trials(values))
    assert one.difference == 0
    low, high = one.ci
    half = scipy.stats.t.ppf(0.975, 2) * 0.01 / 6**0.5 / 3**0.5
    assert (low, high) == pytest.approx((-half, half))


def test_a_verdict_is_plain_data():
    (one,) = judge(alone(["elu"], 3, delta=0.1), trials({BASELINE: spread(3), "elu": spread(3, 0, 3)}))
    json.dumps(dataclasses.asdict(one))


def test_equivalence_is_corrected_for_contenders_and_look():
    base, near = spread(8), spread(8, 0.0, 8)
    p = max(stats.p_greater(each, -1.75) for each in (near - base, base - near))
    assert 0.03 / 2 < p <= 0.03
    one, two = alone(["elu"], 8, delta=1.75), alone(["elu", "gelu"], 8, delta=1.75)
    runs = trials({BASELINE: base, "elu": near, "gelu": spread(8, 0, 16)})
    assert judge(one, runs)[0].verdict == "equivalent"
    assert judge(two, runs)[0].verdict == "undecided"
    assert judge(one, runs, [InterimAnalysis(1, 4, ("elu",), "another question")])[0].verdict == "undecided"

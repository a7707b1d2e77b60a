"""What runs next, on studies whose truth is known."""

from __future__ import annotations

import dataclasses
import functools
import math
import random

import pytest
import world
from world import Truth, World, run, truths

from relume.artifacts.trial import BASELINE, InterimAnalysis, Trial, TrialKey
from relume.errors import StudyError
from relume.lab.judging.schedule import (
    SCREEN,
    Confirmation,
    look_now,
    next_seeds,
    next_trials,
    question,
    runs_left,
    share,
    stages,
)
from relume.lab.judging.tuning import MOST_EXTENSIONS, Tuning
from relume.lab.judging.verdicts import judge

SHARP = Truth(curvature=50.0)  # the best rate is never in doubt


def at_optimum(*factors, **truth):
    """The baseline's best factor, then the contenders'."""
    base, *others = [Truth(curvature=50.0, optimum=math.log2(factor), **truth) for factor in factors]
    return World(truths(len(others), base, *others))


SEEDS = (10_000, 10_001, 10_002, 10_003)  # the tuning's two, and those that replace failures
design = functools.partial(world.design, tuning_seeds=SEEDS[:2])


def grid(asked, done):
    return Tuning(asked, done).grid()


def chosen(asked, done):
    return Tuning(asked, done).choices()


def by_hand(values, *, seeds=None, status="finished", weights=""):
    """Tuning trials: (activation, factor) → value, the same at every seed; NaN at all the seeds that it is tried at."""
    return [
        Trial(
            TrialKey(name, seed, factor, "tune"),
            status,
            {"quality": ((0, value),)},
            weights=weights and weights + str(seed),
        )
        for (name, factor), value in values.items()
        for seed in seeds or SEEDS[: 4 if math.isnan(value) else 2]
    ]


# ---- order and resuming --------------------------------------------------------------------------------------------


def test_tuning_comes_first_with_one_budget_for_all_seed_by_seed():
    keys = next_trials(design(["elu", "gelu"], 3), [])
    assert keys[:6] == [
        TrialKey(name, 10_000, factor, "tune") for factor in (0.25, 1.0) for name in (BASELINE, "elu", "gelu")
    ]
    assert len(keys) == len(set(keys)) == 3 * 3 * 2
    assert [key.seed for key in keys] == sorted(key.seed for key in keys)


def test_confirmation_runs_three_rates_of_each_on_fresh_seeds_the_most_promising_contender_first():
    asked = design(3, 4)
    worlds = World(truths(3, SHARP, *(Truth(top=top, curvature=50.0) for top in (-5, 9, 5))))
    tuned = [worlds.trial(key) for key in next_trials(asked, [])]
    keys = next_trials(asked, tuned)
    assert {key.stage for key in keys} == {"confirm"}
    assert len(keys) == len(set(keys)) == 4 * 3 * 4
    first, second, third = keys[:24], keys[24:36], keys[36:]
    assert {key.activation for key in first} == {BASELINE, "a1"}  # one verdict after half of the runs
    assert {key.activation for key in second} == {"a2"}
    assert {key.activation for key in third} == {"a0"}
    for block in (first, second, third):
        assert [key.seed for key in block] == sorted(key.seed for key in block)
        assert {key.seed for key in block} == {0, 1, 2, 3}
    assert [key.lr_factor for key in keys[:2]] == [1.0, 0.25]
    assert {key.lr_factor for key in keys} == {0.25, 1.0, 4.0}


def test_no_finished_trial_is_scheduled_again():
    asked, world = design(3, 3), World(truths(3, Truth(failing=0.2, limit=2.0)), seed=5)
    done, asked_for, shuffle = [], set(), random.Random(0)
    while keys := next_trials(asked, done):
        assert not asked_for & {key for key in keys if key in {trial.key for trial in done}}
        picked = shuffle.sample(keys, min(len(keys), 7))  # a driver that is killed after seven trials, again and again
        done += [world.trial(key) for key in picked]
        asked_for |= set(picked)
        shuffle.shuffle(done)
    assert len(done) == len({trial.key for trial in done})
    assert {trial.key for trial in done} == {trial.key for trial in run(asked, world)}
    assert any(trial.status == "diverged" for trial in done)


def test_a_single_factor_is_not_tuned_and_costs_one_run_per_seed():
    keys = next_trials(design(2, 4, factors=(1.0,)), [])
    assert len(keys) == 3 * 4
    assert {(key.stage, key.lr_factor) for key in keys} == {("confirm", 1.0)}


def test_more_seeds_add_only_what_is_missing():
    asked, world = design(2, 3), at_optimum(1, 1, 1)
    done = run(asked, world)
    more = next_trials(dataclasses.replace(asked, seeds=6), done, [look_now(asked, done, [])])
    assert {key.seed for key in more} == {3, 4, 5}
    assert len(more) == 3 * 3 * 3


def test_a_contender_added_later_is_tuned_and_confirmed_by_itself():
    world = at_optimum(1, 1, 1)
    done = run(design(1, 3), world)
    later = design(2, 3)
    assert {key.activation for key in next_trials(later, done)} == {"a1"}
    added = run(later, world, done)[len(done) :]
    assert {trial.key.activation for trial in added} == {"a1"}
    assert len(added) == 3 * 2 + 3 * 3


# ---- choosing rates ------------------------------------------------------------------------------------------------


def test_all_extend_when_the_best_rate_of_one_lies_at_the_edge():
    asked = design(2, 3)
    done = run(asked, at_optimum(1, 1, 4))
    assert grid(asked, done) == ((0.25, 1.0, 4.0, 16.0), True)
    tuned = {trial.key for trial in done if trial.key.stage == "tune"}
    assert tuned == {
        TrialKey(n, s, f, "tune") for n in asked.names for s in asked.tuning_seeds for f in (0.25, 1, 4, 16)
    }
    found = chosen(asked, done)
    assert [found[name].factor for name in asked.names] == [1.0, 1.0, 4.0]
    assert [found[name].confirmed for name in asked.names] == [(1.0, 0.25, 4.0)] * 2 + [(4.0, 1.0, 16.0)]


def test_the_grid_grows_twice_at_most():
    asked = design(2, 3)
    done = run(asked, at_optimum(1, 4.0**9, 4.0**-9))
    assert grid(asked, done)[0] == tuple(4.0**power for power in range(-3, 4))
    assert MOST_EXTENSIONS == 2
    found = chosen(asked, done)
    assert [found[name].factor for name in asked.names] == [1, 64, 1 / 64]


def test_the_grid_grows_by_its_own_ratio():
    asked = design(1, 3, factors=(0.5, 1.0, 2.0))
    assert grid(asked, run(asked, at_optimum(1, 2)))[0] == (0.5, 1.0, 2.0, 4.0)


def test_ties_go_to_the_factor_nearest_one():
    asked = design(1, 3)
    flat = by_hand({(name, factor): 0.5 for name in asked.names for factor in (0.25, 1.0, 4.0)})
    assert {choice.factor for choice in chosen(asked, flat).values()} == {1.0}
    tied = by_hand({(name, factor): 0.5 if factor != 1 else 0.1 for name in asked.names for factor in (0.25, 1.0, 4.0)})
    low = by_hand({(name, factor): 0.1 for name in asked.names for factor in (1 / 16, 1 / 64)})
    assert chosen(asked, tied + low)[BASELINE].confirmed[0] == 0.25


@pytest.mark.parametrize("status", ["failed", "diverged", "timeout"])
def test_a_run_that_failed_while_tuning_is_made_up_for_on_another_seed(status):
    asked = design(1, 3)
    done = by_hand({(name, f): v for name in asked.names for f, v in ((0.25, 0.1), (1.0, 0.5), (4.0, 9.0), (16.0, 0))})
    broken = TrialKey("a0", 10_001, 4.0, "tune")
    done = [dataclasses.replace(t, status=status) if t.key == broken else t for t in done]
    assert next_trials(asked, done) == [TrialKey("a0", 10_002, 4.0, "tune")]
    assert chosen(asked, done) == {}
    done += by_hand({("a0", 4.0): 9.0}, seeds=[10_002])
    assert {name: choice.factor for name, choice in chosen(asked, done).items()} == {BASELINE: 4.0, "a0": 4.0}
    assert {key.stage for key in next_trials(asked, done)} == {"confirm"}


def test_failures_while_tuning_cost_twice_the_seeds_at_most():
    asked, values = design(1, 3), {(name, f): 0.5 for name in (BASELINE, "a0") for f in (0.25, 1.0)}
    done, world = by_hand(values | {(BASELINE, 4.0): 0.2}), World(truths(1, Truth(failing=1.0)))
    asked_for = []
    while (keys := next_trials(asked, done)) and keys[0].stage == "tune":
        asked_for += keys
        done += [world.trial(key) for key in keys]
    assert asked_for == [TrialKey("a0", seed, 4.0, "tune") for seed in SEEDS]


def test_a_rate_with_failures_is_chosen_only_if_it_wins_with_failures_as_the_worst_value():
    asked, values = design(1, 3), {(name, f): v for name in (BASELINE, "a0") for f, v in ((0.25, 0.1), (1.0, 0.5))}
    for good, factor in ((0.6, 1.0), (0.8, 4.0)):
        done = by_hand(values | {(BASELINE, 4.0): 0.2}) + by_hand({(name, 16.0): math.nan for name in asked.names})
        done += by_hand({("a0", 4.0): math.nan}, seeds=SEEDS[1:2]) + by_hand({("a0", 4.0): good}, seeds=SEEDS[:3:2])
        found = chosen(asked, done)["a0"]
        assert found.factor == factor  # (0.1 + 0.6 + 0.6) ÷ 3 < 0.5 < (0.1 + 0.8 + 0.8) ÷ 3
        assert set(found.confirmed) == {0.25, 1.0, 4.0}


def test_a_rate_at_which_most_runs_failed_is_confirmed_but_not_chosen():
    asked, values = design(1, 3), {(name, f): v for name in (BASELINE, "a0") for f, v in ((0.25, -9.0), (4.0, -8.0))}
    done = by_hand(values | {(BASELINE, 1.0): 0.5}) + by_hand({("a0", 1.0): math.nan}, seeds=SEEDS[:3])
    done += by_hand({("a0", 1.0): 99.0}, seeds=SEEDS[3:])
    found = chosen(asked, done)["a0"]
    assert found.confirmed == (4.0, 0.25, 1.0)  # the failures may be chance, and 1 the best
    assert not any(factor > 4 for factor in grid(asked, done)[0])  # nor is it an end of the grid


def test_a_rate_at_and_above_which_no_run_finished_is_not_confirmed():
    asked = design(1, 3)
    values = {(name, f): v for name in asked.names for f, v in ((0.25, 0.1), (1.0, 0.5), (4.0, math.nan))}
    assert [choice.confirmed for choice in chosen(asked, by_hand(values)).values()] == [(1.0, 0.25)] * 2
    wide = dataclasses.replace(asked, factors=(0.25, 1.0, 2.0, 4.0))
    known = by_hand(values | {(name, 2.0): 0.4 for name in asked.names})
    assert [choice.confirmed for choice in chosen(wide, known).values()] == [(1.0, 0.25, 2.0)] * 2


def test_the_grid_grows_if_the_best_finished_rate_is_at_its_end():
    asked = design(1, 3)
    done = by_hand({(name, f): v for name in asked.names for f, v in ((0.25, 0.1), (1.0, 0.5))})
    done += by_hand({(BASELINE, 4.0): 0.2}) + by_hand({("a0", 4.0): math.nan}, seeds=SEEDS[:3])
    done += by_hand({("a0", 4.0): 0.6}, seeds=SEEDS[3:])
    assert grid(asked, done) == ((0.25, 1.0, 4.0, 16.0), False)


def test_a_factor_at_which_no_run_finished_below_one_at_which_some_did_is_confirmed():
    asked = design(1, 3, factors=(0.25, 1.0, 2.0, 4.0))
    values = {(name, f): v for name in asked.names for f, v in ((0.25, 0.1), (1.0, math.nan), (2.0, 0.5), (4.0, 0.2))}
    # No rate that is too high explains it: it may be the best, and its failures chance.
    assert [choice.confirmed for choice in chosen(asked, by_hand(values)).values()] == [(2.0, 1.0, 4.0)] * 2


def test_a_contender_that_diverges_everywhere_asks_for_smaller_rates():
    asked = design(1, 3)
    done = by_hand({(BASELINE, f): v for f, v in ((0.25, 0.1), (1.0, 0.5), (4.0, 0.2))})
    diverged = by_hand({("a0", f): math.nan for f in (0.25, 1.0, 4.0)}, status="diverged")
    assert grid(asked, done + diverged) == ((1 / 16, 0.25, 1.0, 4.0), False)
    broken = [dataclasses.replace(trial, status="failed") for trial in diverged]  # its code is broken: no rate helps
    assert grid(asked, done + broken) == ((0.25, 1.0, 4.0), True)
    assert chosen(asked, done + broken)["a0"].confirmed == (1.0,)


def test_less_is_better_and_another_metric_for_tuning_are_respected():
    metrics = {0.25: (0.9, 3.0), 1.0: (0.8, 2.0), 4.0: (0.95, 2.5)}
    done = [
        Trial(TrialKey(name, seed, f, "tune"), "finished", {"accuracy": ((0, a),), "val_loss": ((0, loss),)})
        for name in (BASELINE, "a0")
        for seed in (10_000, 10_001)
        for f, (a, loss) in metrics.items()
    ]
    by_loss = design(1, 3, metric="accuracy", mode="max", tune_metric="val_loss", tune_mode="min")
    assert chosen(by_loss, done)["a0"].confirmed == (1.0, 0.25, 4.0)
    assert chosen(dataclasses.replace(by_loss, metric="val_loss", mode="min", tune_mode=None), done)["a0"].factor == 1.0
    by_accuracy = design(1, 3, metric="accuracy")
    assert grid(by_accuracy, done) == ((0.25, 1.0, 4.0, 16.0), False)  # best at 4: the edge


def test_a_factor_without_effect_is_reported_and_confirmed_once():
    asked = design(1, 3, factors=(1.0, 4.0))
    values = {(name, f): 0.5 for name in asked.names for f in (1.0, 4.0)}
    same = by_hand(values, weights="digest of seed ")
    assert grid(asked, same) == ((1.0, 4.0), True)
    found = chosen(asked, same)["a0"]
    assert (found.confirmed, found.has_effect) == ((1.0,), False)
    unknown = by_hand(values)  # no digests: nothing is claimed, and 1 is an end of the grid
    assert grid(asked, unknown) == ((0.25, 1.0, 4.0), False)


# ---- the confirmed rates grow --------------------------------------------------------------------------------------


def confirmed(asked, done, name="a0"):
    study = Confirmation(asked, done)
    assert next_trials(asked, done) == []
    return study.rates(name, asked.seeds)


def confirming(means, *, seeds=4, tuned=None, failing=()):
    """A study whose tuning chose ×1, with the mean of a0 at each rate of the confirmation; the baseline's are clear."""
    asked = design(1, seeds)
    done = by_hand({(BASELINE, f): -abs(math.log2(f)) for f in (0.25, 1.0, 4.0)})
    done += by_hand({("a0", f): v for f, v in (tuned or {0.25: 0.1, 1.0: 0.5, 4.0: 0.2}).items()})
    noise = (-0.1, 0.1, 0.05, -0.05)
    for name, rates in ((BASELINE, {0.25: -9.0, 1.0: 0.0, 4.0: -9.0}), ("a0", means)):
        done += [
            Trial(
                TrialKey(name, seed, f, "confirm"),
                "diverged" if name == "a0" and f in failing else "finished",
                {"quality": ((0, mean + noise[seed]),)},
            )
            for f, mean in rates.items()
            for seed in range(seeds)
        ]
    return asked, done


def test_rates_grow_outward_until_the_best_is_bracketed():
    asked, done = confirming({0.25: -9.0, 1.0: -5.0, 4.0: 0.0})
    assert next_trials(asked, done) == [TrialKey("a0", seed, 16.0, "confirm") for seed in range(4)]
    found = confirmed(*confirming({0.25: -9.0, 1.0: -5.0, 4.0: 0.0, 16.0: -5.0}))
    assert (set(found.factors), found.open) == ({0.25, 1.0, 4.0, 16.0}, ())


def test_rates_stop_growing_and_say_which_is_open():
    found = confirmed(*confirming({4.0**i: 5.0 * i for i in range(-1, 5)}))
    assert (len(found.factors), found.open) == (6, (1024.0,))


def test_rates_grow_by_half_a_step_toward_a_rate_that_fails():
    tuned = {0.25: 0.1, 1.0: 0.5, 4.0: math.nan}
    asked, done = confirming({0.25: -9.0, 1.0: 0.0}, tuned=tuned)
    assert {key.lr_factor for key in next_trials(asked, done)} == {2.0}
    for failing in ((), (2.0,)):  # within half a step a failure brackets as well
        found = confirmed(*confirming({0.25: -20.0, 1.0: 0.0, 2.0: -5.0}, tuned=tuned, failing=failing))
        assert (set(found.factors), found.open) == ({0.25, 1.0, 2.0}, ())


def test_rates_grow_by_half_steps_if_a_rate_between_may_be_clearly_better():
    asked, done = confirming({0.25: -9.0, 1.0: 0.0, 4.0: -0.5})
    assert {key.lr_factor for key in next_trials(asked, done)} == {0.5, 2.0}
    found = confirmed(*confirming({0.25: -9.0, 1.0: 0.0, 4.0: -0.5, 0.5: -1.0, 2.0: 1.0}))
    assert set(found.factors) == {0.25, 0.5, 1.0, 2.0, 4.0}
    assert set(confirmed(*confirming({0.25: -9.0, 1.0: 0.0, 4.0: -8.9})).factors) == {0.25, 1.0, 4.0}


def test_rates_that_have_grown_stay_at_the_next_number_of_seeds():
    asked, world = design(1, 3), World(truths(1, SHARP, Truth(curvature=3.0, optimum=1.0)))
    done = run(asked, world)
    printed = [look_now(asked, done, [])]
    grown = Confirmation(asked, done).rates("a0", 3).factors
    assert 2.0 in grown
    more = dataclasses.replace(asked, seeds=6)
    assert {key.lr_factor for key in next_trials(more, done, printed) if key.activation == "a0"} == set(grown)


def test_a_contender_that_always_raises_the_same_exception_is_not_tried_again():
    asked, world = design(3, 4, tuning_seeds=(10_000,)), at_optimum(1, 1, 1, 1)

    def broken(key):
        errors = {"a0": "TypeError: no", "a1": f"ValueError: {key.lr_factor}"}
        error = errors.get(key.activation)
        return Trial(key, "failed", error=error) if error else world.trial(key)

    done = []
    while keys := next_trials(asked, done):
        done += [broken(key) for key in keys[:4]]
    runs = {name: [t.key for t in done if t.key.activation == name] for name in asked.names}
    assert len(runs["a0"]) == 2
    assert len(runs["a1"]) == 3 * 4 + 4  # another exception each time: its failures count
    assert len(runs["a2"]) == len(runs[BASELINE]) == 3 + 3 * 4


def test_a_default_study_of_seven_contenders_takes_at_most_100_runs_to_its_first_verdict():
    counts = []
    for seed in range(8):
        asked, world, done = world_of_seven(seed)
        while look_now(asked, done, []) is None:
            done += [world.trial(key) for key in next_trials(asked, done)[:2]]
        counts.append(len(done))
    assert max(counts) <= 100
    assert min(counts) == 24 + 48


def world_of_seven(seed):
    return world.design(7, 8), World(truths(7, Truth(curvature=0.8)), seed=seed), []


def test_the_runs_that_are_left_are_known_before_the_tuning_ends():
    assert sum(runs_left(world.design(7, 8), []).values()) == 24 + 192


# ---- screening ------------------------------------------------------------------------------------------------------


def test_a_hopeless_contender_is_dropped_after_the_first_seeds_and_gets_no_verdict():
    tops = (0.0, -30.0, 3.0)
    asked = design(3, 8)
    done = run(asked, World(truths(3, SHARP, *(Truth(top=top, curvature=50.0) for top in tops)), correlation=0.9))
    seeds = {name: {t.key.seed for t in done if t.key[0] == name and t.key.stage == "confirm"} for name in asked.names}
    assert seeds == {BASELINE: set(range(8)), "a0": set(range(8)), "a1": set(range(SCREEN)), "a2": set(range(8))}
    look = look_now(asked, done, [])
    assert look.activations == ("a0", "a1", "a2")  # it counts in the correction
    verdicts = {verdict.activation: verdict for verdict in judge(asked, done)}
    assert [verdict.dropped for verdict in verdicts.values()] == [False, True, False]
    assert (verdicts["a1"].verdict, verdicts["a1"].n) == ("undecided", SCREEN)
    assert verdicts["a1"].notes[0].startswith(f"Dropped after {SCREEN} seeds")
    assert runs_left(asked, done) == {}
    later = dataclasses.replace(asked, seeds=16)
    assert "a1" not in {key.activation for key in next_trials(later, done, [look])}


def test_no_contender_is_dropped_if_that_saves_little_or_full_runs_exist():
    asked, world = design(1, 6), World(truths(1, SHARP, Truth(top=-90.0, curvature=50.0)), correlation=0.9)
    assert {t.key.seed for t in run(asked, world) if t.key[0] == "a0" and t.key.stage == "confirm"} == set(range(6))
    more = dataclasses.replace(asked, seeds=8)
    whole = run(more, world, run(dataclasses.replace(asked, seeds=6), world))
    assert not judge(more, whole)[0].dropped


def test_equal_contenders_are_hardly_ever_dropped():
    dropped = 0
    for seed in range(40):
        asked, world = design(6, 8, factors=(1.0,)), World(truths(6), seed=seed)
        dropped += bool(Confirmation(asked, run(asked, world)).dropped)
    assert dropped <= 3  # 0.01 are promised


def test_a_rate_at_which_every_first_run_failed_is_abandoned():
    asked, world = design(1, 8), World(truths(1, Truth(curvature=0.3, limit=None)))
    tuned = [world.trial(key) for key in next_trials(asked, [])]
    done = list(tuned)
    while keys := next_trials(asked, done):
        for key in keys:
            done.append(Trial(key, "failed", error=f"no {key.seed}") if key.lr_factor == 4 else world.trial(key))
    tried = [t.key.seed for t in done if t.key[:3:2] == ("a0", 4.0) and t.key.stage == "confirm"]
    assert sorted(tried) == list(range(SCREEN))


# ---- looks ---------------------------------------------------------------------------------------------------------


def test_the_error_shares_of_all_looks_add_up_to_the_whole():
    assert [share(number) for number in (1, 2, 3, 4)] == pytest.approx([0.6, 0.2, 0.1, 0.05])
    assert sum(map(share, range(1, 60))) == pytest.approx(1.0)


def test_looks_are_at_n_2n_and_4n_of_the_first():
    asked = design(1, 5)
    assert stages(asked, []) == (5, 10, 20)
    later = dataclasses.replace(asked, seeds=10)
    printed = [InterimAnalysis(1, 5, ("a0",), question(asked))]
    assert stages(later, printed) == (5, 10, 20)
    assert next_seeds(asked, printed) == 10
    assert next_seeds(later, printed) == 20
    assert next_seeds(dataclasses.replace(asked, seeds=20), printed) is None


@pytest.mark.parametrize("seeds", [3, 6, 8, 40])
def test_seeds_without_a_planned_verdict_are_refused(seeds):
    printed = [InterimAnalysis(1, 5, ("a0",), question(design(1, 5)))]
    with pytest.raises(StudyError, match=r"--seeds 5, --seeds 10, --seeds 20.*\[not-a-look\]"):
        stages(design(1, seeds), printed)


def test_the_first_look_begins_with_one_contender_and_the_next_ones_wait_for_all():
    asked, world = design(2, 3), at_optimum(1, 1, 1)
    done = run(asked, world)
    assert look_now(asked, done[:5], []) is None  # still tuning
    tuning = sum(trial.key.stage == "tune" for trial in done)
    lead = tuning + 2 * 3 * 3  # the baseline and one contender at three rates on three seeds
    assert look_now(asked, done[: lead - 1], []) is None
    first = InterimAnalysis(1, 3, ("a0", "a1"), question(asked))  # the other contender counts in the correction
    assert look_now(asked, done[:lead], []) == look_now(asked, done, []) == first
    assert look_now(asked, done, [first]) == first
    more = dataclasses.replace(asked, seeds=6)
    further = run(more, world, done, [first])
    assert look_now(more, further[:-1], [first]) == first  # the second is not complete: the first holds
    assert look_now(more, further, [first]) == InterimAnalysis(2, 6, ("a0", "a1"), question(more))


def test_a_repeated_question_is_the_same_look_and_another_question_is_a_new_one():
    asked, world = design(2, 3), at_optimum(1, 1, 1, 1)
    done = run(asked, world)
    first = look_now(asked, done, [])
    assert look_now(asked, done, [first]) == first
    assert look_now(design(1, 3), done, [first]) == first  # one left out does not make the others more certain
    for other in ({"delta": 0.5}, {"at": "best"}, {"alpha": 0.1}, {"factors": (0.25, 1.0, 4.0, 16.0)}):
        changed = dataclasses.replace(asked, **other)
        look = look_now(changed, run(changed, world, done), [first])
        assert (look.number, look.seeds) == (2, 3), other
    added = design(3, 3)
    assert look_now(added, run(added, world, done), [first]) == InterimAnalysis(
        2, 3, ("a0", "a1", "a2"), question(added)
    )

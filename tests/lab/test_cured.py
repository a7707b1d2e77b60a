"""When a cure holds: fewer units dead on the same seeds, few enough, and a metric that is not worse."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from relume.artifacts.trial import BASELINE, Contender, Trial, TrialKey
from relume.artifacts.tried import Fixed, SourceEdit
from relume.errors import NothingToCompare
from relume.lab.judging.cured import CureTerms, delta_of, demand_pairs, hopeless, least_seeds, tried
from relume.reports.run.fix import render

CURE = Contender("clip:1", parameters={"norm": 1.0}, treatment="clip")


def runs(name, shares, values, status="finished"):
    """One trial a seed, with this dead share and this accuracy."""
    return [
        Trial(TrialKey(name, seed, 1.0, "confirm"), status, {"acc": ((0.0, float(v)),)}, dead_share=d, seconds=2.0)
        for seed, (d, v) in enumerate(zip(shares, values, strict=True))
    ]


def terms(**other):
    return CureTerms(
        **{"metric": "acc", "mode": "max", "at": "last", "delta": 0.02, "max_dead": 0.01, "candidates": 6} | other
    )


BEFORE = [0.3, 0.25, 0.4, 0.35, 0.3, 0.28, 0.33, 0.31]
ACCURACY = [0.90, 0.91, 0.92, 0.90, 0.91, 0.93, 0.90, 0.92]


def outcome(after, values, base=None, **other):
    base = base or runs(BASELINE, BEFORE, ACCURACY)
    return tried(CURE, base, runs("clip:1", after, values), terms(**other), 8)


def test_a_cure_that_leaves_no_unit_dead_and_the_metric_unchanged_passes():
    found = outcome([0.0] * 8, ACCURACY)
    assert (found.outcome, found.why, found.pairs) == ("cured", "", 8)
    assert found.dead == (pytest.approx(np.mean(BEFORE)), 0.0)
    assert found.cost == 1.0


def test_of_an_activation_whose_units_cannot_die_the_metric_is_the_proof():
    leaky = Contender("leaky_relu:0.1", "leaky_relu", {"negative_slope": 0.1})
    after = [replace(run, silent_share=0.25) for run in runs(leaky.name, [0.0] * 8, ACCURACY)]
    found = tried(leaky, runs(BASELINE, BEFORE, ACCURACY), after, terms(), 8)
    assert (found.outcome, found.cannot_die, found.silent) == ("cured", True, 0.25)
    relu6 = Contender("relu6", "relu6")
    assert not tried(relu6, runs(BASELINE, BEFORE, ACCURACY), after, terms(), 8).cannot_die
    shown = Fixed("t.py", (), "acc", "max", 0.02, 0.01, 8, 0.01, (found,), edit=SourceEdit(why="none"))
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(shown))
    text = " ".join(console.export_text().split())
    assert "31.5 % → cannot die" in text
    assert "a unit of leaky_relu:0.1 has a slope below 0 and cannot die, so the proof is acc: 0.9113 → 0.9113" in text
    assert "leaky_relu:0.1: 25 % of its units are below 0 on all data." in text


def test_a_cure_that_does_nothing_is_never_accepted():
    found = outcome(BEFORE, ACCURACY, max_dead=0.9)
    assert found.outcome == "no effect"
    assert found.p_dead == 1.0


def test_a_cure_that_costs_quality_is_worse():
    assert outcome([0.0] * 8, [v - 0.1 for v in ACCURACY]).outcome == "worse"


def test_less_is_better_if_the_metric_is_a_loss():
    assert outcome([0.0] * 8, [v - 0.1 for v in ACCURACY], mode="min").outcome == "cured"
    assert outcome([0.0] * 8, [v + 0.1 for v in ACCURACY], mode="min").outcome == "worse"


def test_a_cure_that_leaves_units_dead_is_at_best_a_reduction():
    found = outcome([0.05] * 8, ACCURACY)
    assert found.outcome == "fewer"
    assert found.why == "5 % of the units are still dead; --max-dead 5% would accept that"
    assert "acc may be worse" in outcome([0.05] * 8, [v - 0.1 for v in ACCURACY]).why


def test_a_run_without_a_value_fails_the_cure_and_one_of_the_script_counts_as_its_worst():
    assert outcome([0.0] * 8, [math.nan, *ACCURACY[1:]]).outcome == "failed"
    base = runs(BASELINE, BEFORE, [math.nan, *ACCURACY[1:]])
    assert outcome([0.0] * 8, ACCURACY, base).outcome == "cured"


def crashed(trials, *seeds):
    """The same trials; those at these seeds raised before they were done."""
    return [replace(t, status="failed", error="IndexError: row 9") if t.key.seed in seeds else t for t in trials]


def test_a_cure_is_not_blamed_for_a_seed_at_which_the_script_itself_fails():
    lost = [math.nan, math.nan, *ACCURACY[2:]]
    base = crashed(runs(BASELINE, [0.0, None, *BEFORE[2:]], lost), 0, 1)
    alike = crashed(runs("clip:1", [0.5, None, *[0.0] * 6], lost), 0, 1)
    assert hopeless(base, alike[:2], terms()) == ""
    found = tried(CURE, base, alike, terms(candidates=2), 8)
    assert (found.outcome, found.pairs, found.failed) == ("cured", 6, 0)
    assert found.dead == (pytest.approx(np.mean(BEFORE[2:])), 0.0)
    mends = tried(CURE, base, runs("clip:1", [0.0] * 8, ACCURACY), terms(candidates=2), 8)
    assert (mends.outcome, mends.pairs) == ("cured", 8)
    its_own = crashed(runs("clip:1", [0.0] * 8, [*ACCURACY[:7], math.nan]), 7)
    assert tried(CURE, base, its_own, terms(candidates=2), 8).outcome == "failed"


def test_a_script_that_fails_at_too_many_seeds_is_refused_with_the_error_and_the_seeds_it_takes():
    base = runs(BASELINE, BEFORE, ACCURACY)
    demand_pairs(crashed(base, 4), 6)
    demand_pairs([replace(trial, status="diverged") for trial in base], 6)
    with pytest.raises(NothingToCompare, match=r"failed in 2 of 8 runs.*IndexError: row 9.*the other 6.*--seeds 10"):
        demand_pairs(crashed(base, 1, 4), 6)
    with pytest.raises(NothingToCompare, match=r"failed in 8 of 8 runs.*so there is nothing to compare with"):
        demand_pairs(crashed(base, *range(8)), 1)


def test_without_a_delta_the_scripts_own_spread_is_the_limit():
    base = runs(BASELINE, BEFORE, ACCURACY)
    assert delta_of(base, terms(delta=None)) == pytest.approx(np.std(ACCURACY, ddof=1))


def test_a_metric_without_spread_does_not_forbid_every_cure():
    base = runs(BASELINE, BEFORE, [1.0] * 8)
    assert delta_of(base, terms(delta=None)) == 0.01
    assert outcome([0.0] * 8, [1.0] * 8, base, delta=None).outcome == "cured"
    assert outcome([0.0] * 8, [0.98] * 8, base, delta=None).outcome == "worse"


def test_failed_runs_are_reported_with_their_reason():
    cured, broken = runs("clip:1", [0.0] * 8, ACCURACY), runs("clip:1", [None], [math.nan], "failed")
    broken = [replace(broken[0], error="NameError: name 'loss' is not defined")]
    found = tried(CURE, runs(BASELINE, BEFORE, ACCURACY), [*broken, *cured[1:]], terms(), 8)
    assert found.why == "1 of its 8 runs failed (NameError: name 'loss' is not defined)"


def test_a_cure_is_given_up_only_after_two_runs_that_show_it_hopeless():
    base = runs(BASELINE, BEFORE, ACCURACY)
    assert hopeless(base, runs("clip:1", [0.3], [0.9]), terms()) == ""
    assert "more than half" in hopeless(base, runs("clip:1", [0.3, 0.2], [0.9, 0.9]), terms())
    assert hopeless(base, runs("clip:1", [0.1, 0.1], [0.9, 0.9]), terms()) == ""
    assert "failed" in hopeless(base, runs("clip:1", [None, None], [0.9, 0.9], "failed"), terms())
    found = tried(CURE, base, runs("clip:1", [0.3, 0.2], [0.9, 0.9]), terms(), 8)
    assert (found.outcome, found.pairs) == ("given up", 2)


def test_the_default_seeds_are_enough_for_all_cures():
    assert least_seeds(12) <= 8
    assert least_seeds(1) == 5


def test_at_most_one_in_twenty_searches_accepts_a_cure_that_does_nothing():
    """The dead share varies from run to run whatever is done; 2,000 searches through 6 cures, two standard errors."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        base = runs(BASELINE, rng.beta(2, 6, 8), ACCURACY)
        found += any(
            tried(CURE, base, runs("clip:1", rng.beta(2, 6, 8), ACCURACY), terms(max_dead=1.0), 8).outcome == "cured"
            for _ in range(6)
        )
    assert found / 2000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)

"""Which cures a plan proposes: by the causes of the deaths, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relume.artifacts.audited import NO_GRADIENT, SHUT, ZERO
from relume.artifacts.findings import Cause, Findings, Judged
from relume.artifacts.recording import Site
from relume.doctor.causes import KINDS
from relume.doctor.cures import CURES
from relume.doctor.plan import advised, demand_script, in_a_run, plan
from relume.errors import PlanError

FOR = {
    "large update": {"lower_rate", "revive_units", "swap_activation"},
    "weight drift": {"lower_rate", "revive_units", "swap_activation"},
    "bias drift": {"lower_rate", "revive_units", "swap_activation"},
    "input change": {"lower_rate", "revive_units", "swap_activation"},
    "weight decay": {"spare_from_decay", "revive_units", "swap_activation"},
    "normalization collapse": {"spare_from_decay", "revive_units", "swap_activation"},
    "input offset": {"normalize_input", "revive_units", "swap_activation"},
    "born dead": {"initialize_anew", "revive_units", "swap_activation"},
    "unknown": {"revive_units", "swap_activation"},
    "upstream cascade": set(),
    "constant zero input": set(),
    "frozen": set(),
    "non-finite": set(),
}
"""The cures of each cause."""


def judged(kinds, activation="relu", **facts):
    """A site of 10 units, of which unit n died of the n-th of these causes."""
    site = Site("Net.a@t.py:3", "Net", "a", "nn.ReLU", "t.py", 3, activation, {}, "fc", 1, 10, False, 0)
    dead = tuple(range(len(kinds)))
    cause = {unit: Cause(kind, f"evidence {unit}") for unit, kind in enumerate(kinds)}
    empty = dict.fromkeys(("rare", "always_on", "stuck_high", "one_sided", "saturated", "dormant", "non_finite"), ())
    return Judged(
        site=site, steps=100, examples=900, samples=900, total_examples=900, provisional=False, dead=dead, born_dead=(),
        firing_rate=(0.5,) * 10, last_fired=(9,) * 10, events=(), cause=cause, **empty, **facts,
    )  # fmt: skip


def planned(*sites, **run):
    facts = {"script": "my train.py", "argv": ["--lr", "1"], "steps": 100} | run
    return plan(Findings(facts, sites, ()), "run.relume")


def test_every_cause_is_in_the_table():
    assert set(FOR) == set(KINDS)


def test_a_site_in_a_compiled_graph_is_not_to_be_revived():
    site = judged(["unknown"])
    made = planned(replace(site, site=replace(site.site, compiled=True)))
    assert {action.cure for action in made.actions} == {"swap_activation"}


@pytest.mark.parametrize("kind", FOR)
def test_a_cause_has_its_cures_and_no_others(kind):
    made = planned(judged([kind]))
    assert {action.cure for action in made.actions} == FOR[kind]
    assert [entry.units for entry in made.open] == ([] if FOR[kind] else [(0,)])


def test_a_cure_covers_only_the_units_of_its_cause():
    made = planned(judged(["born dead", "large update", "upstream cascade", "large update"]))
    units = {action.cure: action.units for action in made.actions}
    assert units == {
        "lower_rate": (1, 3),
        "initialize_anew": (0,),
        "revive_units": (0, 1, 3),
        "swap_activation": (0, 1, 3),
    }
    assert [(entry.units, entry.why) for entry in made.open] == [((2,), "their input is dead: cure that site first")]


def test_an_action_lists_the_runs_evidence_first_and_then_published_evidence():
    action = planned(judged(["large update", "weight drift"])).actions[0]
    assert action.evidence[0] == "unit 0: evidence 0"
    assert len(action.evidence) > 1
    assert action.why == "large update 1, weight drift 1"


def test_the_command_runs_the_script_with_its_arguments():
    lower, revive, swap = planned(judged(["large update"])).actions
    assert lower.check == "relume run --out after.relume 'my train.py' --lr 1 && relume diff run.relume after.relume"
    assert revive.check.startswith("relume run --revive --out after.relume 'my train.py' --lr 1 && relume diff")
    assert swap.check == "relume compare --with leaky_relu:0.1,elu --only t.py:3 'my train.py' --lr 1"


def test_a_site_that_is_not_a_relu_is_not_swapped():
    assert [action.cure for action in planned(judged(["unknown"], "prelu")).actions] == []


def test_an_input_far_off_its_mean_asks_for_a_normalization_if_no_cause_is_known():
    made = planned(judged(["unknown", "large update"], statistics={"offset": 8.0}))
    assert next(action.units for action in made.actions if action.cure == "normalize_input") == (0,)


def test_the_site_that_lost_most_comes_first():
    small = replace(judged(["large update"]), site=replace(judged([]).site, key="small"))
    assert [action.site for action in planned(small, judged(["large update"] * 3)).actions][:3] == ["Net.a@t.py:3"] * 3


def test_a_checkpoint_gets_only_the_cures_that_its_weights_support():
    made = planned(judged([SHUT, ZERO, NO_GRADIENT], activation=""), audited=["a.pt"])
    assert [(action.cure, action.units) for action in made.actions] == [("spare_from_decay", (0,))]
    assert made.actions[0].check == "relume audit CHECKPOINT"
    assert [entry.units for entry in made.open] == [(1, 2)]


def test_a_run_without_dead_units_has_an_empty_plan():
    made = planned(judged([]))
    assert (made.actions, made.open) == ((), ())


@pytest.mark.parametrize("cure", CURES, ids=lambda cure: cure.name)
def test_settings_are_named_in_the_sentence_that_says_what_to_do(cure):
    found = [action for kind in (*FOR, SHUT) for action in planned(judged([kind])).actions if action.cure == cure.name]
    assert found
    assert all(f"{{{name}}}" in cure.changes for name in found[0].settings)


def test_a_run_applies_a_plan_and_names_the_actions_that_it_skips():
    made = planned(judged(["large update", "weight decay"]))
    swaps, treatments, left = in_a_run(made, "plan.json")
    assert swaps == ["Net.a@t.py:3=leaky_relu:0.1"]
    assert treatments == ["lr:0.5", "no_decay", "revive:gaps"]
    assert left == []


def test_settings_that_a_person_changed_are_applied():
    lower, *_ = planned(judged(["large update"])).actions
    made = replace(planned(judged([])), actions=(replace(lower, settings={"factor": 0.25}),))
    assert in_a_run(made, "plan.json")[1] == ["lr:0.25"]


def test_a_plan_of_another_script_is_refused():
    with pytest.raises(PlanError, match=r"plan of my train.py, not of other.py.*\[plan-of-another\]"):
        demand_script(planned(judged(["unknown"])), "plan.json", "other.py")
    demand_script(planned(judged(["unknown"])), "plan.json", "elsewhere/my train.py")


def test_a_plan_that_a_run_cannot_apply_is_refused():
    lower, *_ = planned(judged(["born dead"])).actions
    with pytest.raises(PlanError, match=r"By hand: initialize the layer.*\[plan-without-actions\]"):
        in_a_run(replace(planned(judged([])), actions=(lower,)), "plan.json")


def test_advice_names_each_cure_with_its_units_and_its_evidence():
    site = judged(["born dead", "large update", "large update"])
    lower, revive, swap = advised(site, (1, 2))
    assert (lower.cure, lower.units, lower.evidence[0]) == ("lower_rate", 2, "unit 1: evidence 1")
    assert lower.changes.startswith("multiply the learning rate by 0.5")
    assert "0.60 with units revived" in revive.evidence[1]
    assert (swap.cure, swap.units) == ("swap_activation", 2)
    assert advised(site, (9,)) == ()

"""A cause is claimed only if the terms that were kept are those of the death."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from relume.artifacts.recording import Clock, Count, Death, Recording, Site, SiteRecord
from relume.doctor.causes import causes, explain
from relume.doctor.diagnosis import diagnose

DEATH = Death(
    unit=1, before=40, after=44, level_first=2.0, level_before=1.0, level_after=-1.0, by_weight=-1.9, by_bias=-0.1,
    by_input=0.0, luck=0.0, leap=6.0, path=8.0, shrinking=0.0, weight_first=1.0, weight_after=1.0, bias_first=0.0,
    bias_after=-0.1, bias_falls=0.5, input_after=1.0, offset_before=1.0, offset_after=1.0, rate_before=0.1,
    rate_after=0.1, decay=0.0, kind="linear", trained=True, upstream=-1,
)  # fmt: skip


def record(death, *, first=0, last=43):
    zero = np.zeros(3, np.int64)
    made = SiteRecord.new(Site("net.1@x.py:8", "Net", "1", "nn.ReLU", "x.py", 8, "relu", {}, "0", 1, 3, False, 0))
    made.total = Count(50, 500, 500, zero, zero, np.zeros(3))
    made.first_fired, made.last_fired = np.full(3, first), np.full(3, last)
    made.deaths = {} if death is None else {1: death}
    return made


@pytest.mark.parametrize(
    ("death", "seen", "kind"),
    [
        (DEATH, {}, "large update"),
        (None, {}, "unknown"),
        (None, {"first": -1, "last": -1}, "born dead"),
        (DEATH, {"last": 44}, "unknown"),  # a look that kept no terms saw it fire again
        (DEATH, {"last": 60}, "unknown"),
        (DEATH._replace(before=-1), {}, "unknown"),  # as it did before the first look that kept them
        (DEATH._replace(before=-1), {"first": -1, "last": -1}, "born dead"),
        (DEATH._replace(level_before=float("inf")), {}, "non-finite"),
        (DEATH._replace(path=float("nan")), {}, "non-finite"),
    ],
)
def test_a_cause_claims_only_what_its_terms_saw(death, seen, kind):
    site = record(death, **seen)
    (cause,) = causes(site, [1], [site]).values()
    assert cause.kind == kind
    assert cause.says


def test_the_reason_for_an_unknown_cause_is_given():
    far, unlike = record(None), record(None)
    far.statistics = {"offset": 1.0}
    assert "--every 1" in causes(far, [1], [far])[1].says
    assert "--every 1" not in causes(unlike, [1], [unlike])[1].says


def test_deaths_in_a_compiled_graph_are_listed_as_not_explained_and_births_are_not():
    died, born = record(None), record(None, first=-1, last=-1)
    for made in (died, born):
        made.site = replace(made.site, compiled=True)
        made.window = made.total = Count(50, 500, 500, np.array([5, 0, 5]), np.zeros(3, np.int64), np.ones(3))
    found = [
        diagnose(Recording({}, [Clock(0, "SGD", "optimizer", 60, 60)], [made], [], [], [])) for made in (died, born)
    ]
    assert [findings.sites[0].cause[1].kind for findings in found] == ["unknown", "born dead"]
    assert "compiled graph" in found[0].sites[0].cause[1].says
    assert [[what for what, _, _ in findings.not_observed] for findings in found] == [["the causes of deaths"], []]


def test_parameters_that_moved_no_further_than_usual_made_no_large_update():
    assert explain(changed(leap=4.9)).kind == "weight drift"
    assert explain(changed(leap=5.1)).kind == "large update"
    assert explain(changed(leap=float("inf"))).kind == "weight drift"  # nothing is known of what is usual
    assert explain(changed(leap=float("nan"))).kind == "weight drift"
    assert explain(changed(by_weight=0.0, by_input=-1.9)).kind == "input change"


def test_the_difference_between_two_batches_of_the_same_data_is_not_a_change_of_the_input():
    by_luck = changed(leap=1.0, by_weight=-0.5, by_bias=0.0, by_input=-1.5)
    assert explain(by_luck._replace(luck=0.3)).kind == "input change"
    assert explain(by_luck._replace(luck=0.4)).kind == "weight drift"


def test_a_unit_is_frozen_if_its_weights_never_moved_or_nothing_moves_them():
    by_input = changed(by_weight=0.0, by_bias=0.0, by_input=-2.0)
    assert explain(by_input).kind == "input change"
    assert explain(by_input._replace(path=0.0)).kind == "frozen"
    assert explain(by_input._replace(trained=False)).kind == "frozen"


def test_the_evidence_gives_each_terms_amount_and_omits_zero_terms():
    says = explain(changed(leap=1.0, by_weight=-3.4, by_bias=-0.01, by_input=1.4)).says
    assert says == (
        "from step 40 to 44 its largest pre-activations fell from 1 to −1: −3.4 by its weights, +1.4 by its input"
    )


@pytest.mark.parametrize(("leap", "told"), [(7.6, " 7.6 times"), (1151.0, " 1,151 times")])
def test_the_size_of_an_update_is_a_readable_number(leap, told):
    assert told in explain(changed(leap=leap)).says


def test_a_large_update_names_the_learning_rates_on_both_sides_of_it():
    assert "between two looks at learning rate 0.1;" in explain(DEATH).says
    assert "between two looks at learning rate 0.1 to 1.5;" in explain(changed(rate_after=1.5)).says


def test_the_number_from_theory_for_a_wide_layer_is_readable():
    born = DEATH._replace(before=-1)
    assert "below 0.001 for layers this wide" in explain(born, chance=1e-121).says
    assert "up to 0.12 for layers this narrow" in explain(born, chance=0.1234).says


def changed(**numbers):
    return DEATH._replace(**numbers)

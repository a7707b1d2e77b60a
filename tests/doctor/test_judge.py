"""From counts to words, against counts made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.made_records import CLOCK, N, record

from relume.artifacts.findings import died
from relume.artifacts.recording import Count, Rates, Recording
from relume.doctor.diagnosis import diagnose
from relume.doctor.judge import bound, judge
from relume.doctor.rules import RULES


def test_a_silent_unit_is_dead_a_seldom_one_rare_and_one_that_is_never_off_always_on():
    judged = judge(record(), CLOCK)
    assert (judged.dead, judged.born_dead, judged.rare, judged.always_on) == ((0,), (0,), (1,), (3,))
    assert judged.firing_rate == (0.0, 0.005, 0.5, 1.0)
    assert not judged.provisional


def test_a_unit_that_once_fired_is_dead_but_not_born_dead():
    made = record()
    made.first_fired[0] = 3
    made.total = Count(40, 2 * N, 2 * N, np.array([N, 5, 500, N]), made.total.flat, made.total.magnitude)
    judged = judge(made, CLOCK)
    assert judged.dead == (0,)
    assert judged.born_dead == ()


def test_a_rare_unit_must_be_silent_for_longer_than_a_busy_one():
    made = record(fired=(0, 0, 0))
    made.first_fired[:] = 0
    made.total = Count(60, 4 * N, 4 * N, np.array([66, 68, 900]), made.total.flat, made.total.magnitude)
    judged = judge(made, CLOCK)  # e¹² to one: 8 firings on 364 and on 353 samples, and then none on 1,000
    assert judged.dead == (1, 2)
    assert judged.rare == (0,)
    assert judge(made, CLOCK, literal=True).dead == (0, 1, 2)


def test_a_unit_that_fires_in_the_open_bucket_is_not_dead():
    made = record()
    made.open = Count(1, 10, 10, np.array([1, 0, 0, 0]), np.zeros(4, np.int64), np.ones(4))
    assert judge(made, CLOCK).dead == ()


def test_few_examples_make_a_site_provisional_and_its_findings_information():
    judged = judge(record(examples=299), CLOCK)
    assert judged.provisional
    assert {rule.check(judged).severity for rule in RULES if rule.check(judged)} == {"info"}
    assert not judge(record(examples=300), CLOCK).provisional
    assert bound(300) == pytest.approx(0.01)


@pytest.mark.parametrize("activation", ["leaky_relu", "prelu", "rrelu"])
def test_leaky_units_are_one_sided_and_never_dead(activation):
    judged = judge(record(activation), CLOCK)
    assert judged.dead == judged.born_dead == judged.rare == judged.always_on == ()
    assert judged.one_sided == (0, 3)


def test_a_slope_of_zero_makes_a_leaky_unit_a_relu():
    assert judge(record("leaky_relu", negative_slope=0.0), CLOCK).dead == (0,)
    judged = judge(record("prelu", slope=np.array([0.0, 0.1, 0.1, 0.1])), CLOCK)
    assert judged.dead == (0,)
    assert judged.one_sided == (3,)


def test_relu6_at_its_bound_is_stuck_high_and_not_always_on():
    judged = judge(record("relu6", flat=(0, 0, 0, N)), CLOCK)
    assert judged.stuck_high == (3,)
    assert judged.always_on == ()
    assert judged.dead == (0,)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "elu", "selu", "celu"])
def test_smooth_units_on_a_flat_part_are_saturated_and_never_dead(activation):
    judged = judge(record(activation, flat=(N, 0, 989, 990)), CLOCK)
    assert judged.saturated == (0, 3)
    assert judged.dead == judged.always_on == judged.one_sided == ()


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_gelu_and_silu_units_without_slope_are_dead_and_none_is_always_on(activation):
    judged = judge(record(activation), CLOCK)
    assert judged.dead == (0,)
    assert judged.always_on == ()


def test_a_unit_that_is_not_finite_has_no_other_state():
    judged = judge(record(magnitude=(np.nan, np.inf, 500, N)), CLOCK)
    assert judged.non_finite == (0, 1)
    assert judged.dead == ()


def test_dormant_units_are_found_by_redos_score():
    judged = judge(record(fired=(N, N, N, N), magnitude=(1000.0, 1000.0, 1000.0, 18.0)), CLOCK)
    assert judged.dormant == (3,)  # 18 is 0.024 of the mean, 754.5
    judged = judge(record(fired=(N, N, N, N), magnitude=(1000.0, 1000.0, 1000.0, 20.0)), CLOCK)
    assert judged.dormant == ()


def test_findings_are_sorted_by_severity_and_name_site_and_units():
    recording = Recording({"script": "train.py"}, [CLOCK], [record(), record(magnitude=(np.nan, 1, 1, 1))], [], [], [])
    findings = diagnose(recording)
    assert [f.slug for f in findings.findings][:2] == ["non_finite", "born_dead"]
    assert all(f.site == "net.1@train.py:8" and f.units and f.evidence and f.advice for f in findings.findings)


def test_the_dict_is_strict_json_and_has_the_shape_of_the_contract():
    data = diagnose(
        Recording({"script": "train.py"}, [CLOCK], [record()], [], [], [("F.mish", "a.py:3", "why")])
    ).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["schema"] == 1
    assert {"script", "argv", "exit", "steps", "looked", "samples", "overhead"} <= data["run"].keys()
    keys = "id module call source activation unit_axis units examples samples steps provisional axis_assumed"
    lists = "dead born_dead rare always_on stuck_high one_sided saturated dormant firing_rate non_finite"
    rest = "events died_after died_at revived_at cause"
    assert {*keys.split(), *lists.split(), *rest.split()} <= data["sites"][0].keys()
    assert data["not_observed"] == [{"what": "F.mish", "where": "a.py:3", "why": "why"}]


def test_a_site_that_was_never_looked_at_is_left_out():
    unseen = record()
    unseen.total = Count.zero(4)
    assert diagnose(Recording({}, [CLOCK], [unseen], [], [], [])).sites == ()


def test_one_look_proves_values_that_are_not_finite_and_the_first_such_site_is_named():
    sound, first, second = (record(magnitude=(m, 1, 1, 1), examples=100) for m in (1.0, np.nan, np.inf))
    for number, made in enumerate((sound, first, second)):
        made.last_fired = np.array([40, 50, 50, 50])
        made.site = replace(made.site, key=f"{number}", module=f"relu{number}", line=number)
    found = diagnose(Recording({}, [CLOCK], [sound, first, second], [], [], [])).findings
    errors = [f for f in found if f.severity == "error"]
    assert [f.site for f in errors] == ["1", "2"]
    assert errors[0].evidence == "1 of 4 units is NaN or infinite; it began here"
    assert errors[1].evidence == "1 of 4 units is NaN or infinite; it began at relu1 (train.py:1)"
    assert errors[1].advice == "fix relu1 first: this one follows from it"


def test_the_first_site_that_broke_is_named_with_the_learning_rates_around_that_step():
    sites = [record(magnitude=[np.nan] * 4) for _ in range(3)]
    for number, (made, since) in enumerate(zip(sites, (947, 946, 946), strict=True)):
        made.site = replace(made.site, key=f"{number}", module=f"relu{number}", line=number)
        made.non_finite_since = np.array([since, since, since + 5, since])
    rates = [Rates(0, 0, (0.05, 0.1)), Rates(0, 940, (1.5, 0.1)), Rates(1, 941, (7.0,)), Rates(0, 960, (0.05, 0.1))]
    findings = diagnose(Recording({}, [CLOCK], sites, [], [], [], rates))
    errors = [f for f in findings.findings if f.severity == "error"]
    assert [f.site for f in errors] == ["1", "0", "2"]
    assert errors[0].evidence == (
        "all 4 units are NaN or infinite since step 946; it began here, at a learning rate of 1.5 and 0.1 "
        "since step 940 (0.05 and 0.1 before)"
    )
    assert errors[1].evidence == "all 4 units are NaN or infinite since step 947; it began at relu1 (train.py:1)"
    assert findings.to_dict()["sites"][0]["non_finite_since"] == {"0": 947, "1": 947, "2": 952, "3": 947}


def test_a_death_is_dated_between_the_last_firing_step_and_the_first_silent_step():
    made = record(fired=(0, 0, 0, 500))
    made.total = Count(200, 10_000, 10_000, np.array([500, 500, 0, 5_000]), made.window.flat, made.window.magnitude)
    made.first_fired, made.last_fired = np.array([0, 0, -1, 0]), np.array([4, 90, -1, 999])
    made.events = [
        (0, 30, "died"),
        (0, 31, "revived"),
        (0, 20, "died"),
        (1, 116, "died"),
        (2, 0, "died"),
        (3, 5, "died"),
    ]
    made.events.append((3, 9, "revived"))
    findings = diagnose(Recording({}, [CLOCK], [made], [], [], []))
    told = findings.to_dict()["sites"][0]
    assert told["died_after"] == {"0": 4, "1": 90}
    assert told["died_at"] == {"0": 20, "1": 116, "2": 0, "3": 5}
    (dead,) = (f for f in findings.findings if f.slug == "dead_unit")
    assert "2 of 4 units (50 %) did not fire once in the last 1,000 examples" in dead.evidence
    assert "(true rate below 0.3 %, 95 % confidence); died between steps 4 and 116; cause: " in dead.evidence


@pytest.mark.parametrize(
    ("deaths", "said"),
    [([(79, 80)], "died at step 80"), ([(4, 95)], "died between steps 4 and 95"),
     ([(1_000, 1_200), (4, 95)], "died between steps 4 and 1,200")],
)  # fmt: skip
def test_when_units_died_is_an_interval_in_words(deaths, said):
    assert died(deaths) == said


def test_a_unit_that_died_early_is_dead_however_long_its_silence_has_lowered_its_rate():
    made = record(fired=(0, 0, 0, 500))
    made.total = Count(200, 10_000, 10_000, np.array([5, 5, 5, 5_000]), made.window.flat, made.window.magnitude)
    made.first_fired, made.last_fired = np.zeros(4, np.int64), np.array([10, 895, 895, 999])
    made.events = [(0, 11, "died"), (2, 20, "died"), (2, 30, "revived")]
    judged = judge(made, CLOCK)
    assert judged.dead == (0,)
    assert judged.rare == (1, 2)  # 5 firings before, one of 2,000 samples, and none in the 1,000 after

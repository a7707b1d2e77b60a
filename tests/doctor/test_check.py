"""What holds of a run and what does not, against shares counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from helpers import made_records as made

from relume.artifacts.findings import Finding
from relume.artifacts.recording import Recording
from relume.doctor.check import check, rules_named
from relume.doctor.diagnosis import diagnose
from relume.doctor.rules import RULES
from relume.errors import UnknownName

N = made.N


def site(key, dead, units, **options):
    """A site of which so many units are dead, and the others fire on half of the samples."""
    record = made.record(fired=[0] * dead + [N // 2] * (units - dead), **options)
    record.site = replace(record.site, key=key, module=key)
    return record


def run(*records, meta=None, not_observed=()):
    meta = {"script": "train.py", "finished": True} | (meta or {})
    return diagnose(Recording(meta, [made.CLOCK], list(records), [], [], list(not_observed)))


def whats(verdict):
    return [(failure.check, failure.site.key if failure.site else None, failure.units) for failure in verdict.failures]


@pytest.mark.parametrize(
    ("dead", "most", "holds"),
    [(1, 0.01, True), (2, 0.01, False), (0, 0.0, True), (1, 0.0, False), (29, 0.29, True), (30, 0.29, False)],
)
def test_a_run_passes_up_to_the_share_and_fails_above_it(dead, most, holds):
    verdict = check(run(site("a", dead, 60), site("b", 0, 40)), max_dead=most)
    assert verdict.holds is holds
    assert (verdict.dead, verdict.judged) == (dead, 100)
    assert whats(verdict) == ([] if holds else [("max_dead", None, dead)])


@pytest.mark.parametrize("units", [3, 7, 100, 144, 1000])
def test_a_share_that_is_met_exactly_passes(units):
    for dead in range(0, units + 1, max(units // 50, 1)):
        share = float(Fraction(dead, units))
        assert check(run(site("a", dead, units)), max_dead=share).holds
        if dead:
            assert not check(run(site("a", dead, units)), max_dead=float(Fraction(dead - 1, units))).holds


def test_per_site_each_site_is_checked_against_the_share():
    findings = run(site("a", 3, 10), site("b", 0, 1000), site("c", 1, 10))
    assert check(findings, max_dead=0.1).holds
    assert whats(check(findings, max_dead=0.1, per_site=True)) == [("max_dead", "a", 3)]
    assert check(findings, max_dead=0.3, per_site=True).holds


def test_without_a_share_and_a_rule_it_is_one_percent_of_all_units():
    assert check(run(site("a", 1, 100))).max_dead == 0.01
    assert not check(run(site("a", 2, 100))).holds


def test_a_rule_without_a_share_checks_no_share():
    verdict = check(run(site("a", 50, 100)), fail_on=["non_finite"])
    assert verdict.holds
    assert verdict.max_dead is None


def test_a_provisional_site_next_to_a_judged_one_does_not_fail_and_is_not_counted_in_the_share():
    few = site("few", 10, 10, examples=299)
    verdict = check(run(site("a", 0, 90), few), max_dead=0.0, fail_on=["RLM001", "RLM002"])
    assert verdict.holds
    assert (verdict.dead, verdict.judged, verdict.units) == (0, 90, 100)
    assert verdict.provisional == ("few",)
    assert "1 of 2 sites" in verdict.notes[0]
    thinned = check(run(site("a", 2, 100), site("few", 0, 900, examples=299)), max_dead=0.01)
    assert not thinned.holds, "units that were not judged must not thin out the dead ones"


def test_a_rule_that_finds_something_fails_with_its_evidence():
    broken = made.record(magnitude=(np.nan, 1, 1, 1))
    broken.site = replace(broken.site, key="broken")
    findings = run(site("a", 0, 10), broken)
    (failure,) = check(findings, fail_on=["non_finite"]).failures
    assert (failure.check, failure.slug, failure.site.key, failure.units, failure.of) == (
        "RLM008", "non_finite", "broken", 1, 4,
    )  # fmt: skip
    assert failure.evidence == "1 of 4 units is NaN or infinite; it began here"
    assert failure.advice


def test_an_error_fails_without_being_named_at_a_provisional_site_too():
    broken = made.record(magnitude=(np.nan,) * 4, examples=100)
    broken.site = replace(broken.site, key="broken")
    assert whats(check(run(site("a", 0, 100), broken))) == [("RLM008", "broken", 4)]
    assert whats(check(run(site("a", 0, 100), broken), fail_on=["dead_unit"])) == [("RLM008", "broken", 4)]
    assert check(run(site("a", 0, 100), site("b", 5, 10)), fail_on=["RLM008"]).holds  # a warning fails if named only


@pytest.mark.parametrize(
    "options", [{}, {"max_dead": 1.0}, {"max_dead": 0.0, "per_site": True}, {"fail_on": ["RLM001"]}]
)
def test_a_run_in_which_nothing_was_judged_fails_with_its_own_message(options):
    (failure,) = check(run(site("few", 0, 10, examples=299), site("fewer", 0, 10, examples=3)), **options).failures
    assert (failure.check, failure.slug, failure.of) == ("judged", "nothing_judged", 20)
    assert "no site was seen on 300 examples (at most 299)" in failure.evidence
    assert failure.evidence.endswith("[nothing-judged]")


def test_a_finding_of_no_site_fails_too():
    findings = run(site("a", 0, 10))
    findings = replace(findings, findings=(Finding("RLM008", "non_finite", "error", "", (), "the loss was nan", "x"),))
    assert whats(check(findings, fail_on=["RLM008"])) == [("RLM008", None, 0)]


def test_share_and_rules_may_both_fail():
    verdict = check(run(site("a", 5, 10)), max_dead=0.1, fail_on=["born-dead"])
    assert whats(verdict) == [("max_dead", None, 5), ("RLM002", "a", 5)]


def test_a_run_in_which_nothing_was_watched_does_not_pass():
    assert whats(check(run())) == [("judged", None, 0)]
    assert whats(check(run(), fail_on=["non_finite"])) == [("judged", None, 0)]


def test_the_worst_site_comes_first():
    verdict = check(run(site("a", 1, 2), site("b", 9, 90), site("c", 9, 10)), max_dead=0.1)
    assert [(d.site.key, d.dead) for d in verdict.dead_sites] == [("c", 9), ("b", 9), ("a", 1)]


@pytest.mark.parametrize(
    ("meta", "word"),
    [({"finished": False}, "not finished, or it was cut off"), ({"fault": "E: x"}, "the watching ended early: E: x")],
)
def test_notes_say_what_weakens_the_verdict(meta, word):
    assert any(word in note for note in check(run(site("a", 0, 10), meta=meta)).notes)
    assert check(run(site("a", 0, 10))).notes == ()
    assert "2 things" in check(run(site("a", 0, 10), not_observed=[("x", "y", "z")] * 2)).notes[0]


# ---- names of rules ----


def test_rules_are_named_by_code_or_name_in_any_writing():
    names = ["RLM008", "dead_unit", "rlm002", "Stuck-High", " rare_unit ", "RLM001"]
    assert [rule.code for rule in rules_named(names)] == ["RLM001", "RLM002", "RLM003", "RLM006", "RLM008"]


@pytest.mark.parametrize(
    ("wrong", "near"), [("deadunit", "'dead_unit'"), ("RLM0001", "'RLM001'"), ("non-finit", "'non_finite'")]
)
def test_an_unknown_rule_lists_the_nearest_and_all_rules(wrong, near):
    with pytest.raises(UnknownName, match=f"no rule '{wrong}'. Did you mean {near}") as caught:
        rules_named([wrong])
    assert caught.value.slug == "unknown-rule"
    assert all(f"{rule.code} {rule.name}" in str(caught.value) for rule in RULES)


def test_the_dict_is_strict_json():
    data = check(run(site("a", 5, 10), site("f", 1, 2, examples=10)), fail_on=["RLM002"], max_dead=0.01).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["schema"], data["holds"], data["share"], data["fail_on"]) == (1, False, 0.5, ["RLM002"])
    assert data["provisional"] == ["f"]
    assert data["dead_sites"] == [{"site": "a", "source": "train.py:8", "dead": 5, "units": 10}]
    assert [(f["check"], f["site"], f["source"]) for f in data["failures"]] == [
        ("max_dead", None, None), ("RLM002", "a", "train.py:8"),
    ]  # fmt: skip

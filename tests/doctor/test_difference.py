"""Two runs side by side, against differences planted by hand."""

from __future__ import annotations

import json
from dataclasses import replace

from helpers import made_records as made

from relume.artifacts.recording import Clock, Recording
from relume.doctor.diagnosis import diagnose
from relume.doctor.difference import differ

N = made.N


def site(key, fired, activation="relu", **changes):
    examples = changes.pop("examples", N)
    record = made.record(activation, fired, examples=examples)
    record.site = replace(record.site, **{"key": key, "module": key} | changes)
    return record


def run(*records, overhead=0.02, steps=100):
    clock = Clock(0, "SGD", "optimizer", steps, 20)
    meta = {"script": "train.py", "finished": True, "overhead": overhead}
    return diagnose(Recording(meta, [clock], list(records), [], [], []))


def test_units_that_died_and_units_that_lived_are_distinguished():
    (shift,) = differ(run(site("a", [0, 0, 500, N])), run(site("a", [0, 400, 0, N]))).shifts
    assert (shift.dead, shift.died, shift.lived) == ((2, 2), (2,), (1,))


def test_firing_rates_are_compared_by_the_median_and_by_the_unit_that_shifted_most():
    (shift,) = differ(run(site("a", [100, 200, 300])), run(site("a", [110, 200, 100]))).shifts
    assert shift.rate == (0.2, 0.11)
    assert (shift.most_shifted, shift.largest) == (2, -0.2)
    (same,) = differ(run(site("a", [100, 200])), run(site("a", [100, 200]))).shifts
    assert (same.most_shifted, same.largest) == (None, 0.0)


def test_sites_in_only_one_run_are_lost_or_new():
    difference = differ(run(site("a", [1]), site("b", [1])), run(site("c", [1]), site("b", [1])))
    assert [shift.site.key for shift in difference.shifts] == ["b"]
    assert [s.key for s in difference.lost] == ["a"]
    assert [s.key for s in difference.new] == ["c"]
    assert difference.comparable


def test_a_site_whose_line_moved_is_found_by_its_module_and_layer():
    before = run(site("net.1@t.py:8", [0, N], module="1"), site("net.2@t.py:9", [5], module="2"))
    after = run(site("net.2@t.py:11", [7], module="2", line=11), site("net.1@t.py:10", [N, N], module="1", line=10))
    difference = differ(before, after)
    assert [(s.site.key, s.other.key) for s in difference.shifts] == [
        ("net.1@t.py:8", "net.1@t.py:10"), ("net.2@t.py:9", "net.2@t.py:11"),
    ]  # fmt: skip
    assert difference.shifts[0].lived == (0,)
    assert difference.lost == difference.new == ()


def test_a_key_goes_before_a_place_and_no_site_is_matched_twice():
    before = run(site("x@1", [1], module="m"), site("x@2", [2], module="m"))
    after = run(site("x@2", [3], module="m"), site("x@3", [4], module="m"))
    difference = differ(before, after)
    assert [(s.site.key, s.other.key) for s in difference.shifts] == [("x@1", "x@3"), ("x@2", "x@2")]
    difference = differ(before, run(site("x@3", [4], module="m")))
    assert [(s.site.key, s.other.key) for s in difference.shifts] == [("x@1", "x@3")]
    assert [s.key for s in difference.lost] == ["x@2"]


def test_units_of_another_number_are_counted_and_not_matched():
    (shift,) = differ(run(site("a", [0, 0, N])), run(site("a", [0, N]))).shifts
    assert (shift.dead, shift.died, shift.lived, shift.most_shifted) == ((2, 1), None, None, None)


def test_an_activation_that_was_changed_is_the_same_site():
    (shift,) = differ(run(site("a", [0, N])), run(site("a", [0, N], "leaky_relu", call="nn.LeakyReLU"))).shifts
    assert (shift.dead, shift.lived) == ((1, 0), (0,))
    assert (shift.site.activation, shift.other.activation) == ("relu", "leaky_relu")


def test_a_site_that_is_provisional_in_one_run_is_marked():
    (shift,) = differ(run(site("a", [0])), run(site("a", [0], examples=100))).shifts
    assert shift.provisional
    (shift,) = differ(run(site("a", [0])), run(site("a", [0]))).shifts
    assert not shift.provisional


def test_both_runs_are_summed_up():
    difference = differ(run(site("a", [0, N]), site("b", [0, 0]), overhead=0.01), run(overhead=None, steps=7))
    before, after = difference.before, difference.after
    assert (before.sites, before.units, before.dead, before.share, before.overhead) == (2, 4, 3, 0.75, 0.01)
    assert (before.steps, before.looked) == (100, 20)
    assert (after.sites, after.units, after.share, after.overhead, after.steps) == (0, 0, 0.0, None, 7)


def test_runs_without_a_common_site_cannot_be_compared():
    difference = differ(run(site("a", [1])), run(site("b", [1])))
    assert not difference.comparable
    assert difference.to_dict()["comparable"] is False


def test_the_dict_is_strict_json():
    data = differ(run(site("a", [0, 5]), site("l", [1])), run(site("a", [5, 0]), site("n", [1]))).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["schema"] == 1
    assert (data["sites"][0]["died"], data["sites"][0]["lived"]) == ([1], [0])
    assert (data["lost"], data["new"]) == (["l"], ["n"])

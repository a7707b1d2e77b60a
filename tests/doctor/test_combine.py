"""Recordings of the ranks and children of one run into one, against the histories that they were recorded from.

The recordings are made by the real observer and the real writer, from the planted framework of the observer's tests.
"""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from types import ModuleType

import numpy as np
import pytest
from helpers import planted

from relume.artifacts.parts import Part
from relume.artifacts.reader import read
from relume.artifacts.recording import Count, Death
from relume.artifacts.save import save
from relume.artifacts.writer import RecordingWriter
from relume.doctor.combine import combine
from relume.doctor.diagnosis import diagnose
from relume.framework import Framework
from relume.observe.observer import Observer

BATCH, STEPS, UNITS = planted.BATCH, 400, 4


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Record a rank whose units fire by a history, bool (steps, units); returns its recording and looked-at steps."""
    module = ModuleType("planted_framework")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.Planted = planted.Planted

    def make(history, name="r.relume", facts=None, sites=1, kind="optimizer", finish=True, **options):
        history = np.asarray(history)
        observer = Observer(RecordingWriter(tmp_path / name), **{"every": 1} | options)
        observer.writer.meta(script="train.py", argv=[])
        observer.watch(Framework("Planted", "planted", "planted_framework:Planted"))
        probe = observer._probes[0].plant(
            lambda site, step: history[step], sites=sites, units=history.shape[1], kind=kind
        )
        probe.train(len(history))
        if finish:
            observer.finish(**{"exit": 0} | (facts or {}))
        else:
            observer.write()
            observer.writer.close()
        return read(tmp_path / name), probe.looked

    return make


def alive(steps=STEPS, units=UNITS):
    return np.ones((steps, units), bool)


def silenced(*stretches, steps=STEPS, units=UNITS):
    """A history in which units are silent in stretches (unit, from, to)."""
    history = alive(steps, units)
    for unit, start, end in stretches:
        history[start:end, unit] = False
    return history


def ranks(*recordings):
    return [Part(f"run.rank{n}.relume" if n else "run.relume", n, "", r) for n, r in enumerate(recordings)]


def the_site(recording):
    (site,) = diagnose(recording).sites
    return site


BUCKET = 8


def after(step, planned):
    """A death is known to the bucket: the first that is silent from its first step on."""
    return planned <= step < planned + BUCKET


def in_its_bucket(step, planned):
    """A firing is known to the bucket: the first step of the one that it lies in."""
    return planned - BUCKET < step <= planned


# ---- counts --------------------------------------------------------------------------------------------------------


def test_counts_of_the_ranks_add_up(recorded):
    rng = np.random.default_rng(0)
    one, two = (rng.random((STEPS, UNITS)) < [0.0, 0.3, 0.5, 1.0] for _ in range(2))
    a, b = recorded(one)[0], recorded(two)[0]
    (record,) = combine(ranks(a, b)).sites
    assert record.total.looks == 2 * STEPS
    assert record.total.examples == record.total.samples == 2 * STEPS * BATCH
    assert record.total.fired.tolist() == (BATCH * (one.sum(0) + two.sum(0))).tolist()
    assert record.total.flat.tolist() == (BATCH * ((~one).sum(0) + (~two).sum(0))).tolist()
    assert record.window.examples == a.sites[0].window.examples + b.sites[0].window.examples
    assert record.window.fired.tolist() == (a.sites[0].window.fired + b.sites[0].window.fired).tolist()


def test_first_fired_is_the_earliest_and_last_fired_is_the_latest(recorded):
    one = silenced((0, 0, 200), (1, 0, 400), (2, 100, 400), (3, 0, 400))
    two = silenced((0, 0, 100), (1, 0, 300), (2, 300, 400), (3, 0, 400))
    a, b = recorded(one)[0], recorded(two)[0]
    (record,) = combine(ranks(a, b)).sites
    assert all(in_its_bucket(step, at) for step, at in zip(record.first_fired, (100, 300, 0), strict=False))
    assert record.first_fired[3] == -1
    assert record.last_fired.tolist() == [399, 399, 299, -1]


def test_a_rank_that_never_visited_the_site_has_no_part_in_its_verdict(recorded):
    a = recorded(silenced((0, 100, 400), (1, 100, 200)))[0]
    b = recorded(alive())[0]
    b.sites[0].total = Count.zero(UNITS)
    b.sites[0] = replace(b.sites[0], window=None, open=Count.zero(UNITS), events=[])
    b.sites[0].silent_since = np.full(UNITS, -1)
    site = the_site(combine(ranks(a, b)))
    assert site.dead == (0,)
    assert len(site.events) == 3
    assert sorted(site.events) == sorted(a.sites[0].events)


def test_steps_of_the_run_are_the_steps_of_one_rank_and_not_the_sum(recorded):
    a, b = recorded(alive(), every=2)[0], recorded(alive(), every=3)[0]
    findings = diagnose(combine(ranks(a, b)))
    assert (findings.run["steps"], findings.run["looked"]) == (STEPS, STEPS // 2)
    assert findings.run["samples"] == BATCH * (200 + 134)
    assert len(findings.run["clocks"]) == 1


# ---- dead only where it is silent on all ---------------------------------------------------------------------------


def test_a_unit_is_dead_only_if_it_is_silent_on_all_ranks(recorded):
    a = recorded(silenced((0, 100, 400), (1, 100, 400), (2, 0, 400)))[0]
    b = recorded(silenced((0, 150, 400), (2, 0, 400)))[0]
    assert the_site(a).dead == (0, 1, 2)
    site = the_site(combine(ranks(a, b)))
    assert site.dead == (0, 2)
    assert site.born_dead == (2,)
    assert {unit for unit, _, _ in site.events} == {0, 2}
    died = {unit: step for unit, step, kind in site.events if kind == "died"}
    assert after(died[0], 150)
    assert died[2] == 0


def test_a_unit_that_revives_on_one_rank_has_revived(recorded):
    a = recorded(silenced((0, 100, 400)))[0]
    b = recorded(silenced((0, 120, 300)))[0]
    site = the_site(combine(ranks(a, b)))
    assert site.dead == ()
    (died, revived) = site.events
    assert died[2] == "died"
    assert after(died[1], 120)
    assert revived[2] == "revived"
    assert in_its_bucket(revived[1], 300)


def test_a_silence_shared_for_too_few_examples_is_not_a_death(recorded):
    a = recorded(silenced((0, 100, 118)))[0]  # buckets of 4 steps
    b = recorded(silenced((0, 110, 300)), every=3)[0]  # buckets of 12, looked at in 108 and 111
    assert [step for _, step, _ in the_site(a).events] == [100, 118]
    assert the_site(b).events[0][1] == 111
    assert the_site(combine(ranks(a, b))).events == ()  # 200 examples from 112 to 115


def test_units_are_silent_since_the_last_rank_fell_silent(recorded):
    a = recorded(silenced((0, 100, 400), (1, 100, 400)))[0]
    b = recorded(silenced((0, 200, 400)))[0]
    since = combine(ranks(a, b)).sites[0].silent_since
    assert after(since[0], 200)
    assert since[1:].tolist() == [-1, -1, -1]


def test_a_site_that_no_single_rank_saw_enough_is_judged_on_all_ranks_together(recorded):
    few = silenced((0, 0, 4), steps=4)
    parts = [recorded(few)[0] for _ in range(2)]
    assert the_site(parts[0]).provisional
    assert the_site(parts[0]).events == ()
    site = the_site(combine(ranks(*parts)))
    assert not site.provisional
    assert site.examples == 8 * BATCH
    assert (site.dead, site.events) == ((0,), ((0, 0, "died"),))


def test_windows_of_a_set_length_keep_that_length(recorded):
    a = recorded(silenced((0, 100, 104), (1, 100, 110)), window=2)[0]
    b = recorded(silenced((0, 102, 108)), window=2)[0]
    assert combine(ranks(a, b)).sites[0].events == [(0, 102, "died"), (0, 104, "revived")]


@pytest.mark.parametrize("seed", range(20))
def test_every_death_agrees_with_the_histories_of_all_ranks(recorded, seed):
    rng = np.random.default_rng(seed)
    histories = []
    for _ in range(int(rng.integers(2, 4))):
        stretches = [(unit, *sorted(rng.integers(0, STEPS, 2))) for unit in range(UNITS) for _ in range(2)]
        histories.append(silenced(*stretches) & (rng.random((STEPS, UNITS)) < 0.9))
    seen = [recorded(history, every=int(rng.integers(1, 3))) for history in histories]
    whole = combine(ranks(*(recording for recording, _ in seen)))
    (record,) = whole.sites
    for unit in range(UNITS):
        events = [(step, kind) for number, step, kind in record.events if number == unit]
        assert [kind for _, kind in events] == (["died", "revived"] * len(events))[: len(events)]
        ends = [step for step, kind in events if kind == "revived"] + [STEPS]
        for (start, _), end in zip(events[::2], ends, strict=False):
            looked = [[s for s in steps if start <= s < end] for _, steps in seen]
            fired = [history[steps, unit].any() for history, steps in zip(histories, looked, strict=True)]
            assert not any(fired)
            assert BATCH * sum(map(len, looked)) >= 300
    for unit in the_site(whole).dead:
        assert not any(history[steps[-2:], unit].any() for history, (_, steps) in zip(histories, seen, strict=True))


# ---- sites and clocks that differ ----------------------------------------------------------------------------------


def test_a_site_of_a_single_rank_comes_after_the_others(recorded):
    a, b = recorded(alive())[0], recorded(silenced((1, 0, 400)), sites=2)[0]
    whole = combine(ranks(a, b))
    assert [record.site.key for record in whole.sites] == ["s0", "s1"]
    assert the_keys_dead(whole) == {"s1": (1,)}


def the_keys_dead(recording):
    return {site.site.key: site.dead for site in diagnose(recording).sites if site.dead}


def test_a_shard_of_another_width_is_a_separate_site(recorded):
    a, b = recorded(alive())[0], recorded(alive(units=6))[0]
    whole = combine(ranks(a, b))
    assert [(record.site.key, record.site.units) for record in whole.sites] == [("s0", 4), ("s0@other1", 6)]
    assert {len(record.total.fired) for record in whole.sites} == {4, 6}


def test_learned_slopes_that_differ_keep_the_one_with_which_a_unit_cannot_die(recorded):
    a, b = recorded(alive())[0], recorded(alive())[0]
    a.sites[0].slope = np.array([0.0, 0.0, -0.3, 0.1])
    b.sites[0].slope = np.array([0.0, 0.2, 0.1, 0.1])
    assert combine(ranks(a, b)).sites[0].slope.tolist() == [0.0, 0.2, -0.3, 0.1]
    b.sites[0].slope = None
    assert combine(ranks(a, b)).sites[0].slope.tolist() == [0.0, 0.0, -0.3, 0.1]


def test_the_clock_of_a_single_rank_comes_with_its_windows(recorded):
    a, b = recorded(alive())[0], recorded(alive(), kind="backward")[0]
    whole = combine(ranks(a, b))
    assert [(clock.id, clock.kind) for clock in whole.clocks] == [(0, "optimizer"), (1, "backward")]
    assert {window.clock for window in whole.windows} == {0, 1}
    assert len([w for w in whole.windows if w.clock == 1]) == len(b.windows)


def test_windows_and_timeline_come_from_the_first_rank(recorded):
    a, b = recorded(alive())[0], recorded(alive(200))[0]
    whole = combine(ranks(a, b))
    assert whole.windows == a.windows
    assert whole.timeline == a.timeline


def death(unit, before, after, upstream=-1):
    facts = dict.fromkeys(Death._fields, 0.5)
    whole = {
        "unit": unit,
        "level_after": -0.5,
        "before": before,
        "after": after,
        "kind": "linear",
        "trained": True,
        "upstream": upstream,
    }
    return Death(**facts | whole)


def test_the_death_that_counts_is_the_one_on_the_rank_that_fell_silent_last(recorded):
    a, b = recorded(alive(), sites=2)[0], recorded(alive(), sites=2)[0]
    a.sites[1].deaths = {0: death(0, 90, 100, upstream=0), 1: death(1, 210, 220), 2: death(2, 5, 6)}
    b.sites.reverse()  # this rank has met its sites in another order
    b.timeline = []
    b.sites[0].deaths = {0: death(0, 140, 150, upstream=1), 1: death(1, 110, 120)}
    first, second = combine(ranks(a, b)).sites
    assert first.deaths == {}
    assert {unit: (d.after, d.upstream) for unit, d in second.deaths.items()} == {0: (150, 0), 1: (220, -1), 2: (6, -1)}


# ---- children ------------------------------------------------------------------------------------------------------


def test_children_are_listed_after_the_first_under_their_own_name(recorded):
    first, child = recorded(silenced((0, 0, 400)))[0], recorded(silenced((3, 0, 300), steps=300), sites=2)[0]
    child.sites[1].deaths = {3: death(3, 10, 20, upstream=0)}
    whole = combine([Part("run.relume", 0, "", first), Part("run.child2.relume", 0, "child2", child)])
    assert [record.site.key for record in whole.sites] == ["s0", "child2/s0", "child2/s1"]
    assert [record.site.model for record in whole.sites] == ["Net", "child2/Net", "child2/Net"]
    assert the_keys_dead(whole) == {"s0": (0,), "child2/s0": (3,), "child2/s1": (3,)}
    assert [clock.name for clock in whole.clocks] == ["SGD", "child2/SGD"]
    assert [site.steps for site in diagnose(whole).sites] == [400, 300, 300]
    assert whole.sites[2].deaths[3].upstream == 1
    sites = {number for number, *_ in whole.timeline}
    assert sites == {0, 1, 2}
    assert len(whole.windows) == len(first.windows) + len(child.windows)


def test_the_same_child_of_several_ranks_is_one(recorded):
    first, child = recorded(alive())[0], recorded(silenced((0, 0, 400), (1, 0, 400)))[0]
    other = recorded(silenced((1, 0, 400)))[0]
    whole = combine(
        [
            *ranks(first, first),
            Part("run.child1.relume", 0, "child1", child),
            Part("run.rank1.child1.relume", 1, "child1", other),
        ]
    )
    assert the_keys_dead(whole) == {"child1/s0": (1,)}


# ---- facts ---------------------------------------------------------------------------------------------------------


def test_facts_come_from_the_first_rank_and_the_worst_state_of_any_rank(recorded):
    a = recorded(alive(), facts={"exit": 0})[0]
    b = recorded(alive(), facts={"exit": 3, "fault": "broken"})[0]
    a.meta["overhead"], b.meta["overhead"] = 0.01, 0.04
    meta = combine(ranks(a, b)).meta
    assert (meta["exit"], meta["overhead"], meta["finished"], meta["ranks"]) == (3, 0.04, True, 2)
    assert meta["parts"] == ["run.relume", "run.rank1.relume"]
    assert meta["fault"] == "run.rank1.relume: broken"
    cut = recorded(alive(), finish=False)[0]
    assert combine(ranks(a, cut)).meta["finished"] is False


def test_a_rank_whose_recording_is_absent_is_listed(recorded):
    a, b = recorded(alive(), facts={"ranks": 3})[0], recorded(alive(), facts={"ranks": 3})[0]
    whole = combine(ranks(a, b))
    assert [row[0] for row in whole.not_observed] == ["rank 2"]
    assert whole.meta["ranks"] == 3


def test_a_gap_of_several_ranks_is_listed_once(recorded):
    a, b = recorded(alive())[0], recorded(alive())[0]
    a.not_observed, b.not_observed = [("gelu", "x:1", "w")], [("gelu", "x:1", "w"), ("mish", "x:2", "w")]
    assert combine(ranks(a, b), [("a recording", "f", "why")]).not_observed == [
        ("gelu", "x:1", "w"), ("mish", "x:2", "w"), ("a recording", "f", "why"),
    ]  # fmt: skip


# ---- whole recordings ----------------------------------------------------------------------------------------------


def equal(one, two):
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two)
    if hasattr(one, "__dataclass_fields__"):
        return all(equal(getattr(one, f.name), getattr(two, f.name)) for f in fields(one))
    if isinstance(one, (list, tuple)) and not isinstance(one, str):
        return len(one) == len(two) and all(equal(a, b) for a, b in zip(one, two, strict=True))
    return one == two


def test_a_single_recording_is_not_changed(recorded):
    recording = recorded(alive())[0]
    assert combine(ranks(recording)) is recording


def test_a_recording_that_is_saved_is_read_back_the_same(recorded, tmp_path):
    recording = recorded(silenced((0, 100, 400), (1, 50, 200)), sites=3)[0]
    recording.sites[2].deaths = {1: death(1, 40, 50, upstream=0)}
    recording.sites[1].slope = np.array([0.1, 0.2, 0.3, 0.4])
    recording.not_observed = [("gelu", "x:1", "w")]
    assert recording.timeline
    assert recording.sites[0].events
    save(recording, tmp_path / "again.relume")
    assert equal(read(tmp_path / "again.relume"), recording)


def test_a_combined_recording_is_saved_and_judged_the_same(recorded, tmp_path):
    a, b = recorded(silenced((0, 100, 400)))[0], recorded(silenced((0, 50, 400)), sites=2)[0]
    whole = combine([*ranks(a, b), Part("run.child1.relume", 0, "child1", b)])
    save(whole, tmp_path / "whole.relume")
    assert diagnose(read(tmp_path / "whole.relume")).to_dict() == diagnose(whole).to_dict()


# ---- losses, rates, NaN --------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_of_the_ranks_and_the_rates_are_the_first_ranks(recorded):
    a, b = (recorded(alive(20), name=f"{n}.relume")[0] for n in "ab")
    b.losses = [point._replace(mean=1.5, low=1.5, high=1.5) for point in b.losses]
    whole = combine(ranks(a, b))
    assert [(p.first_step, p.number, p.mean, p.low, p.high) for p in whole.losses] == [
        (step, 2, 1.0, 0.5, 1.5) for step in range(20)
    ]
    assert whole.rates == a.rates == [(0, 0, (0.1,))]


def test_a_unit_is_not_finite_since_the_earliest_step_on_any_rank(recorded):
    a, b = (recorded(alive(20), name=f"{n}.relume")[0] for n in "ab")
    a.sites[0].non_finite_since, b.sites[0].non_finite_since = np.array([-1, 7, 5, -1]), np.array([-1, 6, -1, 9])
    (record,) = combine(ranks(a, b)).sites
    assert record.non_finite_since.tolist() == [-1, 6, 5, 9]


def test_losses_and_rates_of_a_combined_run_are_saved_and_read_back(recorded, tmp_path):
    whole = combine(ranks(*(recorded(alive(20), name=f"{n}.relume")[0] for n in "ab")))
    save(whole, tmp_path / "whole.relume")
    back = read(tmp_path / "whole.relume")
    assert (back.losses, back.rates) == (whole.losses, whole.rates)
    assert back.sites[0].recent.silent.tolist() == whole.sites[0].recent.silent.tolist()

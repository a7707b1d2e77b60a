"""The observer: windows and events against a naive reference, and errors that go no further than a sentence.

The probe here is no mock of a part of relume: it stands for a framework, with firing histories that are known.
"""

from __future__ import annotations

import itertools
import sys
import time
from types import ModuleType

import numpy as np
import pytest
from helpers.planted import BATCH, Planted

from relume.artifacts.reader import read
from relume.artifacts.writer import RecordingWriter
from relume.framework import Framework, Look, Plan, Steps
from relume.observe.observer import Observer


@pytest.fixture
def observed(tmp_path, monkeypatch):
    """Make an observer of a planted framework; returns it, its probe, and what it complained of."""
    module = ModuleType("planted_framework")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.Planted = Planted

    def make(fires=lambda site, step: np.ones(4, bool), **options):
        plan = {name: options.pop(name) for name in ("sites", "units", "kind") if name in options}
        said = []
        observer = Observer(RecordingWriter(tmp_path / "t.relume"), complain=said.append, **options)
        observer.watch(Framework("Planted", "planted", "planted_framework:Planted"))
        probe = observer._probes[0].plant(fires, **plan)
        return observer, probe, said

    return make


def finished(observer, probe, steps):
    probe.train(steps)
    observer.finish(exit=0)
    return read(observer.writer.path)


# ---- counts ----


@pytest.mark.parametrize(
    "options", [{"every": 1}, {"every": 7}, {"budget": 1.0}, {"every": 3, "window": 10}, {}], ids=str
)
def test_counts_cover_the_looked_at_steps(observed, options):
    rng = np.random.default_rng(0)
    history = rng.random((300, 4)) < [0.0, 0.02, 0.5, 1.0]
    observer, probe, _ = observed(lambda site, step: history[step], **options)
    got = finished(observer, probe, 300)
    (record,) = got.sites
    seen = history[probe.looked]
    assert record.total.looks == len(probe.looked)
    assert record.total.examples == BATCH * len(probe.looked)
    assert record.total.fired.tolist() == (BATCH * seen.sum(0)).tolist()
    assert record.total.flat.tolist() == (BATCH * (~seen).sum(0)).tolist()
    assert record.total.magnitude.tolist() == (BATCH * seen.sum(0)).tolist()
    last = [max((s for s in probe.looked if history[s, unit]), default=-1) for unit in range(4)]
    first = [min((s for s in probe.looked if history[s, unit]), default=-1) for unit in range(4)]
    assert record.last_fired.tolist() == last
    assert record.first_fired.tolist() == first
    (clock,) = got.clocks
    assert (clock.name, clock.kind, clock.looked) == ("SGD", "optimizer", len(probe.looked))
    assert clock.steps == 300


@pytest.mark.parametrize("every", [1, 2, 5, 64, 65, 1000])
def test_every_is_deterministic_and_counts_all_steps(observed, every):
    observer, probe, _ = observed(every=every)
    finished(observer, probe, 400)
    assert probe.looked == list(range(0, 400, every))


# ---- windows ----


def test_windows_of_n_steps_are_of_n_steps(observed):
    observer, probe, _ = observed(every=1, window=10)
    got = finished(observer, probe, 95)
    assert [(w.first_step, w.last_step, w.looked) for w in got.windows] == [(n, n + 9, 10) for n in range(0, 90, 10)]
    (record,) = got.sites
    assert (record.window.looks, record.open.looks) == (10, 5)
    assert {change.rates for change in got.rates} == {(0.1,)}
    assert {(point.mean, point.low, point.high) for point in got.losses} == {(0.5, 0.5, 0.5)}
    assert [(first, examples) for _, first, _, examples in got.timeline] == [(n, 10 * BATCH) for n in range(0, 90, 10)]


def test_windows_longer_than_the_run_cover_the_whole_run(observed):
    observer, probe, _ = observed(every=1, window=1_000)
    got = finished(observer, probe, 20)
    assert [(w.first_step, w.last_step) for w in got.windows] == [(0, 19)]
    assert got.sites[0].window.looks == 20


@pytest.mark.parametrize("every", [3, 4, 7])
@pytest.mark.parametrize("window", [1, 10, 12])
def test_windows_between_looks_hold_at_least_n_steps_and_one_look(observed, every, window):
    observer, probe, _ = observed(every=every, window=window)
    got = finished(observer, probe, 200)
    assert len(got.windows) >= 200 // (window + 2 * every)
    assert got.windows[0].first_step == 0
    for one, two in zip(got.windows, got.windows[1:], strict=False):
        assert two.first_step == one.last_step + 1
    for w in got.windows:
        assert w.last_step - w.first_step + 1 >= window
        assert w.last_step - w.first_step + 1 < window + 2 * every
        assert w.looked >= 1


def test_windows_without_n_hold_1000_examples_or_the_latest_quarter(observed):
    """50 examples a look: a bucket of at least 4 looks and 125 examples, a window of as many buckets as hold 1,000."""
    history = {}
    observer, probe, _ = observed(every=1)
    for step in range(600):
        probe.train(1)
        observer.write()
        history[step] = read(observer.writer.path).sites[0]
    widest = max(w.looked for w in read(observer.writer.path).windows)
    for step, record in history.items():
        total = BATCH * (step + 1)
        assert record.total.examples == total
        if record.window is not None:
            enough = enough_examples(total - record.open.examples)
            assert enough <= record.window.examples < enough + widest * BATCH
        assert record.open.examples < 64 * BATCH
    assert history[40].window is not None
    observer.finish()


def test_buckets_grow_with_the_run_so_that_their_number_does_not(observed):
    observer, probe, _ = observed(every=1)
    got = finished(observer, probe, 20_000)
    assert len(got.windows) < 1_000
    assert all(w.looked >= 4 for w in got.windows[:-1])


def test_a_rarely_visited_site_does_not_delay_the_others(observed):
    observer, probe, _ = observed(
        lambda site, step: np.ones(4, bool) if site == 0 or step % 500 == 0 else None, sites=2, every=1
    )
    got = finished(observer, probe, 2_000)
    assert len(got.windows) > 20
    assert got.sites[1].total.looks == 4
    assert got.sites[1].window is not None


# ---- events ----


def enough_examples(total):
    """A window's: 1,000, or a short run's latest quarter, 300 at least where there are so many."""
    return min(1_000, max(300, total / 4), total)


def naive_events(history, looked, windows, slides):
    """Each unit's deaths and revivals, from the whole history and the buckets' bounds, recomputed at every bucket."""
    events = []
    units = history.shape[1]
    dead = [False] * units
    buckets = []
    oldest = 0  # of the buckets, in the window
    for w in windows:
        buckets.append([s for s in looked if w.first_step <= s <= w.last_step])
        oldest = naive_window(history, buckets, oldest) if slides else len(buckets) - 1
        window = [s for bucket in buckets[oldest:] for s in bucket]
        for unit in range(units):
            fired_now = [s for s in buckets[-1] if history[s, unit]]
            if fired_now and dead[unit]:
                events.append((unit, fired_now[0] if slides else w.first_step, "revived"))
                dead[unit] = False
            silent = not any(history[s, unit] for s in window)
            if slides and any(history[s, unit] for bucket in buckets for s in bucket):
                silent = silent and (
                    dead[unit] or naive_surprise(history, buckets, unit) >= 12
                )  # rare ones take longer
            if slides and w is not windows[-1] and not any(history[s, unit] for bucket in buckets for s in bucket):
                silent = silent and BATCH * sum(map(len, buckets)) >= 1_000  # it may be about to begin
            if silent and not dead[unit] and (not slides or BATCH * len(window) >= 300):
                events.append((unit, naive_silence(history, buckets, windows, unit, slides), "died"))
                dead[unit] = True
    return events


def naive_surprise(history, buckets, unit):
    """How surprising the silence after the last bucket is in which the unit fired, by its last eight firings.

    −log of (1 + silent / N)^−(F + 1), with F firings on the N examples up to there.
    """
    fired = seen = silent = 0
    for bucket in buckets:
        silent += BATCH * len(bucket)
        if firings := BATCH * sum(int(history[s, unit]) for s in bucket):
            fired, seen, silent = fired + firings, seen + silent, 0
            fired, seen = min(fired, 8), seen * min(1, 8 / fired)
    return (fired + 1) * np.log(1 + silent / seen)


def naive_silence(history, buckets, windows, unit, slides):
    """The first look of a unit's silence; of the window, where its length was set, the first step."""
    looks = [s for bucket in buckets for s in bucket]
    fired = [s for s in looks if history[s, unit]]
    first = min(s for s in looks if not fired or s > fired[-1])
    if slides:
        return first
    quiet = len(buckets) - 1
    while quiet > 0 and not any(history[s, unit] for s in buckets[quiet - 1]):
        quiet -= 1
    return windows[quiet].first_step


def naive_window(history, buckets, oldest):
    """The number of the window's oldest bucket: as many as hold enough, or 300 examples where these show a death."""

    def reach(examples):
        number = len(buckets) - 1
        while number > oldest and BATCH * sum(map(len, buckets[number:])) < examples:
            number -= 1
        return number

    looks = [s for bucket in buckets for s in bucket]
    longer = reach(enough_examples(BATCH * len(looks)))
    for shorter in range(reach(300), longer, -1):
        short = [s for bucket in buckets[shorter:] for s in bucket]
        for unit in range(history.shape[1]):
            between = any(history[s, unit] for bucket in buckets[longer:shorter] for s in bucket)
            if between and BATCH * len(short) >= 300 and not any(history[s, unit] for s in short):
                before = [bool(history[s, unit]) for bucket in buckets[:shorter] for s in bucket]
                if (1 - (sum(before) + 0.5) / (len(before) + 1)) ** len(short) <= np.exp(-12):
                    return shorter
    return longer


def planted_history(seed, steps=900, units=24):
    """Units that always fire, never fire, die, revive, die twice, and fire seldom."""
    rng = np.random.default_rng(seed)
    history = rng.random((steps, units)) < rng.choice([0.02, 0.3, 1.0], units)
    history[:, 0], history[:, 1] = True, False
    for unit in range(2, units - 4):
        for _ in range(rng.integers(0, 4)):
            begin = rng.integers(0, steps)
            history[begin : begin + rng.integers(1, 400), unit] = False
    return history


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [{"every": 1, "window": 10}, {"every": 3, "window": 25}, {"every": 1}, {"every": 2}, {"every": 7}, {"budget": 1.0}],
    ids=str,
)
def test_deaths_and_revivals_equal_those_of_the_naive_reference(observed, options, seed):
    history = planted_history(seed)
    observer, probe, _ = observed(lambda site, step: history[step], units=history.shape[1], **options)
    got = finished(observer, probe, len(history))
    expected = naive_events(history, probe.looked, got.windows, slides="window" not in options)
    key = lambda event: (event[0], event[1], event[2])  # noqa: E731 - the order among units is free
    assert sorted(got.sites[0].events, key=key) == sorted(expected, key=key)
    for unit in range(history.shape[1]):  # a unit's own are in order: it dies before it revives
        kinds = [kind for u, _, kind in got.sites[0].events if u == unit]
        assert kinds == ["died", "revived"] * (len(kinds) // 2) + ["died"] * (len(kinds) % 2)
    assert len(expected) > 3


def test_a_death_is_dated_to_the_look(observed):
    history = np.ones((2_000, 4), bool)
    history[777:, 2] = False
    observer, probe, _ = observed(lambda site, step: history[step], every=1)
    got = finished(observer, probe, 2_000)
    assert got.sites[0].events == [(2, 777, "died")]


@pytest.mark.parametrize("window", [None, 10])
def test_a_death_near_the_end_is_seen_as_soon_as_300_examples_show_it(observed, window):
    history = np.ones((1_000, 4), bool)
    history[988:, 2] = False
    observer, probe, _ = observed(lambda site, step: history[step], every=1, window=window)
    got = finished(observer, probe, 1_000)
    assert got.sites[0].events == [(2, 988 if window is None else 990, "died")]
    assert got.sites[0].window.examples >= 300
    assert got.sites[0].judged().fired.tolist()[2] == 0


def test_a_unit_that_is_silent_in_whole_batches_is_called_dead_later(observed):
    """It fires in half of the looks, on all examples of these: 300 silent ones are six looks, and no proof."""
    history = np.ones((4_000, 4), bool)
    history[:, 2] = np.random.default_rng(0).random(4_000) < 0.5
    runs = [len(list(run)) for fires, run in itertools.groupby(history[:, 2]) if not fires]
    assert sum(length >= 6 for length in runs) > 20
    observer, probe, _ = observed(lambda site, step: history[step], every=1)
    assert finished(observer, probe, 4_000).sites[0].events == []


def test_no_unit_dies_on_fewer_than_300_examples(observed):
    observer, probe, _ = observed(lambda site, step: np.zeros(4, bool), every=1)
    assert finished(observer, probe, 5).sites[0].events == []


# ---- pauses ----


def test_resume_continues_after_pause(observed):
    observer, probe, _ = observed(every=1)
    probe.train(30)
    observer.pause()
    observer.resume(None)
    probe.train(30)
    observer.finish(exit=0)
    got = read(observer.writer.path)
    assert got.sites[0].total.looks == 60
    assert got.clocks[0].steps == 60
    assert (probe.started, probe.stopped) == (2, 2)


# ---- errors of ours ----


@pytest.mark.parametrize("what", ["kept", "drain"])
def test_an_error_in_a_probe_is_reported_once_and_ends_the_watching(observed, what):
    observer, probe, said = observed(every=1, window=10)
    probe.train(15)
    before = probe.stopped
    probe.breaks[what] = RuntimeError("the probe broke")
    observer._flush_gap = 0  # it is time to write
    probe.train(50)
    observer.steps_ended(probe.clock, Steps(Plan(Look.WIDE, 20), 20))
    assert observer.plan(probe.clock, urgent=False).steps > 0
    assert len(said) == 1
    assert "RuntimeError: the probe broke" in said[0]
    assert said[0].endswith("[own-fault]")
    assert "\n" not in said[0]
    assert probe.stopped == before + 1
    observer.finish(exit=5)
    assert len(said) == 1
    got = read(observer.writer.path)
    assert got.meta["exit"] == 5
    assert got.meta["finished"] is True
    assert "the probe broke" in got.meta["fault"]


@pytest.mark.parametrize("what", ["stop", "drain"])
def test_an_error_at_the_end_is_reported_once_and_the_recording_is_finished(observed, what):
    observer, probe, said = observed(every=1, window=10)
    probe.train(25)
    observer.write()
    probe.breaks[what] = RuntimeError("at the end")
    observer.finish(exit=5)
    assert len(said) == 1
    got = read(observer.writer.path)
    assert got.meta["exit"] == 5
    assert got.sites[0].total.looks == 25
    assert [(w.first_step, w.last_step) for w in got.windows] == [(0, 9), (10, 19)]


def test_an_error_while_a_probe_is_stopped_for_another_is_ignored(observed):
    observer, probe, said = observed(every=1)
    probe.breaks["stop"] = RuntimeError("second")
    observer.fault(ValueError("first"))
    assert len(said) == 1
    assert "ValueError: first" in said[0]
    observer.finish(exit=0)
    assert len(said) == 1


@pytest.mark.parametrize("what", ["kept", "drain"])
def test_counts_before_an_error_are_in_the_recording(observed, what):
    observer, probe, _ = observed(every=1, window=10)
    probe.train(25)
    if what == "drain":  # what cannot be drained any more must have been written
        observer.write()
    probe.breaks[what] = RuntimeError("broken")
    observer._flush_gap = 0
    probe.train(20)
    observer.finish(exit=0)
    got = read(observer.writer.path)
    assert [(w.first_step, w.last_step) for w in got.windows] == [(0, 9), (10, 19)]
    assert got.sites[0].window.looks == 10


def test_an_error_at_the_start_leaves_a_recording_that_says_so(tmp_path, monkeypatch):
    module = ModuleType("planted_framework")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    class Broken(Planted):
        def start(self, model):
            raise RuntimeError("no start")

    module.Broken = Broken
    said = []
    observer = Observer(RecordingWriter(tmp_path / "t.relume"), complain=said.append)
    observer.start(Framework("Planted", "planted", "planted_framework:Broken"))
    observer.start(Framework("Planted", "planted", "planted_framework:absent"))
    assert len(said) == 1
    observer.finish(exit=0)
    assert "no start" in read(tmp_path / "t.relume").meta["fault"]


# ---- what is told while the run goes ----


def test_progress_is_reported_once_an_interval_and_not_at_the_end(observed, monkeypatch):
    monkeypatch.setattr(sys.modules["relume.observe.observer"], "_FLUSH_NS", 0)
    monkeypatch.setattr(sys.modules["relume.observe.observer"], "_FLUSH_SHARE", 0)
    told = []
    observer, probe, _ = observed(
        every=1, sites=2, progress=lambda steps, sites: told.append((steps, [site.total.looks for site in sites]))
    )
    probe.train(9)
    assert told == [(steps, [steps, steps]) for steps in range(2, 10)]  # the first step only begins to count the time
    observer.finish(exit=0)
    assert len(told) == 8


@pytest.mark.alone
def test_progress_that_takes_long_is_reported_less_often(observed, monkeypatch):
    monkeypatch.setattr(sys.modules["relume.observe.observer"], "_FLUSH_NS", 0)
    monkeypatch.setattr(sys.modules["relume.observe.observer"], "_FLUSH_SHARE", 40)
    told = []
    observer, probe, _ = observed(every=10, progress=lambda steps, sites: told.append(time.sleep(0.1)))
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        probe.train(100)
    assert len(told) == 1  # 40 times 0.1 s have not gone by
    observer.finish(exit=0)


def test_progress_does_not_wait_for_a_slow_disk(observed, monkeypatch):
    monkeypatch.setattr(sys.modules["relume.observe.observer"], "_FLUSH_NS", 0)
    monkeypatch.setattr(sys.modules["relume.observe.observer"], "_FLUSH_SHARE", 0)
    told = []
    observer, probe, _ = observed(every=1, progress=lambda steps, sites: told.append(steps))
    observer._flush_gap = 10**15  # as after a write that took days
    probe.train(9)
    assert told == list(range(2, 10))


def test_an_error_in_a_progress_callback_ends_only_the_watching(observed, monkeypatch):
    monkeypatch.setattr(sys.modules["relume.observe.observer"], "_FLUSH_NS", 0)
    monkeypatch.setattr(sys.modules["relume.observe.observer"], "_FLUSH_SHARE", 0)
    observer, probe, said = observed(every=1, progress=lambda steps, sites: 1 / 0)
    probe.train(9)
    observer.finish(exit=0)
    assert len(said) == 1
    assert "ZeroDivisionError" in said[0]


def test_a_recording_that_can_no_longer_be_written_ends_only_the_watching(observed):
    observer, probe, said = observed(every=1, window=10)
    probe.train(15)
    observer.writer.close()
    observer.not_observed("gelu", "x.py:1", "because")
    probe.train(30)
    observer.fault(ValueError("another"))
    assert len(said) == 1
    assert "closed database" in said[0]


def test_a_warning_that_cannot_be_written_is_not_an_error(tmp_path):
    def deaf(text):
        raise BrokenPipeError

    observer = Observer(RecordingWriter(tmp_path / "t.relume"), complain=deaf)
    observer.fault(ValueError("x"))
    assert observer.failed
    observer.finish(exit=0)
    assert "ValueError: x" in read(tmp_path / "t.relume").meta["fault"]

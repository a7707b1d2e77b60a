"""The timeline of a run: its windows, and what died in them."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np

from relume.artifacts.recording import Clock, Count, Recording, Site, SiteRecord, Window
from relume.doctor.diagnosis import diagnose
from relume.doctor.timeline import MOST_SPANS

SITE = Site("net.1@train.py:8", "Net", "1", "nn.ReLU", "train.py", 8, "relu", {}, "0", 1, 4, False, 0)


def site(events, clock=0, **facts):
    """A site of four units, of which unit 0 is dead at the end."""
    count = Count(20, 1000, 1000, np.array([0, 5, 500, 900]), np.zeros(4, np.int64), np.ones(4))
    made = SiteRecord.new(replace(SITE, clock=clock, **facts))
    made.total = made.window = count
    made.first_fired = np.zeros(4, np.int64)
    made.events = events
    return made


def windows(number, clock=0, length=10, looked=2):
    return [Window(clock, n * length, (n + 1) * length - 1, looked) for n in range(number)]


def recording(sites, windows, timeline):
    clocks = sorted({window.clock for window in windows} | {record.site.clock for record in sites})
    return Recording({}, [Clock(c, "SGD", "optimizer", 100, 20) for c in clocks], sites, windows, timeline, [])


def test_a_span_is_a_window_with_the_units_that_were_dead_after_it():
    events = [(0, 10, "died"), (2, 15, "died"), (2, 30, "revived")]
    rows = [(0, 0, 0, 500), (0, 10, 2, 500), (0, 20, 2, 500), (0, 30, 1, 500)]
    findings = diagnose(recording([site(events)], windows(4), rows))
    (line,) = findings.timelines
    assert (line.clock, line.name, line.kind, line.steps, line.looked) == (0, "SGD", "optimizer", 100, 20)
    assert [(s.first_step, s.last_step, s.looked, s.dead) for s in line.spans] == [
        (0, 9, 2, 0),
        (10, 19, 2, 2),
        (20, 29, 2, 2),
        (30, 39, 2, 1),
    ]
    assert findings.sites[0].timeline == ((9, 0, 0), (19, 2, 2), (39, 1, 1))


def test_sites_count_by_their_own_clock():
    events = [(0, 5, "died")]
    rows = [(0, 0, 1, 500), (1, 0, 0, 500), (1, 100, 1, 500)]
    both = recording([site(events), site(events, clock=1)], [*windows(1), *windows(2, clock=1, length=100)], rows)
    findings = diagnose(both)
    assert [[s.dead for s in line.spans] for line in findings.timelines] == [[1], [1, 1]]
    assert [s.timeline for s in findings.sites] == [((9, 1, 1),), ((99, 0, 1), (199, 1, 1))]


def test_a_unit_that_cannot_die_is_silent_and_never_counted_as_dead():
    leaky = site([(0, 10, "died")], activation="leaky_relu")
    findings = diagnose(recording([leaky], windows(2), [(0, 0, 0, 500), (0, 10, 1, 500)]))
    assert [span.dead for span in findings.timelines[0].spans] == [0, 0]
    assert findings.sites[0].timeline == ((9, 0, 0), (19, 1, 0))


def test_a_thousand_windows_are_put_together():
    uneven = [replace(w, looked=3 if n % 4 == 3 else 1) for n, w in enumerate(windows(1000))]
    (line,) = diagnose(recording([site([(0, 4005, "died")])], uneven, [])).timelines
    assert len(line.spans) == MOST_SPANS == 250
    assert (line.spans[0].first_step, line.spans[0].last_step, line.spans[-1].last_step) == (0, 39, 9999)
    assert line.spans[0].looked == 1 + 1 + 1 + 3
    assert [span.dead for span in line.spans] == [0] * 100 + [1] * 150


def test_the_dict_has_the_timelines():
    data = diagnose(recording([site([(0, 10, "died")])], windows(2), [(0, 0, 0, 9), (0, 10, 1, 9)])).to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["timelines"][0]["spans"] == [
        {"first_step": 0, "last_step": 9, "looked": 2, "dead": 0},
        {"first_step": 10, "last_step": 19, "looked": 2, "dead": 1},
    ]
    assert (data["sites"][0]["clock"], data["sites"][0]["timeline"]) == (0, [[9, 0, 0], [19, 1, 1]])


def test_a_run_without_windows_has_a_timeline_without_spans():
    findings = diagnose(recording([site([])], [], []))
    assert findings.timelines[0].spans == ()
    assert findings.sites[0].timeline == ()


def test_two_hundred_sites_and_a_thousand_windows_take_little_time_and_little_json():
    rows = [(n, w * 10, (n + w) % 3, 500) for n in range(200) for w in range(1000)]
    made = recording([site([(0, 10, "died")]) for _ in range(200)], windows(1000), rows)
    began = time.process_time()
    data = diagnose(made).to_dict()
    assert time.process_time() - began < 5
    assert all(len(entry["timeline"]) <= MOST_SPANS for entry in data["sites"])
    assert len(json.dumps([data["timelines"], [entry["timeline"] for entry in data["sites"]]])) < 1_500_000

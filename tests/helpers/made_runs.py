"""Runs to report on, made of counts: small, large, hostile, empty."""

from __future__ import annotations

import numpy as np

from relume.artifacts.curve import LossPoint
from relume.artifacts.history import Band, History
from relume.artifacts.recording import Clock, Count, Rates, Recording, Site, SiteRecord, Window
from relume.doctor.diagnosis import diagnose

SAMPLES = 1000
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "a'b\"c`d\\e{{ 7 * 7 }}{% raw %}",
    "two\nlines\tand\u202e a turn\x07",
    "&amp; &lt;b&gt;",
    "x" * 10_000,
    "ünïcödé 层 🙂",
    "]]>--><!--",
)


def site(number=0, *, units=8, dead=2, rare=1, on=1, events=(), **changes):
    """A site of a ReLU; its first units are dead, then come the rare ones and those that are always on."""
    facts = {
        "key": f"net.{number}@train.py:{10 + number}", "model": "Net", "module": f"block{number // 4}.relu{number % 4}",
        "call": "nn.ReLU", "file": "train.py", "line": 10 + number, "activation": "relu", "parameters": {},
        "layer": f"block{number // 4}.fc{number % 4}", "unit_axis": 1, "units": units, "axis_assumed": False,
        "clock": 0,
    }  # fmt: skip
    fired = np.random.default_rng(number).integers(200, 800, units)
    fired[:dead] = 0
    fired[dead : dead + rare] = 4
    fired[dead + rare : dead + rare + on] = SAMPLES
    made = SiteRecord.new(Site(**{**facts, **changes}))
    made.total = made.window = Count(20, SAMPLES, SAMPLES, fired, np.zeros(units, np.int64), fired.astype(float))
    made.first_fired = np.where(fired > 0, 0, -1)
    made.last_fired = np.where(fired > 0, 99, -1)
    made.events = list(events)
    return made


def recording(*records, meta=None, windows=(), not_observed=()):
    """The recording of a run with these sites."""
    known = {"script": "train.py", "argv": ["--lr", "0.1"], "exit": 0, "torch": "2.13", "finished": True}
    known |= {"budget": 0.02, "overhead": 0.018} | (meta or {})
    clock = Clock(0, "SGD", "optimizer", 100, 20)
    rates = [Rates(0, w.first_step, (0.1 / (1 + n), 0.01)) for n, w in enumerate(windows)]
    losses = [
        LossPoint(0, w.first_step, w.last_step, w.looked, *[2.0 / (1 + n)] * 3, 0, -1) for n, w in enumerate(windows)
    ]
    return Recording(known, [clock], list(records), list(windows), [], list(not_observed), rates, losses)


def run(*records, **more):
    """The findings of such a recording."""
    return diagnose(recording(*records, **more))


def windows(count=10):
    """Windows; in a run of them the learning rate falls and the loss too."""
    return [Window(0, 10 * i, 10 * i + 9, 5) for i in range(count)]


def small():
    """The findings of :func:`small_recording`."""
    return diagnose(small_recording())


def small_recording():
    """Three sites: one that lost units on the way, one healthy, one of few examples."""
    events = [(0, 30, "died"), (1, 40, "died"), (1, 50, "revived"), (1, 60, "died")]
    lost = site(1, events=events)
    lost.first_fired[:2], lost.last_fired[:2] = 0, (29, 55)
    rates = np.full((4, 8), 128, np.uint8)
    rates[1:, 0] = rates[2:, 1] = 0
    lost.history = History((29, 59, 79, 99), rates)
    high = np.linspace(2, -2, 5)[:, None] * np.ones(8)
    lost.band = Band((0, 24, 49, 74, 99), *(part.astype(np.float16) for part in (high - 1, high, 3 - high)))
    few = site(2, units=16, rare=0)
    few.window = few.total = Count(2, 64, 64, few.total.fired // 16, few.total.flat, few.total.magnitude)
    unseen = [("F.mish", "train.py:40", "it is not watched yet")]
    return recording(site(0, dead=0, rare=0, on=0), lost, few, windows=windows(), not_observed=unseen)


def hostile():
    """Names of every kind that is not meant for a page."""
    records = [
        site(i, key=name, module=name, call=name, file=name, layer=name, model=name) for i, name in enumerate(HOSTILE)
    ]
    unseen = [(name, name, name) for name in HOSTILE]
    return run(*records, meta={"script": HOSTILE[0], "argv": list(HOSTILE), "torch": HOSTILE[2]}, not_observed=unseen)


def many(sites=10_000, units=16):
    """A network of very many sites."""
    return run(
        *(
            site(i, units=units, dead=i % 5, rare=i % 3, on=0, module=f"encoder.layers.{i // 9}.mlp.act{i % 9}")
            for i in range(sites)
        )
    )


def wide(sites=200, units=4096):
    """Few sites of many units, dead ones scattered among them."""
    records = [site(i, units=units, dead=0, rare=0, on=0) for i in range(sites)]
    for i, record in enumerate(records):
        hit = np.random.default_rng(i).random(units)
        record.total.fired[hit < 0.004 * i] = 0
        record.total.fired[hit > 0.9] = 5
        record.first_fired = np.where(record.total.fired > 0, 0, -1)
    return run(*records)


def empty():
    """Nothing was watched."""
    return run()

"""The recording: every field comes back, and nothing that was committed is lost."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relume.artifacts.curve import LossCurve, LossPoint
from relume.artifacts.history import Band, History
from relume.artifacts.reader import read
from relume.artifacts.recent import Recent
from relume.artifacts.recording import SCHEMA_VERSION, Clock, Count, Rates, Site, SiteRecord, Window
from relume.artifacts.typed import harmless
from relume.artifacts.writer import RecordingWriter
from relume.errors import RecordingError

RELUME = Path(sys.executable).with_name("relume")


def a_site(units=3, **changes):
    facts = {
        "key": "Net.act", "model": "Net", "module": "act", "call": "F.leaky_relu", "file": "größe.py", "line": 12,
        "activation": "leaky_relu", "parameters": {"negative_slope": 0.1}, "layer": "Net.first", "unit_axis": -1,
        "units": units, "axis_assumed": True, "clock": 0,
    }  # fmt: skip
    return Site(**facts | changes)


def a_count(units, rng):
    return Count(
        *rng.integers(0, 2**40, 3).tolist(),
        rng.integers(0, 2**62, units),
        rng.integers(0, 2**62, units),
        rng.choice([0.0, -0.0, 1e-310, 1.5, np.inf, np.nan], units),
    )


def a_record(site, rng):
    steps = [rng.integers(-1, 2**40, site.units) for _ in range(3)]
    events = [(0, 100, "died"), (0, 200, "revived"), (site.units - 1, 2**40, "died")]
    record = SiteRecord(site, *(a_count(site.units, rng) for _ in range(3)), *steps, rng.random(site.units), events)
    record.recent = Recent(*(rng.random(site.units) for _ in range(3)))
    record.non_finite_since = rng.integers(-1, 2**40, site.units)
    record.history = History((9, 2**40), rng.integers(0, 256, (2, site.units)).astype(np.uint8))
    looks = [rng.normal(size=(2, site.units)).astype(np.float16) for _ in range(3)]
    record.band = Band((3, 2**40), *looks)
    return record


def assert_same(one, other):
    """Field by field, arrays bit by bit."""
    assert type(one) is type(other)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert a.tobytes() == b.tobytes(), field.name
        elif isinstance(a, (History, Band)):
            assert [np.asarray(x).tolist() for x in a] == [np.asarray(x).tolist() for x in b]
        elif isinstance(a, (Count, Recent)):
            assert_same(a, b)
        else:
            assert a == b, field.name


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.relume"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def fill(writer, records):
    writer.clock(Clock(0, "Adam", "optimizer", 70, 9))
    for number, record in enumerate(records):
        writer.site(number, record)
        writer.events(number, record.events)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "open"])
def test_every_field_comes_back(path, rng, close):
    writer = RecordingWriter(path)
    records = [a_record(a_site(3), rng), a_record(a_site(1, key="ä", parameters={}, axis_assumed=False), rng)]
    records.append(SiteRecord.new(a_site(2, clock=1)))
    facts = {
        "script": "x.py",
        "argv": ["a", "\udcff", "ü"],
        "exit": -9,
        "finished": True,
        "nothing": None,
        "share": 0.02,
    }
    clocks = [Clock(0, "Adam", "optimizer", 2**40, 17), Clock(1, "backward passes", "backward", 5, 5)]
    clocks.append(Clock(2, "forward passes", "forward", 0, 0))
    windows = [Window(0, 0, 9, 4), Window(1, 0, 2**40, 1)]
    unseen = [("gelu", "x.py:3", "because"), ("gelu", "x.py:3", "because")]
    rates = [Rates(0, 0, (0.1, 1e-3)), Rates(1, 2**40, ()), Rates(0, 7, (0.2, 1e-3))]
    curve = LossCurve(1)
    curve.add(3, [0.25])
    curve.add(2**40, [2.0])
    with writer.transaction():
        writer.meta(**facts)
        for clock in clocks:
            writer.clock(clock)
        for number, record in enumerate(records):
            writer.site(number, record)
            writer.events(number, record.events)
        writer.window(windows[0], [(0, 1, 1000), (1, 0, 999)])
        writer.window(windows[1], [])
        writer.rates(rates)
        writer.losses(curve)
        for what in unseen:
            writer.not_observed(*what)
    if close:
        writer.close()
    got = read(path)
    assert got.meta == facts
    assert got.clocks == clocks
    assert got.windows == windows
    assert got.timeline == [(0, 0, 1, 1000), (1, 0, 0, 999)]
    assert got.rates == rates
    assert got.losses == curve.points == [
        LossPoint(1, 3, 3, 1, 0.25, 0.25, 0.25, 0, -1), LossPoint(1, 2**40, 2**40, 1, 2.0, 2.0, 2.0, 0, -1),
    ]  # fmt: skip
    assert got.not_observed == unseen
    assert len(got.sites) == 3
    for record, back in zip(records, got.sites, strict=True):
        assert_same(record, back)
    writer.close()


def test_a_loss_curve_that_grows_and_is_halved_is_in_the_file_as_it_is_in_memory(path):
    writer, curve = RecordingWriter(path), LossCurve(0)
    for step in range(5_000):
        curve.add(step, [step / 7])
        if step % 300 == 0:
            writer.losses(curve)
    writer.losses(curve)
    assert read(path).losses == curve.points
    writer.losses(curve)  # nothing is new
    assert read(path).losses == curve.points
    writer.close()


def test_rates_and_losses_that_are_not_finite_are_read_back_as_nan(path):
    writer, curve = RecordingWriter(path), LossCurve(0)
    curve.add(4, [math.inf])
    writer.losses(curve)
    writer.rates([Rates(0, 4, (math.inf, math.nan, 0.1))])
    got = read(path)
    assert got.losses[0][:4] == (0, 4, 4, 1)
    assert got.losses[0][7:] == (1, 4)
    assert all(map(math.isnan, (*got.losses[0][4:7], *got.rates[0].rates[:2])))
    assert got.rates[0].rates[2] == 0.1
    writer.close()


def test_a_recording_of_version_2_is_read_with_the_rates_and_losses_of_its_windows(path, rng):
    writer = RecordingWriter(path)
    fill(writer, [a_record(a_site(), rng)])
    rows = [(0.1, 2.0), (0.1, None), (0.05, 1.0), (0.05, math.nan)]
    for n in range(len(rows)):
        writer.window(Window(0, 10 * n, 10 * n + 9, 4), [])
    writer.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(
            "DROP TABLE rate; DROP TABLE loss; PRAGMA user_version = 2; ALTER TABLE statistic RENAME TO vital;"
            "ALTER TABLE window ADD COLUMN rates TEXT; ALTER TABLE window ADD COLUMN loss REAL;"
            "DELETE FROM unit WHERE name LIKE 'recent_%' OR name = 'non_finite_since'"
        )
        kept = [(json.dumps([rate]), loss, 10 * n) for n, (rate, loss) in enumerate(rows)]
        db.executemany("UPDATE window SET rates = ?, loss = ? WHERE first_step = ?", kept)
        db.commit()
    got = read(path)
    assert got.rates == [Rates(0, 9, (0.1,)), Rates(0, 29, (0.05,))]
    assert [(p.first_step, p.last_step, p.number, p.mean) for p in got.losses] == [(0, 9, 4, 2.0), (20, 29, 4, 1.0)]
    assert (got.sites[0].recent, got.sites[0].non_finite_since) == (None, None)
    assert got.sites[0].surely_silent().shape == (3,)


def test_a_site_is_written_again_and_keeps_its_events(path, rng):
    writer = RecordingWriter(path)
    first = a_record(a_site(), rng)
    fill(writer, [first])
    second = a_record(a_site(clock=0, line=99), rng)
    writer.site(0, second)
    writer.events(0, [(1, 300, "died")])
    second.events = [*first.events, (1, 300, "died")]
    (got,) = read(path).sites
    assert_same(got, second)
    writer.close()


def test_memory_is_saved_to_the_same_recording(path, rng):
    writer, record = RecordingWriter(None), a_record(a_site(), rng)
    fill(writer, [record])
    writer.save(path)
    writer.save(path)  # its own older one is overwritten
    assert_same(read(path).sites[0], record)
    assert_same(writer.read().sites[0], record)
    writer.close()


def test_a_recording_in_memory_that_nobody_closes_closes_its_connection():
    """Python 3.13 would warn of it in the user's stderr."""
    writer = RecordingWriter(None)
    connection = writer._db
    del writer
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_save_does_not_overwrite_files_of_other_programs(tmp_path, rng):
    writer = RecordingWriter(None)
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(RecordingError, match=r"notes\.txt exists and is not a recording.*\[recording-in-the-way\]"):
        writer.save(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "precious"
    with pytest.raises(RecordingError, match=r"Cannot write .*absent/x\.relume.*\[recording-not-writable\]"):
        writer.save(tmp_path / "absent/x.relume")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), units=st.integers(1, 40))
def test_any_numbers_come_back_bit_for_bit(data, units):
    numbers = st.integers(0, 2**63 - 1)
    integers = hnp.arrays(np.int64, units, elements=st.integers(-1, 2**63 - 1))
    floats = hnp.arrays(np.float64, units, elements=st.floats(width=64))
    counts = st.builds(Count, numbers, numbers, numbers, integers, integers, floats)
    events = st.lists(
        st.tuples(st.integers(0, units - 1), st.integers(0, 2**63 - 1), st.sampled_from(["died", "revived"])),
        max_size=5,
    )
    names = st.text(max_size=8).map(harmless)
    parameters = st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=3)
    site = a_site(units, key=data.draw(st.text().map(harmless)), parameters=data.draw(parameters))
    record = data.draw(
        st.builds(
            SiteRecord, st.just(site), counts, st.none() | counts, counts, integers, integers, integers,
            st.none() | floats, events,
        )
    )  # fmt: skip
    writer = RecordingWriter(None)
    fill(writer, [record])
    (got,) = writer.read().sites
    assert_same(got, record)
    writer.close()


def test_a_transaction_is_all_or_nothing(path):
    writer = RecordingWriter(path)
    writer.meta(before=1)

    def fail():
        with writer.transaction():
            writer.meta(before=2, inside=1)
            raise ZeroDivisionError("in the middle")

    with pytest.raises(ZeroDivisionError, match="in the middle"):
        fail()
    assert read(path).meta == {"before": 1}
    with writer.transaction():
        writer.meta(inside=2)
        assert read(path).meta == {"before": 1}
    assert read(path).meta == {"before": 1, "inside": 2}
    writer.close()


def test_schema_number_is_in_the_file_and_a_newer_one_is_refused(path):
    RecordingWriter(path).close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,) == (5,)
    assert db.execute("PRAGMA application_id").fetchone()[0].to_bytes(4, "big") == b"RLME"
    db.execute("PRAGMA user_version = 6")
    db.close()
    with pytest.raises(RecordingError, match=r"schema 6; this relume reads up to 5.*\[recording-newer\]"):
        read(path)


def test_one_file_is_left_after_close(path, rng):
    writer = RecordingWriter(path)
    fill(writer, [a_record(a_site(), rng)])
    writer.close()
    assert list(path.parent.iterdir()) == [path]


def test_a_finished_recording_is_read_from_a_folder_that_nobody_may_write_to(path, rng):
    writer = RecordingWriter(path)
    fill(writer, [a_record(a_site(), rng)])
    writer.close()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        assert len(read(path).sites) == 1
    finally:
        path.parent.chmod(0o755)


def test_a_path_that_belongs_to_another_program_is_an_error_that_says_so(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    code = """
import os, sys
from pathlib import Path
from relume.artifacts.reader import read
from relume.artifacts.writer import RecordingWriter
from relume.errors import RecordingError
os.chdir(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for work in (lambda p: RecordingWriter(p), read):
    for place in ("t.relume", "closed/t.relume", "mine.relume"):
        try:
            work(Path(place))
        except RecordingError as error:
            print(error.slug)
"""
    closed = tmp_path / "closed"
    closed.mkdir()
    RecordingWriter(closed / "t.relume").close()
    RecordingWriter(tmp_path / "mine.relume").close()
    (tmp_path / "mine.relume").chmod(0o600)
    tmp_path.chmod(0o755)
    closed.chmod(0o700)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["recording-not-writable"] * 3 + ["recording-absent"] * 2 + ["recording-damaged"]
    assert {path.name for path in tmp_path.iterdir()} == {"closed", "mine.relume"}


# ---- several at once ----


def test_two_recordings_at_once_stay_apart(tmp_path, rng):
    writers = [RecordingWriter(tmp_path / f"{n}.relume") for n in range(2)]
    for step in range(20):
        for n, writer in enumerate(writers):
            with writer.transaction():
                writer.meta(number=n, step=step)
    for n, writer in enumerate(writers):
        assert read(writer.path).meta == {"number": n, "step": 19}
        writer.close()
        assert read(writer.path).meta == {"number": n, "step": 19}


def test_a_file_that_is_being_written_is_not_replaced(path):
    first = RecordingWriter(path)
    first.meta(number=1)
    with pytest.raises(RecordingError, match=r"is being written by another run.*\[recording-in-use\]"):
        RecordingWriter(path)
    first.meta(number=2)
    assert read(path).meta == {"number": 2}
    first.close()
    second = RecordingWriter(path)
    assert read(path).meta == {}
    second.close()


def test_it_can_be_read_while_it_is_written(path, rng):
    writer, record = RecordingWriter(path), a_record(a_site(), rng)
    fill(writer, [record])
    going = threading.Event()

    def write():
        n = 0
        while not going.is_set():
            n += 1
            with writer.transaction():
                writer.meta(a=n)
                writer.site(0, record)
                writer.meta(b=n)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(50):
            meta = read(path).meta
            assert meta.get("a") == meta.get("b")
    finally:
        going.set()
        thread.join()
    writer.close()


def test_a_forked_child_that_ends_removes_nothing(path):
    """It inherits the connection, and closes it."""
    code = """
import os, sys
from pathlib import Path
from relume.artifacts.reader import read
from relume.artifacts.writer import RecordingWriter
path = Path(sys.argv[1])
writer = RecordingWriter(path)
writer.meta(before=1)
for way in (sys.exit, os._exit):
    child = os.fork()
    if child == 0:
        way(0)
    os.waitpid(child, 0)
    writer.meta(after=1)
    assert read(path).meta == {"before": 1, "after": 1}
child = os.fork()
if child == 0:
    del writer
    os._exit(0)
os.waitpid(child, 0)
writer.meta(last=1)
writer.close()
print(read(path).meta)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, path], capture_output=True, text=True)
    assert (done.stderr, done.stdout) == ("", "{'before': 1, 'after': 1, 'last': 1}\n")


# ---- killed ----

WRITES = """
import sys
from pathlib import Path
import numpy as np
from relume.artifacts.recording import Clock, Site, SiteRecord
from relume.artifacts.writer import RecordingWriter
print("go", flush=True)
writer = RecordingWriter(Path(sys.argv[1]))
site = Site("s", "", "", "nn.ReLU", "x.py", 1, "relu", {}, "", 1, 4, False, 0)
n = 0
while True:
    n += 1
    record = SiteRecord.new(site)
    record.last_fired = np.full(4, n)
    with writer.transaction():
        writer.clock(Clock(0, "SGD", "optimizer", n, n))
        writer.site(0, record)
        writer.events(0, [(0, n, "died")])
    print(n, flush=True)
"""


def killed(command, seconds, **options):
    """Start a command, wait for its first line, kill it some seconds after; returns the rest of its output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    process.stdout.readline()
    time.sleep(seconds)
    process.kill()
    stdout = process.stdout.read()  # communicate() would lose what readline() has taken in ahead
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return stdout


@pytest.mark.parametrize("seconds", [0, 0.001, 0.002, 0.004, 0.008, 0.05, 0.2])
def test_a_killed_writer_loses_nothing_that_was_committed(path, seconds):
    lines = killed([sys.executable, "-c", WRITES, path], seconds).split()
    told = int(lines[-1]) if lines else 0
    try:
        got = read(path)
    except RecordingError as error:  # killed before it began: then it has told nothing
        assert (told, error.slug) in ((0, "recording-absent"), (0, "recording-empty"))  # noqa: PT017
        return
    steps = got.clocks[0].steps if got.clocks else 0
    assert steps in (told, told + 1)  # the last may be committed and not told
    if steps:
        assert got.sites[0].last_fired.tolist() == [steps] * 4
        assert got.sites[0].events == [(0, n, "died") for n in range(1, steps + 1)]


TRAINS = """
import torch
print("go", flush=True)
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
sgd = torch.optim.SGD(net.parameters(), lr=0.01)
while True:
    net(torch.randn(32, 4)).pow(2).mean().backward()
    sgd.step()
"""


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_report_works_on_what_a_killed_run_left(tmp_path, part):
    (tmp_path / "x.py").write_text(TRAINS)
    seconds = part * 0.8 + random.Random(part).random() * 0.8
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed([RELUME, "run", "x.py"], seconds, cwd=tmp_path, env=env)
    done = subprocess.run([RELUME, "report"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if seconds > 3:  # importing PyTorch takes a second or more, and what is new is written each second
        assert "of 16 units" in done.stdout
    # and the next run takes the place
    (tmp_path / "y.py").write_text("")
    assert subprocess.run([RELUME, "run", "-q", "y.py"], cwd=tmp_path).returncode == 0
    assert read(tmp_path / "run.relume").meta["script"] == "y.py"
    assert [path.name for path in tmp_path.glob("run.relume*")] == ["run.relume"]

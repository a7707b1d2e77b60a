"""Whatever is killed, and whenever: what was recorded stays, is not run again, and nothing goes on running."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import trials

from relume.artifacts.study import Study

COUNT = 12

SCRIPT = """
import os, subprocess, sys, time
seed, ledger = sys.argv[1:]
with open(ledger, "a") as file:
    file.write(seed + "\\n")
workers = []
for _ in range(2):
    worker = os.fork()
    if worker == 0:
        time.sleep(0.2)
        os._exit(0)
    workers.append(worker)
subprocess.Popen(["sleep", "1000"])
with open("checkpoint", "w") as file:
    file.write(seed)
for step in range(20):
    print("loss", 1 / (step + 3 + int(seed)), flush=True)
    time.sleep(0.01)
assert [os.waitpid(worker, 0)[1] for worker in workers] == [0, 0], "a worker was killed"
"""


@pytest.fixture
def top(tmp_path):
    project = tmp_path / "home" / "project"
    project.mkdir(parents=True)
    (project / "train.py").write_text(SCRIPT)
    return tmp_path


def start(top, count=COUNT):
    (top / "temporary").mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": trials.HERE, "TMPDIR": str(top / "temporary")}
    return subprocess.Popen(
        [sys.executable, str(Path(trials.HERE) / "drive.py"), str(top), str(count)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def below(pid):
    """The children of a process."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_sleep(pid):
    """Whether it is the process that every trial leaves behind, which dies of nobody's death by itself."""
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def pick(driver, kind, draw):
    """A process of that kind that is there now; None without one."""
    uppers = below(driver.pid)
    servers = [pid for upper in uppers for pid in below(upper)]
    running = [pid for server in servers for pid in below(server)]
    workers = [pid for trial in running for pid in below(trial)]
    there = {
        "driver": [driver.pid],
        "above the server": uppers,
        "server": servers,
        "trial": running,
        "worker": workers,
    }[kind]
    return draw.choice(there) if there else None


KINDS = ("driver", "server", "trial", "above the server", "worker", "driver")


def recorded(top):
    if not (top / "study" / "study.json").exists():
        return {}
    return {trial.key.seed: trial for trial in Study.read(top / "study").trials()}


def begun(top):
    file = top / "ledger"
    return Counter(file.read_text().split()) if file.exists() else Counter()


def check_intact(found):
    for seed, trial in found.items():
        if trial.status == "finished":
            curve = tuple((float(step), 1 / (step + 3 + seed)) for step in range(20))
            assert trial.metrics == {"loss": curve}
        else:
            assert trial.error == "status 1", trial.error  # its worker was killed


def harm(top, kind, draw):
    """Start a driver, kill one process of a kind at a random moment, and see that nothing stays behind."""
    before, runs = recorded(top), begun(top)
    with start(top) as driver:
        time.sleep(draw.uniform(0.1, 1.2))
        latest = time.monotonic() + 5
        while (victim := pick(driver, kind, draw)) is None and driver.poll() is None and time.monotonic() < latest:
            time.sleep(0.002)
        if victim is not None:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                victim = None
        if victim is None or kind != "driver":
            time.sleep(draw.uniform(0.0, 0.3))
            driver.send_signal(draw.choice([signal.SIGKILL, signal.SIGINT]))
        driver.communicate(timeout=60)
    trials.wait_until(lambda: trials.processes(str(top)) == [])
    after = recorded(top)
    assert {seed: after[seed] for seed in before} == before
    check_intact(after)
    again = begun(top)
    assert [seed for seed in before if again[str(seed)] > runs[str(seed)]] == [], "a recorded trial was run again"
    return victim is not None


@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])])
def test_killing_any_process_at_any_moment_loses_nothing_that_was_recorded(top, rounds):
    draw = random.Random(rounds)
    struck = Counter()
    for number in range(rounds):
        kind = KINDS[number % len(KINDS)]
        struck[kind] += harm(top, kind, draw)
        if len(recorded(top)) == COUNT:  # begin anew
            for path in (top / "study" / "trials").iterdir():
                path.unlink()
    assert set(struck) == set(KINDS)
    assert sum(struck.values()) >= rounds / 2
    with start(top) as driver:
        said, errors = driver.communicate(timeout=120)
    assert said == "done\n", errors
    found = recorded(top)
    assert sorted(found) == list(range(COUNT))
    check_intact(found)
    assert Counter(trial.status for trial in found.values())["finished"] > COUNT / 2
    assert trials.processes(str(top)) == []
    # a driver that is killed between making a folder and starting its server leaves the empty folder
    assert [path for folder in (top / "temporary").iterdir() for path in folder.iterdir()] == []
    assert [path.name for path in (top / "study" / "locks").iterdir()] == []


@pytest.mark.parametrize("kind", ["server", "above the server", "trial"])
def test_the_driver_continues_when_one_of_its_processes_is_killed(top, kind):
    draw = random.Random(kind)
    with start(top, 4) as driver:
        trials.wait_until(lambda: any(is_sleep(pid) for pid in trials.processes(str(top))))
        victim = pick(driver, kind, draw)
        os.kill(victim, signal.SIGKILL)
        said, errors = driver.communicate(timeout=60)
    assert said == "done\n", errors
    found = recorded(top)
    assert sorted(found) == [0, 1, 2, 3]
    assert {trial.status for trial in found.values()} == {"finished"}
    check_intact(found)
    assert trials.processes(str(top)) == []


def test_two_drivers_of_one_study_share_its_trials(top):
    with start(top) as one, start(top) as other:
        assert one.communicate(timeout=60)[0] == other.communicate(timeout=60)[0] == "done\n"
    assert sorted(recorded(top)) == list(range(COUNT))
    assert set(begun(top).values()) == {1}


def test_a_full_disk_is_reported_and_the_study_continues_when_there_is_room(top):
    """The limit is of a file's size: a write fails in the same way, with nobody's disk filled."""
    code = (
        "import resource, runpy, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import drive; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY)); drive.main(Path(sys.argv[2]), 2)"
    )
    environment = {**os.environ, "PYTHONPATH": trials.HERE}
    done = subprocess.run(
        [sys.executable, "-c", code, trials.HERE, str(top)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "[study-unwritable]" in done.stderr
    assert recorded(top) == {}
    with start(top, 2) as driver:
        assert driver.communicate(timeout=60)[0] == "done\n"
    assert sorted(recorded(top)) == [0, 1]

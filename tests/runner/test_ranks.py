"""Ranks of a distributed training: who is which, by what the launcher set, and whose files belong together."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from relume.artifacts.parts import read_run
from relume.artifacts.reader import read
from relume.runner.ranks import launched

RELUME = Path(sys.executable).with_name("relume")
TORCHRUN = {
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_ERROR_FILE": "/tmp/first/attempt_0/0/error.json",
}
"""What torchrun sets for two processes on one machine."""


def ids(*changes):
    return {launched({**TORCHRUN, "RANK": "0"} | change).run_id for change in changes}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"RANK": "1"},
        {"WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "one", "WORLD_SIZE": "2"},
        {"RANK": "", "WORLD_SIZE": ""},
    ],
    ids=str,
)
def test_a_process_that_is_not_a_rank_has_a_separate_name(environ):
    first, second = launched(environ), launched(environ)
    assert (first.rank, first.ranks) == (0, 1)
    assert first.run_id != second.run_id


def test_ranks_of_one_start_have_one_name():
    of_rank = [{"RANK": str(n), "TORCHELASTIC_ERROR_FILE": f"/tmp/first/attempt_0/{n}/error.json"} for n in range(2)]
    assert len(ids(*of_rank)) == 1
    assert [launched(TORCHRUN | change).rank for change in of_rank] == [0, 1]


@pytest.mark.parametrize(
    "change",
    [
        {"TORCHELASTIC_RESTART_COUNT": "1"},
        {"TORCHELASTIC_RUN_ID": "other"},
        {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"},
        {"MASTER_PORT": "29501"},
        {"TORCHELASTIC_ERROR_FILE": "/tmp/second/attempt_0/0/error.json"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_start_has_another_name(change):
    assert len(ids({}, change)) == 2


def test_ranks_on_several_machines_have_one_name_under_any_launcher():
    far = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    assert len(ids(far, far | {"RANK": "2", "TORCHELASTIC_ERROR_FILE": "/tmp/elsewhere/attempt_0/0/error.json"})) == 1


def test_the_name_reveals_nothing_about_the_environment():
    (name,) = ids({})
    assert len(name) == 16
    assert int(name, 16)


# ---- the files of processes that a launcher starts ----

WAITING = "import sys\nprint('ready', flush=True)\nsys.stdin.read()\n"


def start(folder, rank, ranks, script="x.py", text="pass\n", **options):
    """Begin one rank as a launcher would; its parent is this process."""
    (folder / script).write_text(textwrap.dedent(text))
    env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    env |= {"MASTER_PORT": str(29500 + options.pop("start", 0))}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([RELUME, "run", script], cwd=folder, env=env, text=True, **pipes)


def files(folder):
    return sorted(path.name for path in folder.glob("*.relume*"))


def taken(folder):
    return [part.name for part in read_run(folder / "run.relume")[0]]


def test_only_the_first_rank_reports_and_its_report_has_all(tmp_path):
    ranks = [start(tmp_path, n, 3) for n in range(3)]
    said = [rank.communicate(timeout=60) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0, 0]
    assert [bool(stderr) for _, stderr in said] == [True, False, False]
    assert files(tmp_path) == ["run.rank1.relume", "run.rank2.relume", "run.relume"]
    assert taken(tmp_path) == ["run.relume", "run.rank1.relume", "run.rank2.relume"]


@pytest.mark.alone
def test_summary_waits_for_a_rank_that_ends_a_little_later(tmp_path):
    late = start(tmp_path, 1, 2, text=WAITING)
    assert late.stdout.readline() == "ready\n"
    first = start(tmp_path, 0, 2, text=WAITING)
    assert first.stdout.readline() == "ready\n"
    with pytest.raises(subprocess.TimeoutExpired, match="timed out"):
        first.communicate("", timeout=0.7)
    late.communicate("", timeout=60)
    assert "cut off" not in first.communicate(timeout=60)[1]
    assert first.returncode == 0


@pytest.mark.alone
def test_summary_does_not_wait_forever(tmp_path):
    late = start(tmp_path, 1, 2, text=WAITING)
    assert late.stdout.readline() == "ready\n"
    began = time.monotonic()
    first = start(tmp_path, 0, 2)
    assert "The run is not finished, or it was cut off" in first.communicate(timeout=60)[1]
    assert time.monotonic() - began < 15
    late.communicate("", timeout=60)


def test_a_first_rank_that_fails_does_not_wait(tmp_path):
    late = start(tmp_path, 1, 2, text=WAITING)
    assert late.stdout.readline() == "ready\n"
    first = start(tmp_path, 0, 2, script="y.py", text="raise SystemExit(3)\n")
    assert first.wait(4) == 3
    late.communicate("", timeout=60)
    first.communicate()


def run_all(folder, ranks, **options):
    for process in [start(folder, n, ranks, **options) for n in range(ranks)]:
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_files_of_ranks_that_the_next_start_does_not_have_are_removed(tmp_path):
    run_all(tmp_path, 3, start=1)
    run_all(tmp_path, 2, start=2)
    assert files(tmp_path) == ["run.rank1.relume", "run.relume"]
    subprocess.run([RELUME, "run", "-q", "x.py"], cwd=tmp_path, check=True)
    assert files(tmp_path) == ["run.relume"]


def test_a_rank_of_a_different_run_stays_and_is_not_mixed_in(tmp_path):
    run_all(tmp_path, 2, start=1)
    (tmp_path / "run.rank1.relume").rename(tmp_path / "run.rank2.relume")
    (tmp_path / "run.relume").unlink()
    run_all(tmp_path, 2, start=2)
    left = [name for name in files(tmp_path) if not name.endswith("-journal")]  # of a file that a reader has open
    assert left == ["run.rank1.relume", "run.rank2.relume", "run.relume"]
    parts, unseen = read_run(tmp_path / "run.relume")
    assert [part.name for part in parts] == ["run.relume", "run.rank1.relume"]
    assert [where for _, where, _ in unseen] == ["run.rank2.relume"]


def test_a_rank_that_never_began_is_reported_and_its_old_file_is_not_used(tmp_path):
    run_all(tmp_path, 2, start=1)
    start(tmp_path, 0, 2, start=2).communicate(timeout=60)
    assert taken(tmp_path) == ["run.relume"]
    assert read(tmp_path / "run.relume").meta["ranks"] == 2


def test_a_refused_run_removes_nothing(tmp_path):
    run_all(tmp_path, 2, start=1)
    writing = start(tmp_path, 0, 2, text=WAITING, start=1)
    assert writing.stdout.readline() == "ready\n"
    done = subprocess.run([RELUME, "run", "x.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 4
    assert "[recording-in-use]" in done.stderr
    writing.communicate("", timeout=60)
    assert taken(tmp_path) == ["run.relume", "run.rank1.relume"]

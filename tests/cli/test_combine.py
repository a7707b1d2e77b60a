"""``relume combine``, and the recordings beside the first that report, check and diff take along."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from helpers import commands

from relume.artifacts.parts import beside, others, roles

relume, write = commands.relume, commands.write


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of two ranks and a child: units 1 and 2 are silent on the first rank, 2 and 3 on the other."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "run.relume", dead=[1, 2], run_id="r7", ranks=2)
    write(tmp_path / "run.rank1.relume", dead=[2, 3], run_id="r7", ranks=2, overhead=0.03)
    write(tmp_path / "run.child2.relume", dead=[7], run_id="r7", lines=(30,))
    return tmp_path


def dead(relume, file="run.relume"):
    told = json.loads(relume("report", file, "--json")[1])
    return {site["id"]: site["dead"] for site in told["sites"]}, told


WHOLE = {"Net.act0@train.py:12": [2], "Net.act1@train.py:13": [2], "child2/Net.act0@train.py:30": [7]}


# ---- what lies beside the first ------------------------------------------------------------------------------------


def test_report_takes_the_ranks_and_children_along(relume, run):
    found, told = dead(relume)
    assert found == WHOLE
    assert told["run"]["parts"] == ["run.relume", "run.rank1.relume", "run.child2.relume"]
    assert (told["run"]["ranks"], told["run"]["overhead"]) == (2, 0.03)
    assert told["not_observed"] == []
    site = told["sites"][0]
    assert (site["examples"], site["died_at"]) == (5120, {"2": 100})
    status, stdout, _ = relume("report")
    assert status == 0
    assert (
        "3 of 300 units are dead, 1 of them in Net.act0 (train.py:12); looked at 300 of 5,000 steps, on each of 2 ranks"
        in " ".join(stdout.split())
    )
    assert "Recordings of this run: run.relume, run.rank1.relume, run.child2.relume." in " ".join(stdout.split())


def test_check_and_diff_take_them_along_too(relume, run):
    told = json.loads(relume("check", "--json")[1])
    assert (told["dead"], told["judged"]) == (3, 300)
    shutil.copy("run.rank1.relume", "alone.relume")
    told = json.loads(relume("diff", "run.relume", "alone.relume", "--json")[1])
    assert (told["before"]["dead"], told["after"]["dead"]) == (3, 4)
    assert [site["died"] for site in told["sites"]] == [[3], [3]]
    assert told["lost"] == ["child2/Net.act0@train.py:30"]


def test_a_single_rank_is_reported_as_a_single_rank(relume, run):
    found, told = dead(relume, "run.rank1.relume")
    assert list(found.values()) == [[2, 3], [2, 3]]
    assert "parts" not in told["run"]


def test_recordings_of_an_earlier_run_are_skipped_with_a_note(relume, run):
    write(run / "run.rank1.relume", dead=[9], run_id="earlier")
    found, told = dead(relume)
    assert found["Net.act0@train.py:12"] == [1, 2]
    rows = {row["where"]: row["why"] for row in told["not_observed"]}
    assert "another run" in rows["run.rank1.relume"]
    assert "its recording is missing" in rows["this run"]


def test_a_part_that_cannot_be_read_is_named_and_the_rest_is_reported(relume, run):
    (run / "run.rank1.relume").write_bytes(b"x" * 3000)
    (run / "run.rank2.relume").touch()
    found, told = dead(relume)
    assert found["Net.act0@train.py:12"] == [1, 2]
    rows = {row["where"]: row["why"] for row in told["not_observed"]}
    assert "recording-damaged" in rows["run.rank1.relume"]
    assert "recording-empty" in rows["run.rank2.relume"]
    stdout = relume("check")[1]
    assert "could not be observed" in stdout


def test_a_part_of_a_newer_relume_is_refused_as_the_first_would_be(relume, run):
    db = sqlite3.connect(run / "run.child2.relume")
    db.execute("""UPDATE site SET description = replace(description, '"relu"', '"reluu"')""")
    db.commit()
    db.close()
    status, _, stderr = relume("report")
    assert status == 4
    assert "[recording-newer]" in stderr


def test_names_give_the_roles_and_only_whole_names_match(tmp_path):
    first = tmp_path / "run.relume"
    names = ["run.rank10.relume", "run.rank2.relume", "run.child1.relume", "run.rank2.child1.relume"]
    strangers = ["run.rank.relume", "xrun.rank1.relume", "run.rank1.relume-wal", "run.rank1.db", "run2.rank1.relume"]
    for name in [*names, *strangers]:
        (tmp_path / name).touch()
    assert [path.name for path in others(first)] == [
        "run.rank2.relume", "run.rank10.relume", "run.child1.relume", "run.rank2.child1.relume",
    ]  # fmt: skip
    assert roles(Path("run.relume")) == (0, "")
    assert roles(Path("run.rank2.child1.child3.relume")) == (2, "child1.child3")
    assert beside(first, "rank2", "child1").name == "run.rank2.child1.relume"
    assert beside(Path("a/run"), "rank1") == Path("a/run.rank1")
    assert roles(beside(first, "rank12")) == (12, "")
    assert others(tmp_path / "absent" / "run.relume") == []


# ---- combine -------------------------------------------------------------------------------------------------------


def test_the_named_files_become_one(relume, run):
    status, stdout, stderr = relume(
        "combine", "run.relume", "run.rank1.relume", "run.child2.relume", "-o", "all.relume"
    )
    assert (status, stderr) == (0, "")
    assert stdout.splitlines() == [
        "all.relume: 3 recordings, 3 sites, 300 units",
        "  run.relume: rank 0",
        "  run.rank1.relume: rank 1",
        "  run.child2.relume (child2): rank 0",
        "Next: relume report all.relume",
    ]
    assert dead(relume, "all.relume") == dead(relume, "run.relume")


def test_the_first_file_brings_the_others_along(relume, run):
    assert relume("combine", "run.relume", "-o", "all.relume")[0] == 0
    assert dead(relume, "all.relume")[0] == WHOLE


def test_files_with_unknown_names_are_ranks_in_their_order(relume, run):
    for name, source in (("x.relume", "run.relume"), ("y.relume", "run.rank1.relume")):
        shutil.copy(source, name)
    status, stdout, _ = relume("combine", "x.relume", "y.relume", "-o", "all.relume")
    assert status == 0
    assert "  y.relume: rank 1" in stdout
    assert dead(relume, "all.relume")[0] == {key: [2] for key in WHOLE if "child" not in key}


def test_a_combined_recording_is_not_combined_into_itself(relume, run):
    before = (run / "run.relume").read_bytes()
    status, _, stderr = relume("combine", "run.relume", "run.rank1.relume", "-o", "./run.relume")
    assert status == 4
    assert "OUT is one of the FILES" in stderr
    assert (run / "run.relume").read_bytes() == before


@pytest.mark.parametrize("facts", [{"run_id": "other"}, {"run_id": "r7", "script": "other.py"}])
def test_recordings_of_different_runs_are_refused(relume, run, facts):
    write(run / "b.relume", **facts)
    status, stdout, stderr = relume("combine", "run.relume", "b.relume", "-o", "all.relume")
    assert (status, stdout) == (4, "")
    assert "b.relume is of another run" in stderr
    assert "[not-one-run]" in stderr
    assert not (run / "all.relume").exists()


def test_a_file_of_another_program_is_not_overwritten(relume, run):
    (run / "notes.txt").write_text("precious")
    status, _, stderr = relume("combine", "run.relume", "-o", "notes.txt")
    assert status == 4
    assert "[recording-in-the-way]" in stderr
    assert (run / "notes.txt").read_text() == "precious"
    assert relume("combine", "run.relume")[0] == 4
    assert relume("combine", "-o", "x.relume")[0] == 4
    assert relume("combine", "absent.relume", "run.relume", "-o", "x.relume")[0] == 4
    assert relume("combine", "run.relume", "-o", "no/such/x.relume")[0] == 4


def test_skipped_files_are_named_in_the_output_and_in_the_recording(relume, run):
    (run / "run.rank1.relume").write_bytes(b"x" * 3000)
    status, _, stderr = relume("combine", "run.relume", "-o", "all.relume")
    assert status == 0
    assert "left out: run.rank1.relume" in stderr
    rows = dead(relume, "all.relume")[1]["not_observed"]
    assert {"run.rank1.relume", "this run"} <= {row["where"] for row in rows}

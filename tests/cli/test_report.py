"""``relume report`` on files of every kind: a recording is told, anything else is one paragraph and exit 4."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from relume.artifacts.recording import SCHEMA_VERSION, Clock, Count, Site, SiteRecord, Window
from relume.artifacts.writer import RecordingWriter

RELUME = Path(sys.executable).with_name("relume")
UNITS = 64


def report(file, *options, **environment):
    """The command as a user has it: exit status, stdout, stderr."""
    env = {**os.environ, "COLUMNS": "200", **environment}
    done = subprocess.run([RELUME, "report", file, *options], env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A recording of a run with two sites, events, windows and something unseen."""
    path = tmp_path_factory.mktemp("recorded") / "run.relume"
    rng = np.random.default_rng(0)
    writer = RecordingWriter(path)
    writer.meta(
        script="train.py", argv=["--epochs", "3"], exit=0, torch="2.13", budget=0.02, overhead=0.011, finished=True
    )
    writer.clock(Clock(0, "SGD", "optimizer", 5000, 300))
    for number in range(2):
        site = Site(
            f"net.act{number}", "Net", f"act{number}", "nn.ReLU", "train.py", 12 + number, "relu", {}, "net.first", 1,
            UNITS, False, 0,
        )  # fmt: skip
        record = SiteRecord.new(site)
        fired = rng.integers(1, 2000, UNITS)
        fired[5] = 0
        record.total = record.window = Count(40, 2560, 2560, fired, 2560 - fired, rng.random(UNITS))
        record.first_fired = np.where(fired > 0, 0, -1)
        record.last_fired = np.where(fired > 0, 4990, -1)
        record.silent_since = np.where(fired > 0, -1, 0)
        writer.site(number, record)
        writer.events(number, [(5, 0, "died"), (9, 100, "died"), (9, 200, "revived")])
        writer.window(Window(0, 2000 * number, 2000 * number + 1999, 40), [(0, 1, 2560)])
    writer.not_observed("softplus", "train.py:30", "relume does not know this activation")
    writer.close()
    return path


def refused(path, *words):
    """The report of this file is one paragraph that names it, and exit 4; returns the paragraph."""
    status, stdout, stderr = report(path)
    assert status == 4, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert stderr.startswith("relume: ")
    assert stderr.count("\n") == 1
    assert str(path) in stderr
    for word in words:
        assert word in stderr
    return stderr


def test_a_recording_is_reported(recording):
    status, stdout, stderr = report(recording)
    assert (status, stderr) == (0, "")
    assert "2 of 128 units are dead" in stdout
    status, stdout, stderr = report(recording, "--json")
    assert (status, stderr) == (0, "")
    told = json.loads(stdout)
    assert told["schema"] == 1
    assert [site["id"] for site in told["sites"]] == ["net.act0", "net.act1"]
    assert told["sites"][0]["dead"] == [5]


def test_markdown_for_a_comment(recording):
    status, stdout, stderr = report(recording, "--md")
    assert (status, stderr) == (0, "")
    assert stdout.startswith("### relume: 2 of 128 units are dead, 1 of them in act0 (train.py:12)\n")
    assert "| `act0` `nn.ReLU` | `train.py:12` | 64 | 1 |" in stdout
    assert "<summary>Not observed: 1</summary>" in stdout


def test_annotations_for_github(recording):
    status, stdout, stderr = report(recording, "--github")
    assert (status, stderr) == (0, "")
    assert all(line.startswith("::warning file=train.py,line=1") for line in stdout.splitlines())
    for line in (12, 13):
        assert f"::warning file=train.py,line={line},title=RLM002 born_dead::act{line - 12}: 1 of 64 units" in stdout


def test_a_page_to_look_at(recording, tmp_path):
    out = tmp_path / "report.html"
    status, stdout, stderr = report(recording, "--html", out)
    assert (status, stdout) == (0, "")
    assert stderr.startswith(f"Wrote {out}, 0.")
    page = out.read_text(encoding="utf-8")
    assert "2 of 128 units are dead" in page
    assert "relume check run.relume --max-dead 1%" in page
    assert str(recording.parent) not in page


def test_a_page_shows_the_source_unless_it_must_not(recording, tmp_path):
    (recording.parent / "train.py").write_text("\n" * 11 + "x = secret_sauce(x)\n", encoding="utf-8")
    for options, shown in ([], True), (["--no-source"], False):
        assert report(recording, "--html", tmp_path / "a.html", *options)[0] == 0
        assert ("secret_sauce" in (tmp_path / "a.html").read_text(encoding="utf-8")) is shown


def test_a_format_by_its_name_is_the_flag(recording):
    for name in ("json", "md", "github"):
        assert report(recording, "--format", name) == report(recording, f"--{name}")
    status, page, _ = report(recording, "--format", "html")
    assert status == 0
    assert page.startswith("<!doctype html>")


def test_the_page_is_opened_in_a_browser(recording, tmp_path):
    seen, copy = tmp_path / "seen", shutil.copy(recording, tmp_path / "a run.relume")
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1" > "{seen}"\n')
    opener.chmod(0o755)
    status, _, _ = report(copy, "--open", PATH=f"{tmp_path}:{os.environ['PATH']}")
    page = tmp_path / "a run.html"
    latest = time.monotonic() + 20
    while not (seen.exists() and seen.read_text()) and time.monotonic() < latest:
        time.sleep(0.05)
    assert (status, page.exists(), seen.read_text().strip()) == (0, True, str(page))


def test_a_machine_without_a_browser_says_so(recording, tmp_path):
    status, _, err = report(recording, "--html", tmp_path / "run.html", "--open", PATH="")
    assert status == 0
    assert "no browser found" in err


def test_a_page_that_cannot_be_written_is_one_sentence(recording, tmp_path):
    status, stdout, stderr = report(recording, "--html", tmp_path / "absent" / "a.html")
    assert (status, stdout) == (4, "")
    assert stderr.startswith("relume: Cannot write ")
    assert "[cannot-write]" in stderr
    assert "--no-source needs --html" in report(recording, "--no-source")[2]


@pytest.mark.parametrize("options", [["--json", "--md"], ["--md", "--github"], ["--json", "--html", "a.html"]])
def test_one_format_at_a_time(recording, options):
    status, stdout, stderr = report(recording, *options)
    assert status == 4
    assert "cannot be combined" in stderr
    assert "cannot be combined" in stdout if "--json" in options else stdout == ""


def test_file_is_the_one_that_run_writes_by_default(recording, tmp_path):
    shutil.copy(recording, tmp_path / "run.relume")
    done = subprocess.run([RELUME, "report"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "2 of 128 units are dead" in done.stdout


@pytest.mark.parametrize(
    "name", ["a b.relume", "100%.relume", "what?.relume", "#1.relume", "größe.relume", "-x.relume"]
)
def test_odd_names_are_read(recording, tmp_path, name):
    shutil.copy(recording, tmp_path / name)
    status, stdout, stderr = report(tmp_path / name)
    assert (status, stderr) == (0, "")
    assert "2 of 128 units are dead" in stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_stdout_with_few_characters_is_not_a_failure(recording, options):
    status, stdout, stderr = report(recording, *options, PYTHONIOENCODING="ascii")
    assert (status, stderr) == (0, "")
    assert "net.act0" in stdout or "act0" in stdout


def test_a_reader_that_goes_away_is_not_a_failure(recording):
    done = subprocess.run(["sh", "-c", f"{RELUME} report {recording} --json | true"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_absent_file(tmp_path):
    refused(tmp_path / "absent.relume", "no recording", "relume run", "[recording-absent]")


def test_folder(tmp_path):
    refused(tmp_path, "relume run")


def test_name_longer_than_the_system_takes(tmp_path):
    refused(tmp_path / ("x" * 300), "[recording-absent]")


def test_empty_file(tmp_path):
    (tmp_path / "e.relume").touch()
    refused(tmp_path / "e.relume", "empty", "Record again", "[recording-empty]")


@pytest.mark.parametrize(
    "content", [b"x", b"not a database, but some words\n" * 200, b"\0" * 5000, b"SQLite format 3\0", os.urandom(9000)]
)
def test_file_of_another_kind(tmp_path, content):
    path = tmp_path / "other.relume"
    path.write_bytes(content)
    refused(path, "record again", "[recording-damaged]")
    assert path.read_bytes() == content


def test_sqlite_file_of_another_program(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE site (id, description)")
    db.close()
    refused(path, "not a recording", "[recording-foreign]")


def test_recording_of_a_newer_relume(recording, tmp_path):
    path = tmp_path / "new.relume"
    shutil.copy(recording, path)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    refused(path, f"schema {SCHEMA_VERSION + 1}", "pip install -U relume", "[recording-newer]")


def test_recording_with_an_activation_that_this_relume_does_not_know(recording, tmp_path):
    path = tmp_path / "new.relume"
    shutil.copy(recording, path)
    db = sqlite3.connect(path)
    db.execute("""UPDATE site SET description = replace(description, '"relu"', '"reluu"')""")
    db.commit()
    db.close()
    refused(path, "reluu", "pip install -U relume", "[recording-newer]")


def test_recording_cut_off_anywhere(recording, tmp_path):
    whole = recording.read_bytes()
    cuts = {1, 15, 16, 72, 99, 100, 4095, 4096, 4097, len(whole) // 2, len(whole) - 1, *range(0, len(whole), 4096)} - {
        0
    }
    path = tmp_path / "cut.relume"
    for cut in sorted(cuts)[::2]:
        path.write_bytes(whole[:cut])
        refused(path, "[recording-damaged]")


def in_process(path):
    """The same command without a process of its own, for tests of many files: exit status and stderr."""
    from relume.cli.report import command
    from relume.errors import RecordingError

    try:
        command.main([str(path)], standalone_mode=False)
    except RecordingError as error:
        return 4, str(error)
    return 0, ""


def test_a_recording_with_a_flipped_bit_is_reported_or_refused_without_a_crash(recording, tmp_path, capsys):
    whole = recording.read_bytes()
    rng = np.random.default_rng(1)
    places = [*range(110), *rng.integers(0, len(whole), 500).tolist()]
    path, refusals = tmp_path / "flipped.relume", 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        status, text = in_process(path)
        if status:
            refusals += 1
            assert str(path) in text
    assert refusals > 20
    capsys.readouterr()


DAMAGES = {
    "a count shorter than the units": "UPDATE count SET fired = zeroblob(8)",
    "a count of half a number": "UPDATE count SET flat = zeroblob(7)",
    "magnitudes of another length": "UPDATE count SET magnitude = zeroblob(8 * 65)",
    "steps of another length": "UPDATE unit SET numbers = zeroblob(16) WHERE name = 'last_fired'",
    "a number where bytes are": "UPDATE count SET fired = 7",
    "text where a number is": "UPDATE count SET samples = 'many'",
    "more units than counts": "UPDATE site SET description = replace(description, '64', '65')",
    "a clock that is not there": "DELETE FROM clock",
    "a clock of an unknown kind": "UPDATE clock SET kind = 'sundial'",
    "steps that are text": "UPDATE clock SET steps = 'many'",
    "a description that is no JSON": "UPDATE site SET description = '{'",
    "a description that lacks a field": "UPDATE site SET description = '{}'",
    "a description that is no object": "UPDATE site SET description = '[]'",
    "an event of an absent site": "UPDATE event SET site = 77",
    "an event of an absent unit": "UPDATE event SET unit = 640",
    "facts that are no JSON": "UPDATE meta SET value = 'x'",
    "a span of an unknown name": "UPDATE count SET span = 'week' WHERE span = 'window'",
    "numbers of an unknown name": "UPDATE unit SET name = 'site' WHERE name = 'last_fired'",
    "a table less": "DROP TABLE timeline",
    "no table at all": "; ".join(
        f"DROP TABLE {t}" for t in ("meta", "clock", "site", "count", "unit", "event", "window")
    ),
    "a column less": "ALTER TABLE event DROP COLUMN kind",
    "rates that are no JSON": "INSERT INTO rate VALUES (0, 0, 'x')",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_recording_whose_content_was_altered(recording, tmp_path, damage, capsys):
    path = tmp_path / "altered.relume"
    shutil.copy(recording, path)
    db = sqlite3.connect(path)
    db.executescript(DAMAGES[damage])
    db.commit()
    db.close()
    status, text = in_process(path)
    assert status == 4, "it was told as if it were whole"
    assert str(path) in text
    assert "[recording-damaged]" in text
    assert capsys.readouterr().out == ""

"""``relume diff``: two recordings side by side, and what cannot be compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import commands

relume, write = commands.relume, commands.write
RELUME = Path(sys.executable).with_name("relume")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.relume", dead=[1, 2, 3])
    write(tmp_path / "b.relume", dead=[3, 4], overhead=0.03)
    return tmp_path


def test_two_runs_are_shown_side_by_side(relume, runs):
    status, stdout, stderr = relume("diff", "a.relume", "b.relume")
    assert (status, stderr) == (0, "")
    assert "6 of 200" in stdout
    assert "4 of 200" in stdout
    assert "act0 (train.py:12) dead in B, not in A: unit 4" in stdout
    assert "act0 (train.py:12) dead in A, not in B: units 1, 2" in stdout
    assert "3 %" in stdout
    assert "Next: relume report b.relume" in stdout


def test_the_command_as_a_process(runs):
    done = subprocess.run([RELUME, "diff", "a.relume", "b.relume"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 → 2" in done.stdout


def test_json_has_all(relume, runs):
    status, stdout, _ = relume("diff", "a.relume", "b.relume", "--json")
    told = json.loads(stdout)
    assert (status, told["schema"], told["comparable"]) == (0, 1, True)
    assert [(site["died"], site["lived"]) for site in told["sites"]] == [([4], [1, 2])] * 2
    assert (told["before"]["share"], told["after"]["share"]) == (0.03, 0.02)
    assert (told["before"]["overhead"], told["after"]["overhead"]) == (0.01, 0.03)


def test_runs_without_a_common_site_cannot_be_compared(relume, runs):
    write(runs / "none.relume", lines=())
    for other, word in (("none.relume", "no activation was watched in B"),):
        status, stdout, _ = relume("diff", "a.relume", other)
        assert status == 5
        assert word in stdout
    status, stdout, _ = relume("diff", "none.relume", "b.relume", "--json")
    assert status == 5
    assert json.loads(stdout)["comparable"] is False


def test_a_file_that_cannot_be_read_is_named(relume, runs):
    status, stdout, stderr = relume("diff", "a.relume", "absent.relume")
    assert (status, stdout) == (4, "")
    assert "absent.relume" in stderr
    assert relume("diff", "a.relume")[0] == 4


def test_markdown_says_what_changed_since(relume, runs):
    status, stdout, _ = relume("diff", "a.relume", "b.relume", "--md")
    assert status == 0
    assert stdout.startswith("### relume: −2 dead units since a.relume\n")
    assert "6 → 4 of 200 units are dead (3 % → 2 %)." in stdout
    assert "| `act0` | `train.py:12` | 100 | 3 → 2 | 1 | 2 |" in stdout
    same = relume("diff", "a.relume", "a.relume", "--format", "md")[1]
    assert same.startswith("### relume: no change in dead units since a.relume\n")
    assert "|" not in same


def test_a_page_shows_both_runs(relume, runs):
    status, stdout, stderr = relume("diff", "a.relume", "b.relume", "--html", "diff.html")
    assert (status, stdout) == (0, "")
    assert "Wrote diff.html" in stderr
    page = (runs / "diff.html").read_text(encoding="utf-8")
    assert "−2 dead units since a.relume" in page
    assert page.count('<svg class="grid"') == 4
    write(runs / "none.relume", lines=())
    status, page, _ = relume("diff", "none.relume", "b.relume", "--format", "html")
    assert status == 5
    assert "no activation was watched in A" in page

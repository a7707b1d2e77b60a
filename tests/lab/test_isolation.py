"""Which way of isolation a machine gets, what it is told of that, and what each does on a machine that is different."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import trials

from relume.lab.trials import isolation
from relume.lab.trials.isolation import Isolation
from relume.lab.trials.mirror import LockedMirror, Mirror
from relume.lab.trials.overlay import Overlay

pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
"""JAX, which other tests of the process have loaded, warns of every fork."""

BODIES = {Overlay: "bodies", LockedMirror: "bodies_locked", Mirror: "bodies_mirrored"}


@pytest.fixture(autouse=True)
def bodies(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", trials.HERE)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "home" / "project"
    (made / "data").mkdir(parents=True)
    (made / "data" / "x.csv").write_text("1,2\n")
    (made / "log.txt").write_text("first\n")
    return made


def run(top, folder, text, body="bodies", **options):
    with trials.executor(top / "out", body=f"{body}:plain") as executor:
        (outcome,) = executor.run([trials.order(folder, text, plan=None, **options)])
    return outcome


def lacking(way, tmp_path, folder):
    """Why this machine does not let a process go that way; "" if it does."""
    return isolation._try(way.of(tmp_path / "attempt", folder))


@pytest.mark.parametrize("way", BODIES)
def test_an_isolation_that_is_not_available_gives_the_reason(tmp_path, folder, way):
    """A way that this kernel lacks is a reason too: then the next one is gone, and says so."""
    ahead = isolation.WAYS[: isolation.WAYS.index(way)]
    reasons = [f"{each.__name__}: no kernel has that" for each in ahead]
    made = Isolation([*map(_impossible, ahead), *isolation.WAYS[len(ahead) :]])
    made.sandbox(tmp_path / "1", folder, (), "")
    reasons += [reason for each in (way,) if (reason := lacking(each, tmp_path, folder))]
    said = made.caution(folder)
    assert all(reason in said for reason in reasons)
    assert bool(said) == bool(reasons)


def _impossible(way):
    def enter(self):
        raise OSError("no kernel has that")

    return type(way.__name__, (way,), {"enter": enter})


def test_a_machine_without_any_isolation_runs_no_trial(tmp_path, folder):
    made = Isolation([_impossible(Overlay), _impossible(Mirror)])
    with pytest.raises(OSError, match="Overlay: no kernel has that; Mirror: no kernel has that"):
        made.sandbox(tmp_path / "1", folder, (), "")


def test_a_killed_attempt_decides_nothing(tmp_path, folder):
    class KilledOnce(Mirror):
        def enter(self):
            if not (tmp_path / "tried").exists():
                (tmp_path / "tried").touch()
                os.kill(os.getpid(), 9)

    made = Isolation([KilledOnce])
    assert isinstance(made.sandbox(tmp_path / "1", folder, (), ""), KilledOnce)


RENAMES = """
import json, os
open("log.txt", "a").write("second")
os.rename("data", "old")
open("old/x.csv", "a").write("3")
os.mkdir("data")
os.replace("old", "data")
print(json.dumps([open("data/x.csv").read(), sorted(os.listdir()), os.getuid(), os.getcwd()]))
"""


def test_an_overlay_takes_no_privilege(tmp_path, folder):
    outcome = run(tmp_path, folder, RENAMES, body="bodies_unprivileged", written=("gone",))
    told = json.loads(trials.said(tmp_path / "out"))
    assert outcome.trial.status == "finished"
    assert told[:3] == ["1,2\n3", ["data", "log.txt", "train.py"], os.getuid()]
    assert outcome.found["written"] == ["data/x.csv", "log.txt"]
    assert ((folder / "log.txt").read_text(), os.listdir(folder / "data")) == ("first\n", ["x.csv"])
    reason = lacking(Overlay, tmp_path, folder)
    assert (told[3] == str(folder)) != bool(reason), f"an overlay is at the user's own path: {reason}"
    assert all(part in " ".join(outcome.found["remarks"]) for part in reason.split(": ")[:1])


def test_a_folder_with_another_name_works_as_well(tmp_path, monkeypatch):
    """Commas and colons separate the options of a mount; ``upper`` and ``work`` are folders of an overlay's."""
    for name in ("a,b:c\\d e", "own", "upper", "work", "mirror"):
        folder = tmp_path / name / name
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("first\n")
        outcome = run(folder, folder, "open('log.txt', 'w').write('x')\nprint(open('log.txt').read())\n")
        assert (outcome.trial.status, outcome.found["written"]) == ("finished", ["log.txt"])
        assert (folder / "log.txt").read_text() == "first\n"


def in_namespace(folder, text, mounted, size, body="bodies", **environment):
    (folder / "train.py").write_text(text)
    done = subprocess.run(
        [sys.executable, f"{trials.HERE}/in_namespace.py", body, str(folder), str(mounted), str(size)],
        env={**os.environ, "PYTHONPATH": trials.HERE, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_mounts_in_the_folder_are_seen_and_protected_too(folder, tmp_path):
    text = "open('data/x', 'a').write('2')\nopen('data/y', 'w')\nprint(open('data/x').read())\n"
    told = in_namespace(folder, text, folder / "data", 1_000_000)
    if "lacking" in told:  # then nothing of this machine is mounted by a user either
        assert lacking(Overlay, tmp_path, folder)
        return
    assert told == {"status": "finished", "written": ["data/x", "data/y"], "log": "yours2\n", "x": "yours"}


@pytest.mark.parametrize("body", BODIES.values())
def test_a_full_disk_does_not_change_the_users_files(folder, tmp_path, body):
    (folder / "log.txt").write_bytes(bytes(3_000_000))
    (tmp_path / "small").mkdir()
    text = "with open('log.txt', 'r+b') as file:\n    file.write(b'x' * 3_000_000)\n"
    told = in_namespace(folder, text, tmp_path / "small", 900_000, body, TMPDIR=str(tmp_path / "small"))
    if "lacking" in told:
        assert lacking(Overlay, tmp_path, folder)
        return
    assert told["status"] == "none"
    assert "is full, so a trial failed" in told["error"]
    assert (folder / "log.txt").read_bytes() == bytes(3_000_000)

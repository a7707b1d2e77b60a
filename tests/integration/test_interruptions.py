"""A training that ends hard: same bits and exit as under Python, and a recording to its last second."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relume.artifacts.reader import read

pytest.importorskip("torch")

RELUME = [Path(sys.executable).with_name("relume"), "run", "--budget", "100%", "--out"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
STEPS = 200
TRAIN = """
import hashlib, os, signal, sys, threading, time
import torch
{before}
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(net.parameters(), 0.01)
for step in range({steps}):
    optimizer.zero_grad()
    net(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
    {each}
digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest()
print(digest, flush=True)
{after}
"""
# name: before the training, within each step, after it
DISTURBED = {
    "SIGTERM": ("", "", "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"),
    "SIGKILL": ("", "", "os.kill(os.getpid(), signal.SIGKILL)"),
    "os._exit": ("", "", "os._exit(7)"),
}
KILLED = {"SIGTERM", "SIGKILL"}  # the last second, here most of the run, may be missing


def run(folder, *command):
    return subprocess.run([*command, "x.py"], cwd=folder, env=ENV, capture_output=True, timeout=140)


def both(folder, before, each="", after=""):
    """The script under Python and under relume; asserts that status and stdout are the same."""
    (folder / "x.py").write_text(TRAIN.format(before=before, each=each, after=after, steps=STEPS))
    plain, watched = run(folder, sys.executable), run(folder, *RELUME, "t.relume")
    assert (plain.returncode, plain.stdout) == (watched.returncode, watched.stdout), watched.stderr.decode()
    assert len(watched.stdout.split()[0]) == 64
    return watched.stderr.decode()


@pytest.mark.parametrize("name", DISTURBED)
def test_a_disturbed_training_ends_as_under_python_and_its_recording_is_whole(tmp_path, name):
    said = both(tmp_path, *DISTURBED[name])
    assert "this is a bug" not in said
    found = read(tmp_path / "t.relume")
    if name not in KILLED:
        assert found.clocks[0].steps == STEPS
        assert found.sites[0].total.looks >= 1


FULL = """
    if step == 100:
        time.sleep(1.5)  # what was seen so far is written within a second
    if step == 150:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
"""


def test_a_disk_that_fills_ends_the_watching_and_neither_the_training_nor_what_was_written(tmp_path):
    said = both(tmp_path, "", FULL)
    assert said.count("the watching has ended; the training continues unchanged: Cannot write the recording") == 1
    assert "[recording-not-writable]" in said
    assert "bug" not in said
    found = read(tmp_path / "t.relume")
    assert 100 <= found.clocks[0].steps < STEPS
    assert found.sites[0].total.looks >= 1


def test_a_disk_that_is_full_at_the_start_is_a_refusal(tmp_path):
    (tmp_path / "x.py").write_text("print('started')")
    command = f"ulimit -f 1; exec {' '.join(map(str, RELUME))} t.relume x.py"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=ENV, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("relume: Cannot write the recording ")
    assert done.stderr.count("\n") == 1

"""The verbs for Python that read runs: the same answers as the commands give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import relume
from relume.errors import ParameterError, RecordingError, UnknownName

RELUME = Path(sys.executable).with_name("relume")


def watched(dead, seed=0):
    """Watch a net of eight units train, of which so many are dead."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        net[0].bias[:dead] = -1e3
        net[0].bias[dead:] = 1.0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with relume.watch(net, every=1) as watch:
        for _ in range(20):
            optimizer.zero_grad()
            net(torch.randn(32, 4)).square().mean().backward()
            optimizer.step()
    return watch


@pytest.mark.parametrize("what", [lambda w, f: w, lambda w, f: w.findings(), lambda w, f: f, lambda w, f: str(f)])
def test_check_takes_a_watch_its_findings_or_a_file(tmp_path, what):
    watch, file = watched(dead=2), tmp_path / "run.relume"
    watch.save(file)
    run = what(watch, file)
    verdict = relume.check(run)
    assert (verdict.holds, verdict.dead, verdict.judged) == (False, 2, 8)
    assert relume.check(run, max_dead=0.25).holds
    assert not relume.check(run, fail_on=["born_dead"]).holds


def test_check_and_diff_give_the_same_as_the_commands(tmp_path):
    for name, dead in (("a", 1), ("b", 3)):
        watched(dead).save(tmp_path / f"{name}.relume")
    a, b = (tmp_path / f"{name}.relume" for name in "ab")
    done = subprocess.run([RELUME, "check", a, "--max-dead", "5%", "--json"], capture_output=True, text=True)
    assert json.loads(done.stdout) == relume.check(a, max_dead=0.05).to_dict()
    done = subprocess.run([RELUME, "diff", a, b, "--json"], capture_output=True, text=True)
    difference = relume.diff(a, b)
    assert json.loads(done.stdout) == difference.to_dict()
    assert difference.comparable
    assert relume.diff(watched(1), b).to_dict()["sites"] == difference.to_dict()["sites"]


def test_an_object_that_cannot_be_checked_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"max_dead is 5; expected a share of the units in \[0, 1\]"):
        relume.check(tmp_path / "x.relume", max_dead=5)
    with pytest.raises(RecordingError, match="There is no recording"):
        relume.check(tmp_path / "absent.relume")
    with pytest.raises(RecordingError, match="There is no recording"):
        relume.diff(watched(0), tmp_path / "absent.relume")
    with pytest.raises(UnknownName, match="There is no rule 'ded_unit'"):
        relume.check(watched(0), fail_on=["ded_unit"])

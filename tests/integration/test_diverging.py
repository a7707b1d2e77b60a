"""A training that diverges: NaN comes first, at its step and site, and no warning of relume's reaches the user."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.PReLU(),
                    nn.Linear(32, 1))
opt = torch.optim.SGD(net.parameters(), lr=40.0)
for step in range(60):
    x = torch.randn(16, 8)
    loss = ((net(x) - x.sum(1, keepdim=True)) ** 2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
print(loss.item())
"""


def python(folder, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("diverging")
    (made / "train.py").write_text(SCRIPT, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def watched(folder):
    return python(folder, "-m", "relume", "run", "--every", "1", "train.py")


def test_the_headline_says_since_which_step_and_where_it_began(watched):
    assert (watched.returncode, watched.stdout) == (0, "nan\n"), watched.stderr
    said = " ".join(watched.stderr.split())
    assert (
        "All 96 units are NaN or infinite since step 3; it began at Sequential.5 · after Linear 32→32 (train.py:11)"
        in said
    )
    assert "it began here, at a learning rate of 40" in said
    assert "first: this one follows from it" in said
    assert "Warning" not in watched.stderr


def test_with_warnings_as_errors_the_watching_continues_and_finds_the_same(folder, watched):
    strict = python(folder, "-W", "error", "-m", "relume", "run", "--every", "1", "--out", "strict.relume", "train.py")
    assert (strict.returncode, strict.stdout) == (0, "nan\n"), strict.stderr
    told = [
        json.loads(python(folder, "-W", "error", "-m", "relume", "report", name, "--json").stdout)
        for name in ("run.relume", "strict.relume")
    ]
    assert told[0]["sites"] == told[1]["sites"]
    assert told[0]["findings"] == told[1]["findings"]
    assert told[0]["timelines"] == told[1]["timelines"]
    assert "fault" not in told[1]["run"]


def test_the_recording_has_every_loss_and_the_step_at_which_it_ceased_to_be_finite(folder, watched):
    (timeline,) = json.loads(python(folder, "-m", "relume", "report", "--json").stdout)["timelines"]
    assert [point["first_step"] for point in timeline["losses"]] == list(range(60))
    assert [point["non_finite"] for point in timeline["losses"]] == [0] * 3 + [1] * 57
    assert timeline["loss_non_finite_since"] == 3
    assert timeline["rates"] == [{"step": 0, "rates": [40.0]}]


def test_the_check_fails(folder, watched):
    done = python(folder, "-m", "relume", "check", "--max-dead", "100%")
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL  ")
    assert "RLM008 non_finite" in done.stdout

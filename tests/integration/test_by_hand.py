"""A training without an optimizer, as courses write it: the backward passes are its steps, also within the budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
with torch.no_grad():
    net[0].bias[5] = -50.0
for step in range(60):
    net.zero_grad()
    net(torch.randn(32, 8)).square().mean().backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= 0.01 * parameter.grad
"""


def test_steps_by_hand_are_seen_and_their_losses_are_recorded(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "relume"]
    run = subprocess.run(
        [*command, "run", "train.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    told = subprocess.run([*command, "report", "run.relume", "--json"], cwd=tmp_path, env=env, capture_output=True)
    data = json.loads(told.stdout)
    (site,) = data["sites"]
    assert site["dead"] == [5]
    assert data["run"]["steps"] == 60
    assert data["run"]["looked"] > 40
    assert "frozen" not in str(site["cause"])

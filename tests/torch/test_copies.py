"""A copy whose weights are loaded from a trained network is counted there; what moves by hand is trained by hand."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume


class Q(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 16), nn.Linear(16, 2)
        with torch.no_grad():
            self.a.bias[:3] = -50

    def forward(self, x):
        return self.b(F.relu(self.a(x)))


def load(target, online):
    target.load_state_dict(online.state_dict())


def through_data(target, online):
    for mine, its in zip(target.parameters(), online.parameters(), strict=True):
        mine.data.mul_(0.9).add_(0.1 * its.data)


@torch.no_grad()
def lerp(target, online):
    for mine, its in zip(target.parameters(), online.parameters(), strict=True):
        mine.lerp_(its, 0.1)


def never(target, online):
    pass


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import test_copies
test_copies.train(test_copies.{update}, target={target})
"""


def train(update, target=True):
    """Train with a target network that ``update`` changes; ``target``: it begins as a copy."""
    torch.manual_seed(0)
    online = Q()
    copied = copy.deepcopy(online) if target else Q()
    optimizer = torch.optim.Adam(online.parameters(), lr=5e-3)
    for step in range(60):
        x = torch.randn(16, 4)
        q = online(x)
        with torch.no_grad():
            wanted = copied(x) * 0.9 + 1
        optimizer.zero_grad()
        F.mse_loss(q, wanted).backward()
        optimizer.step()
        if step % 7 == 0:
            update(copied, online)


def reported(tmp_path, update, target=True):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent), update=update, target=target))
    recording = tmp_path / "run.relume"
    for words in (["run", "--every", "1", "--out", str(recording), str(script)], ["report", str(recording), "--json"]):
        done = subprocess.run([sys.executable, "-m", "relume", *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("update", ["load", "through_data", "lerp"])
def test_a_target_network_is_counted_once(tmp_path, update):
    report = reported(tmp_path, update)
    (site,) = report["sites"]
    assert site["model"] == "Q"
    assert set(site["dead"]) >= {0, 1, 2}
    assert site["copies"] == [f"Q#2@{site['source']}"]
    (row,) = report["not_observed"]
    assert row["what"] == "Q#2"
    assert row["why"].startswith("target copy of Q:")
    assert "or train it" not in json.dumps(report)


def test_a_network_of_the_same_class_that_is_not_a_copy_is_counted(tmp_path):
    report = reported(tmp_path, "never", target=False)
    assert [site["model"] for site in report["sites"]] == ["Q", "Q#2"]
    assert report["not_observed"] == []


def test_a_target_network_inside_the_watched_module_is_folded_into_the_right_one_of_two():
    torch.manual_seed(0)

    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = Q(), Q()
            self.target_one, self.target_two = copy.deepcopy(self.one), copy.deepcopy(self.two)

        def loss(self, x):
            with torch.no_grad():
                wanted = torch.minimum(self.target_one(x), self.target_two(x)) * 0.9 + 1
            return F.mse_loss(self.one(x), wanted) + F.mse_loss(self.two(x), wanted)

    agent = Agent()
    optimizer = torch.optim.Adam([*agent.one.parameters(), *agent.two.parameters()], lr=5e-3)
    with relume.watch(agent, every=1) as watch:
        for _ in range(30):
            optimizer.zero_grad()
            agent.loss(torch.randn(16, 4)).backward()
            optimizer.step()
            lerp(agent.target_one, agent.one)
            lerp(agent.target_two, agent.two)
    report = watch.to_dict()
    assert {site["module"]: len(site["copies"]) for site in report["sites"]} == {"one": 1, "two": 1}
    assert [(row["what"], row["why"].partition(":")[0]) for row in report["not_observed"]] == [
        ("Agent.target_one", "target copy of Agent.one"),
        ("Agent.target_two", "target copy of Agent.two"),
    ]


def test_weights_that_move_by_hand_are_trained_and_not_frozen():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    with relume.watch(net, every=1) as watch:
        for step in range(300):
            x = torch.randn(64, 10)
            loss = (net(x) - 3 * x[:, :1].abs()).square().mean()
            net.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= (0.6 if step < 200 else 0.01) * p.grad.clamp(-1, 1)
    (site,) = watch.to_dict()["sites"]
    kinds = {cause["kind"] for cause in site["cause"].values()}
    assert site["dead"]
    assert kinds
    assert "frozen" not in kinds


@pytest.mark.parametrize(("decay", "advice"), [(0.15, "exempt the slopes from weight decay"), (0.0, "use ReLU here")])
def test_small_slopes_under_weight_decay_are_attributed_to_it(decay, advice):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 32), nn.PReLU(32, init=0.25 if decay else 0.01), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1 if decay else 1e-4, weight_decay=decay)
    with relume.watch(net, every=1) as watch:
        for _ in range(250):
            x = torch.randn(32, 10)
            optimizer.zero_grad()
            (net(x) - x[:, :1].relu()).square().mean().backward()
            optimizer.step()
    (found,) = [f for f in watch.to_dict()["findings"] if f["slug"] == "learned_slope"]
    assert found["advice"].startswith(advice)
    assert ("weight decay of 0.15" in found["evidence"]) == bool(decay)

"""A trial is watched while it is treated: what is seen is the contender, at the user's line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import treating
from torch import nn

import relume

NAMES = ["relu", "leaky_relu:0.2", "prelu:channel", "rrelu", "relu6", "elu", "selu", "celu", "gelu", "silu", "tanh"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(6, 8), nn.Linear(8, 7), nn.Linear(7, 5), nn.Linear(5, 2)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.a(x))  # line 1
        x = F.relu(self.b(x))  # line 2
        x = self.c(x)
        x.relu_()  # line 4
        return self.out(x)


def train(watched: bool):
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.b.bias[3] = -50.0
    watch = relume.watch(net, budget=1.0)
    if watched:
        watch.start()
    losses = treating.descend(net, torch.optim.SGD(net.parameters(), 0.01), steps=20)
    watch.stop()
    return losses, watch


@pytest.mark.parametrize("name", NAMES)
def test_the_watch_sees_the_contender_at_the_users_lines(name):
    plan = treating.survey(train, False)
    with treating.treated(name, plan):
        bare, _ = train(False)
    with treating.treated(name, plan):
        losses, watch = train(True)
    assert losses == bare
    report = watch.to_dict()
    first = Net.forward.__code__.co_firstlineno
    lines = [f"{Path(__file__).name}:{first + n}" for n in (1, 2, 4)]
    assert [Path(site["source"]).name for site in report["sites"]] == lines
    assert [site["activation"] for site in report["sites"]] == [name.partition(":")[0]] * 3
    assert [site["units"] for site in report["sites"]] == [8, 7, 5]
    assert report["not_observed"] == []
    if name in ("relu", "relu6"):
        assert 3 in report["sites"][1]["dead"]


def test_a_custom_module_is_not_an_activation_but_its_calls_are():
    plan = treating.survey(train, False)
    sys.modules["acts_of_a_user"] = acts = type(sys)("acts_of_a_user")
    acts.bent = lambda x: torch.where(x > 0, x, 0.1 * x)
    with treating.treated("acts_of_a_user:bent", plan):
        _, watch = train(True)
    del sys.modules["acts_of_a_user"]
    assert watch.to_dict()["sites"] == []

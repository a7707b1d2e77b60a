"""A stopped treatment leaves no hook, and code paths that bypass PyTorch's functions are treated too."""

from __future__ import annotations

import random
import sys
import types
import warnings

import numpy as np
import pytest
import torch
import torch._dynamo  # the first optimiser imports it, and it wraps torch.manual_seed
import torch.nn.functional as F
from helpers import treating
from torch import Tensor, nn
from torch.optim import optimizer as optimizers
from torch.utils.checkpoint import checkpoint

import relume.torch.functional as ours

descend, survey, treated = treating.descend, treating.survey, treating.treated


def traces():
    """Everything that a treatment or a survey may touch."""
    homes = (torch, F, Tensor, ours, torch.jit, torch.random, torch.cuda, random, random.Random, np.random)
    kinds = (nn.Module, nn.ReLU, nn.TransformerEncoderLayer, torch.optim.lr_scheduler.LRScheduler)
    held = {(str(home), name): thing for home in (*homes, *kinds) for name, thing in list(vars(home).items())}
    codes = {name: thing.__code__ for name, thing in held.items() if isinstance(thing, types.FunctionType)}
    hooks = [len(optimizers._global_optimizer_pre_hooks), len(optimizers._global_optimizer_post_hooks)]
    return held, codes, hooks, list(warnings.filters), torch._C._len_torch_function_stack()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.act, self.out = nn.ReLU(), nn.Linear(6, 1)

    def forward(self, x):
        return self.out(torch.relu(self.act(self.layer(x.unsqueeze(1))))).relu_().flatten()


def train():
    torch.manual_seed(0)
    net = Net()
    return descend(net, torch.optim.Adam(net.parameters(), 0.01, weight_decay=0.1), 2), net


@pytest.mark.parametrize("name", ["prelu:channel", "rrelu", "elu"])
def test_stop_leaves_no_hook(name):
    before, losses = traces(), train()[0]
    plan = survey(train)
    between = traces()
    with treated(name, plan, seed=3, factor=4.0):
        assert train()[0] != losses
        assert traces()[1] != before[1]
    after = traces()
    for mark in (between, after):
        changed = [name for name, thing in before[0].items() if mark[0].get(name) is not thing]
        assert changed == []
        assert set(mark[0]) == set(before[0])
        assert mark[1:] == before[1:]
    assert train()[0] == losses


def test_a_survey_does_not_change_the_training():
    losses, net = train()
    seen = []
    survey(lambda: seen.append(train()))
    assert seen[0][0] == losses
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), seen[0][1].parameters(), strict=True))


EARLY = """
import torch, torch.nn.functional as F
from torch import relu
from torch.nn.functional import relu as f_relu
TABLE = {"gelu": F.gelu}
class Acts:
    act = torch.selu
def by_default(x, act=torch.relu):
    return act(x)
"""


def test_a_module_imported_earlier_is_treated_too():
    early = types.ModuleType("imported_early")
    exec(EARLY, early.__dict__)
    sys.modules["imported_early"] = early

    class Old(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(6))

        def forward(self, x):
            acts = [early.relu, early.f_relu, early.by_default, early.TABLE["gelu"], early.Acts.act]
            for layer, act in zip(self.layers, acts, strict=False):
                x = act(layer(x))
            return self.layers[5](x)

    def run():
        torch.manual_seed(0)
        net = Old()
        return net, descend(net, torch.optim.SGD(net.parameters(), 0.1), 1)

    held = early.relu
    plan = survey(run)
    found = [holder for holder in plan.holders if holder.startswith("imported_early:")]  # others' modules are there too
    assert found == [f"imported_early:{where}" for where in ("relu", "TABLE[gelu]", "Acts.act", "by_default(0)")]
    with treated("elu", plan) as treatment:
        net, losses = run()
        x = y = torch.randn(3, 6)
        for layer in net.layers[:5]:
            y = F.elu(layer(y))
        assert torch.equal(net(x), net.layers[5](y))
    assert len(treatment.facts().sites) == 5
    assert losses != run()[1]
    assert early.relu is held
    del sys.modules["imported_early"]


@pytest.mark.parametrize("activation", ["relu", "gelu", "F.relu", "F.gelu", "nn.ReLU()", "torch.relu"])
def test_an_encoder_layer_evaluates_with_the_activation_that_it_trained_with(activation):
    def run():
        torch.manual_seed(0)
        what = eval(activation) if "." in activation else activation  # as it is found while the script runs
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation=what)
        net = nn.Sequential(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 1))
        net(torch.randn(2, 3, 8)).mean().backward()
        torch.optim.SGD(net.parameters(), 0.1).step()
        return net.eval()

    plan = survey(run)
    x = torch.randn(2, 3, 8)
    plain = run()
    with treated("elu", plan):
        net = run()
        with torch.no_grad():
            fast = net(x)
    by_hand = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation=F.elu).eval()
    by_hand.load_state_dict(net[0].layers[0].state_dict())
    with torch.no_grad():
        assert torch.equal(fast, net[1](by_hand(x)))
        assert not torch.equal(fast, plain(x))


def test_an_encoder_gives_no_warning_that_the_script_did_not_cause():
    def run():
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        net = nn.Sequential(nn.TransformerEncoder(layer, 1), nn.Linear(8, 1))
        net(torch.randn(2, 3, 8))

    plan = survey(run)
    with treated("elu", plan):
        run()  # warnings are errors


@pytest.mark.parametrize("name", ["rrelu", "prelu:channel"])
def test_a_checkpoints_second_forward_is_the_first_one(name):
    class Halves(nn.Module):
        def __init__(self, reentrant):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 1)
            self.reentrant = reentrant

        def half(self, x):
            return F.relu(self.b(F.dropout(F.relu(self.a(x)), 0.2)))

        def forward(self, x):
            if self.reentrant is None:
                return self.c(self.half(x))
            return self.c(checkpoint(self.half, x, use_reentrant=self.reentrant))

    def run(reentrant):
        torch.manual_seed(0)
        net = Halves(reentrant)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            net(torch.randn(4, 6, requires_grad=True)).sum().backward()
            optimizer.step()
        return [p.tolist() for p in net.parameters()]

    plan = survey(run, None)
    results = []
    for reentrant in (None, False, True):
        with treated(name, plan):
            results.append(run(reentrant))
    assert results[1] == results[0]
    assert results[2] == results[0]

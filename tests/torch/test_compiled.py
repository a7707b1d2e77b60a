"""Compiled code: the graph stays whole, is traced as often as without us, and counts what eager code counts."""

from __future__ import annotations

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

import relume


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Net(nn.Module):
    """A module, a function behind a convolution and a norm, an in-place method behind a reshape; some units dead."""

    def __init__(self):
        super().__init__()
        self.first, self.relu = nn.Linear(8, 16), nn.ReLU()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.ReLU(inplace=True)) for _ in range(2))
        self.conv, self.norm, self.head = nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.Linear(56, 5)
        with torch.no_grad():
            self.first.bias[3] = self.norm.bias[1] = self.blocks[1][0].bias[7] = -50

    def forward(self, x):
        x = self.relu(self.first(x))
        for block in self.blocks:
            x = block(x)
        x = F.relu(self.norm(self.conv(x.unsqueeze(1))))
        return self.head(x.flatten(1)).relu_()


class Shared(nn.Module):
    """One activation module behind two layers, and one that is applied twice on one line."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(8, 6), nn.Linear(6, 4), nn.LeakyReLU(0.0)
        with torch.no_grad():
            self.b.bias[2] = -50

    def forward(self, x):
        return self.act(self.b(self.act(self.a(x))))


def train(net, call, steps, sizes=(16,), evaluate=False):
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    losses = []
    torch.manual_seed(1)
    for step in range(steps):
        if evaluate and step % 4 == 3:
            net.eval()
            with torch.no_grad():
                call(torch.randn(8, 8))
            net.train()
        loss = call(torch.randn(sizes[step % len(sizes)], 8)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def watched(make, backend, steps=12, every=1, **training):
    """A training's report, losses, and how often its graph was compiled; ``backend`` None: in eager mode."""
    torch.manual_seed(0)
    net = make()
    counter = CompileCounterWithBackend(backend) if backend else None
    call = torch.compile(net, backend=counter, fullgraph=True) if backend else net
    with relume.watch(net, every=every, window=1_000) as watch:
        losses = train(net, call, steps, **training)
    return watch.to_dict(), losses, counter.frame_count if counter else 0


def bare(make, backend, steps=12, **training):
    torch._dynamo.reset()
    torch.manual_seed(0)
    net = make()
    counter = CompileCounterWithBackend(backend)
    return train(net, torch.compile(net, backend=counter, fullgraph=True), steps, **training), counter.frame_count


def seen(report):
    return [
        {key: site[key] for key in ("module", "call", "source", "layer", "units", "samples", "dead", "firing_rate")}
        for site in report["sites"]
    ]


CASES = [
    (make, backend, training)
    for make in (Net, Shared)
    for backend in ("eager", "aot_eager")
    for training in ({}, {"sizes": (16, 12, 20)}, {"evaluate": True})
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own
@pytest.mark.parametrize(("make", "backend", "training"), [*CASES, (Net, "inductor", {})])
def test_compiled_code_counts_the_same_as_eager_code(make, backend, training):
    expected, _, _ = watched(make, None, **training)
    got, losses, compiled = watched(make, backend, **training)
    assert seen(got) == seen(expected)
    assert any(site["dead"] for site in got["sites"])
    assert {cause["kind"] for site in got["sites"] for cause in site["cause"].values()} == {"born dead"}
    assert got["not_observed"] == []
    assert (losses, compiled) == bare(make, backend, **training)


class Slopes(nn.Module):
    """PReLUs, one slope of them 0, behind layers with silent units; and a softsign, which nobody judges."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 4)
        self.each, self.one = nn.PReLU(6), nn.PReLU()
        with torch.no_grad():
            self.a.bias[:2] = self.b.bias[0] = -5
            self.each.weight[0] = 0

    def forward(self, x):
        # Times 3: within ±1 alone, units 1 and 2 of b would be silent too.
        return self.one(self.b(3 * F.softsign(self.each(self.a(x)))))


def train_slopes(compiled):
    torch._dynamo.reset()
    torch.manual_seed(0)
    net = Slopes()
    net.each.weight.register_hook(lambda gradient: gradient * (torch.arange(6) > 0))
    call = torch.compile(net, backend="aot_eager", fullgraph=True) if compiled else net
    with relume.watch(net, every=1, window=1_000) as watch:
        train(net, call, 24)
    return watch.to_dict()


def test_a_compiled_prelu_is_judged_by_its_learned_slope_and_gaps_are_listed():
    eager, got = train_slopes(compiled=False), train_slopes(compiled=True)
    keys = ("module", "activation", "dead", "one_sided", "slopes", "firing_rate")
    assert [{k: s[k] for k in keys} for s in got["sites"]] == [{k: s[k] for k in keys} for s in eager["sites"]]
    assert [(s["dead"], s["one_sided"]) for s in got["sites"]] == [([0], [1]), ([], [0])]
    assert got["sites"][0]["slopes"][0] == 0
    listed = [row for row in got["not_observed"] if row["what"] == "softsign"]
    assert listed == [row for row in eager["not_observed"] if row["what"] == "softsign"]
    assert len(listed) == 1


def test_looks_at_some_steps_do_not_recompile_and_count_those_steps():
    report, _, compiled = watched(Net, "eager", steps=20, every=3)
    assert compiled == 1
    assert report["run"]["looked"] == 7
    assert all(site["examples"] == 7 * 16 for site in report["sites"])


def test_a_compiled_function_of_a_network_is_counted():
    torch.manual_seed(0)
    net = Net()

    @torch.compile(backend="eager", fullgraph=True)
    def loss_of(x):
        return net(x).square()

    with relume.watch(net, every=1, window=1_000) as watch:
        train(net, loss_of, 10)
    torch._dynamo.reset()
    torch.manual_seed(0)
    net = Net()
    with relume.watch(net, every=1, window=1_000) as eager:
        train(net, lambda x: net(x).square(), 10)
    keys = ("module", "layer", "samples", "dead", "firing_rate")
    got, expected = ([{k: s[k] for k in keys} for s in w.to_dict()["sites"]] for w in (watch, eager))
    assert got == expected


def test_code_that_already_ran_compiled_is_listed_and_code_that_was_only_compiled_is_counted():
    torch.manual_seed(0)
    net = Net()
    early = torch.compile(net, backend="eager")
    train(net, early, 2)
    with relume.watch(net, every=1) as watch:
        train(net, early, 5)
    report = watch.to_dict()
    assert report["sites"] == []
    assert [row["what"] for row in report["not_observed"]] == ["torch.compile"]
    torch._dynamo.reset()
    other = torch.compile(net, backend="eager")
    with relume.watch(net, every=1) as watch:
        train(net, other, 5)
    assert len(watch.to_dict()["sites"]) == 5


def test_no_hook_remains_when_the_watching_ends():
    net = Net()
    call = torch.compile(net, backend="eager", fullgraph=True)
    with relume.watch(net, every=1) as watch:
        train(net, call, 4)
    before = watch.to_dict()["sites"]
    train(net, call, 4)  # the graph goes on counting into nothing
    assert watch.to_dict()["sites"] == before
    wrapper = torch._TorchCompileWrapper.__call__
    assert not hasattr(wrapper, "__wrapped__")


def test_an_activation_in_a_compiled_sequential_has_the_line_of_its_call_as_in_eager_code():
    def sites(compiles):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        with relume.watch(net, every=1) as watch:
            train(net, torch.compile(net, backend="eager") if compiles else net, 4)
        return [site.site.key for site in watch.findings().sites]

    (key,) = sites(True)
    assert [key] == sites(False)
    assert not key.endswith(":0")

"""In code of ``torch.compile`` the contender is traced: no graph break of ours, and the same bits as uncompiled."""

from __future__ import annotations

import sys
import types

import pytest
import torch
import torch.nn.functional as F
from helpers import treating
from torch import nn
from torch._dynamo.utils import counters

descend, survey, treated = treating.descend, treating.survey, treating.treated


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)


class Itself(nn.Module):
    """It applies what it replaces, as a module and as a function."""

    def __init__(self):
        super().__init__()
        self.slope, self.act = nn.Parameter(torch.tensor(0.2)), nn.ReLU()

    def forward(self, x):
        return self.act(x) - self.slope * torch.relu(-x)


def itself(x):
    return F.relu(x) - 0.2 * F.relu(-x)


def breaking(x):
    torch._dynamo.graph_break()
    return itself(x)


@pytest.fixture(autouse=True)
def acts():
    sys.modules["acts_of_a_user"] = types.ModuleType("acts_of_a_user")
    for own in (Mine, Itself, itself, breaking):
        setattr(sys.modules["acts_of_a_user"], own.__name__, own)
    yield
    del sys.modules["acts_of_a_user"]
    torch._dynamo.reset()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.act(self.a(x))
        x = torch.relu(F.relu(self.b(x)) - self.c(x))
        return self.out(x)


class Broken(nn.Module):
    """A break of the script's own, and layers that share a call behind it."""

    def __init__(self):
        super().__init__()
        self.a, self.out = nn.Linear(6, 8), nn.Linear(8, 2)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        x = F.relu(self.a(x))
        torch._dynamo.graph_break()
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.out(x)


def train(kind, backend, **options):
    torch.manual_seed(1)
    torch._dynamo.reset()
    nets = [kind(), kind()]
    called = [torch.compile(net, backend=backend, **options) if backend else net for net in nets]
    optimizer = torch.optim.Adam([p for net in nets for p in net.parameters()], 0.01)
    losses = descend(lambda x: sum(F.relu(1 - net(x)).mean() for net in called), optimizer, 4, loss=lambda out: out)
    for net in called:
        net.eval()
    with torch.no_grad():
        losses += [net(torch.ones(3, 6)).sum().item() for net in called]
    return losses, [p.detach().clone() for net in nets for p in net.parameters()]


CONTENDERS = ["elu", "leaky_relu:0.2", "gelu", "prelu:channel", "rrelu"]
CONTENDERS += [f"acts_of_a_user:{name}" for name in ("Mine", "Itself", "itself")]


@pytest.mark.parametrize("contender", CONTENDERS)
def test_compiled_code_trains_the_contender_in_one_graph(contender):
    plan = survey(train, Net, "eager")
    with treated(contender, plan, seed=1):
        losses, weights = train(Net, None)
    with treated(contender, plan, seed=1):
        compiled, same = train(Net, "eager", fullgraph=True)
    assert compiled == losses
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    assert compiled != train(Net, "eager")[0]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo's own, at a break
def test_a_contender_that_breaks_the_graph_may_call_the_activation_that_it_replaces():
    plan = survey(train, Net, "eager")
    with treated("acts_of_a_user:itself", plan):
        losses, _ = train(Net, None)
    with treated("acts_of_a_user:breaking", plan):
        assert train(Net, "eager")[0] == losses


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo's own, at a break
@pytest.mark.parametrize("contender", ["prelu:channel", "rrelu"])
def test_after_a_graph_break_in_the_script_the_sites_are_the_same(contender):
    plan = survey(train, Broken, "eager")
    assert len({site.layer for site in plan.sites if site.hidden}) == 8
    with treated(contender, plan):
        losses, weights = train(Broken, None)
    with treated(contender, plan) as treatment:
        counters.clear()
        compiled, same = train(Broken, "eager")
        breaks = set(counters["graph_break"])
    assert compiled == losses
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    assert treatment.facts().parameters_added == (64 if contender == "prelu:channel" else 0)
    counters.clear()
    train(Broken, "eager")
    assert breaks == set(counters["graph_break"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # inductor's own
@pytest.mark.parametrize("contender", ["elu", "prelu:channel", "rrelu"])
def test_inductor_compiles_the_contender(contender):
    plan = survey(train, Net, "inductor")
    with treated(contender, plan, seed=1):
        losses, weights = train(Net, None)
    with treated(contender, plan, seed=1):
        compiled, same = train(Net, "inductor", fullgraph=True)
    assert compiled == pytest.approx(losses, rel=1e-4)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(weights, same, strict=True))

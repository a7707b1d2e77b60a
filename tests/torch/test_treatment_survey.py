"""What a survey finds: activations that can be replaced, others that are listed, and calls that are not touched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import treating
from torch import nn

from relume.artifacts.swap_plan import Birth
from relume.torch.watching.calls.observer import CallObserver
from relume.torch.watching.where import places

descend, survey, treated = treating.descend, treating.survey, treating.treated

HERE = Path(__file__).name
_shown = places.shown_path(__file__)


class Every(nn.Module):
    """One of each way in which an activation is applied."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(9))
        self.acts = nn.ModuleList([nn.ReLU(), nn.ReLU6(), nn.PReLU(), nn.RReLU(), nn.Hardtanh(0, 4)])

    def forward(self, x):
        for layer, act in zip(self.layers, self.acts, strict=False):
            x = act(layer(x))
        x = F.leaky_relu(self.layers[5](x), 0.3)
        x = F.elu_(self.layers[6](x))
        x = torch.selu(self.layers[7](x))
        return F.silu(self.layers[8](x))


def run(net, width=6):
    torch.manual_seed(0)
    net = net()
    net(torch.randn(4, width)).sum().backward()
    return net


def test_every_way_is_found_with_its_layer_and_units():
    plan = survey(run, Every)
    kinds = ["relu", "relu6", "prelu", "rrelu", "relu6", "leaky_relu", "elu", "selu", "silu"]
    assert [site.activation for site in plan.sites] == kinds
    assert [site.layer for site in plan.sites] == [Birth("torch.nn.modules.linear:Linear", n) for n in range(9)]
    assert {(site.units, site.axis, site.ndim) for site in plan.sites} == {(6, 1, 2)}
    assert [site.alone for site in plan.sites] == [True] * 5 + [False] * 4
    assert plan.sites[0].owner == Birth("torch.nn.modules.activation:ReLU", 0)
    assert plan.sites[5].owner.kind.endswith(":Every")
    assert Path(plan.sites[5].file).name == HERE
    assert plan.sites[5].line == plan.sites[6].line - 1
    assert [site.hidden for site in plan.sites] == [True] * 8 + [False]  # the last one is the output
    assert plan.not_swapped == ()


def test_every_way_is_replaced():
    plan = survey(run, Every)
    with treated("tanh", plan):
        net = run(Every)
        x = y = torch.randn(4, 6)
        for layer in net.layers[:8]:
            y = torch.tanh(layer(y))
        assert torch.equal(net(x), F.silu(net.layers[8](y)))
    with treated("tanh", plan, only="leaky_relu,nn.PReLU"):
        net = run(Every)
        x = y = torch.randn(4, 6)
        y = torch.tanh(net.layers[2](F.relu6(net.layers[1](F.relu(net.layers[0](y))))))
        net.eval()
        y = F.hardtanh(net.layers[4](F.rrelu(net.layers[3](y))), 0, 4)
        y = F.selu(net.layers[7](F.elu(net.layers[6](torch.tanh(net.layers[5](y))))))
        assert torch.equal(net(x), F.silu(net.layers[8](y)))


def odd_ways():
    def times_mask(x):
        return x * (x > 0)

    def times_float_mask(x):
        return (x > 0).float() * x

    scripted = torch.jit.script(nn.Sequential(nn.Linear(6, 6), nn.ReLU()))
    cell, rnn = nn.RNNCell(6, 6, nonlinearity="relu"), nn.RNN(6, 6, nonlinearity="relu")
    return {
        "Tensor.clamp": lambda x: x.clamp(min=0),
        "torch.clamp_min": lambda x: torch.clamp_min(x, 0),
        "torch.maximum": lambda x: torch.maximum(x, torch.zeros(())),
        "F.threshold": lambda x: F.threshold(x, 0, 0),
        "x * (x > 0)": times_mask,
        "x * (x > 0) ": times_float_mask,
        "nn.RNNCell(nonlinearity='relu')": cell,
        "nn.RNN(nonlinearity='relu')": lambda x: rnn(x)[0],
        "torch.jit.script: relu": scripted,
    }


WAYS = ["Tensor.clamp", "torch.clamp_min", "torch.maximum", "F.threshold", "x * (x > 0)", "x * (x > 0) "]
WAYS += ["nn.RNNCell(nonlinearity='relu')", "nn.RNN(nonlinearity='relu')", "torch.jit.script: relu"]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
def test_activations_that_cannot_be_replaced_are_listed(way):
    def train():
        first, last = nn.Linear(6, 6), nn.Linear(6, 2)
        last(odd_ways()[way](first(torch.randn(4, 6)))).sum().backward()

    plan = survey(train)
    listed = [each.what for each in plan.not_swapped if not each.what.startswith("torch.jit") or "jit" in way]
    assert listed == [way.strip()]
    assert plan.sites == ()
    assert all(Path(each.where.rpartition(":")[0]).name == HERE for each in plan.not_swapped)
    assert all(each.why for each in plan.not_swapped)


@pytest.mark.parametrize(
    "out",
    [
        lambda net, x: F.relu(1 - net(x)).mean(),
        lambda net, x: (F.relu(net(x)) - 1).square().mean() + 0.01 * sum(p.square().sum() for p in net.parameters()),
        lambda net, x: net(x).mean() + F.relu(net.weight).sum(),
        lambda net, x: net(x * F.relu(torch.arange(6))).mean(),
    ],
)
def test_outputs_losses_parameters_and_integers_are_not_replaced(out):
    def train():
        torch.manual_seed(0)
        net = nn.Linear(6, 2)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        return descend(lambda x: out(net, x), optimizer, 2, loss=lambda value: value)

    losses = train()
    plan = survey(train)
    assert [site.hidden for site in plan.sites] == [False]
    assert plan.sites[0].why
    with treated("elu", plan) as treatment:
        assert train() == losses
    assert treatment.facts().sites == ()
    assert [each.what for each in treatment.facts().not_swapped] == ["F.relu"]


@pytest.mark.parametrize(
    "through",
    [
        lambda x: F.max_pool1d(x.unsqueeze(1), 2).flatten(1).repeat(1, 2),
        lambda x: torch.cat([x, x], 1)[:, 3:9],
        lambda x: torch.stack(list(x.unbind(1))).T,
        lambda x: F.dropout(x, 0.1) + 1,
        lambda x: torch.zeros(4, 6).index_copy(0, torch.arange(4), x),
    ],
)
def test_a_result_is_followed_to_the_next_layer(through):
    def train():
        first, last = nn.Linear(6, 6), nn.Linear(6, 2)
        last(through(F.relu(first(torch.randn(4, 6))))).sum().backward()

    assert [site.hidden for site in survey(train).sites] == [True]


def test_attention_normalization_and_products_are_layers():
    def train():
        first, attention, norm = nn.Linear(6, 6), nn.MultiheadAttention(6, 2), nn.LayerNorm(6)
        weight = nn.Parameter(torch.randn(6, 6))
        x = torch.randn(4, 6)
        one = F.relu(first(x))
        two = F.relu(attention(one, one, one)[0])
        three = F.relu(norm(two))
        (three @ weight).sum().backward()

    assert [site.hidden for site in survey(train).sites] == [True] * 3


def test_the_survey_reports_how_the_script_trains():
    def train():
        torch.manual_seed(4)
        net = nn.Linear(6, 2)
        optimizer = torch.optim.AdamW(net.parameters(), 0.25)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=4)
        descend(net, optimizer, 1)
        schedule.step()

    plan = survey(train)
    assert [rates.optimizer for rates in plan.optimizers] == ["AdamW"]
    assert plan.optimizers[0].rates == pytest.approx((0.02,))
    assert plan.schedulers == ("OneCycleLR",)
    assert [seed.rpartition(":")[0] for seed in plan.seeds] == [f"torch.manual_seed(4) at {_shown}"]
    assert "torch.nn" in plan.modules
    assert not plan.compiled


def test_compiled_code_is_surveyed_as_it_is_written():
    def train():
        net = torch.compile(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)), backend="eager")
        net(torch.randn(2, 6)).sum().backward()

    plan = survey(train)
    assert plan.compiled
    assert [(site.activation, site.units, site.hidden) for site in plan.sites] == [("relu", 6, True)]


def test_layers_that_share_a_call_are_separate_sites():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(6, 4), nn.Linear(4, 5), nn.Linear(5, 6)])
            self.cell = nn.Linear(6, 6)

        def forward(self, x):
            for layer in self.layers:
                x = F.relu(layer(x))
            for _ in range(3):
                x = F.relu(self.cell(x))
            return self.cell(x)

    assert [site.units for site in survey(run, Loop).sites] == [4, 5, 6, 6]


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def test_an_activation_in_a_closure_of_a_step_is_found():
    def train():
        weight, net = nn.Parameter(torch.ones(6, 8)), nn.Linear(8, 2)

        def closure():
            x = torch.ones(4, 6)
            assert (x * (x > 0)).sum() == 24
            loss = net(F.relu(x @ weight)).square().mean()
            loss.backward()
            return loss

        torch.optim.LBFGS([weight, *net.parameters()], max_iter=1).step(closure)

    plan = survey(train)
    assert [(site.units, site.axis, site.hidden) for site in plan.sites] == [(8, 1, True)]
    assert [each.what for each in plan.not_swapped] == ["x * (x > 0)"]


def test_an_activation_in_a_custom_optimizer_is_found():
    class Learned(torch.optim.SGD):
        def step(self):
            x = torch.ones(1, 6)
            with torch.no_grad():
                self.param_groups[0]["params"][0].sub_(rule(x * (x > 0)).mean())

    def train():
        Learned(small().parameters(), 0.1).step()

    rule = small()
    plan = survey(train)
    assert [(site.units, site.hidden) for site in plan.sites] == [(8, True)]
    assert [each.what for each in plan.not_swapped] == ["x * (x > 0)"]


def test_an_activation_after_a_step_that_raised_is_found():
    def train():
        net = small()
        optimizer = torch.optim.Adam(net.parameters())
        net[0].weight.grad = torch.zeros(8, 6).to_sparse()
        with pytest.raises(RuntimeError, match="sparse"):
            optimizer.step()
        net(torch.ones(4, 6)).sum().backward()

    assert [(site.units, site.hidden) for site in survey(train).sites] == [(8, True)]


def test_the_calls_of_pytorchs_optimizers_are_not_followed(monkeypatch):
    followed = []
    follow = CallObserver.__torch_function__
    monkeypatch.setattr(
        CallObserver, "__torch_function__", lambda self, func, *rest: followed.append(func) or follow(self, func, *rest)
    )

    def train():
        net = small()
        optimizer = torch.optim.Adam(net.parameters())
        net(torch.ones(4, 6)).sum().backward()
        optimizer.step()
        torch.ones(1).abs()

    assert len(survey(train).sites) == 1
    names = {getattr(func, "__name__", "") for func in followed}
    assert {"linear", "abs"} <= names
    assert not {"lerp_", "addcdiv_", "sqrt"} & names


class HashedByContent(nn.Linear):
    """As ``torchmetrics.Metric`` and what Lightning logs: hashed and compared by what its constructor sets later."""

    def __init__(self):
        super().__init__(6, 6)
        self.content = [6]

    def __hash__(self):
        return hash(tuple(self.content))

    def __eq__(self, other):
        return self.content == other.content


def test_a_module_is_neither_hashed_nor_compared_before_it_is_constructed():
    def train():
        net = nn.Sequential(HashedByContent(), nn.ReLU(), HashedByContent(), nn.ReLU(), nn.Linear(6, 1))
        descend(net, torch.optim.SGD(net.parameters(), 0.1))
        return net

    plan = survey(train)
    assert [site.layer.order for site in plan.chosen()] == [0, 1], "two that are equal are two"
    with treated("prelu:channel", plan) as treatment:
        net = train()
    assert treatment.facts().parameters_added == 12
    assert net[1].weight.shape == net[3].weight.shape == (6,)


class AlsoAtTheEnd(nn.Module):
    def __init__(self):
        super().__init__()
        self.act, self.first, self.last = nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.act(self.last(self.act(self.first(x))))


def test_a_module_is_replaced_at_every_call_as_by_an_edit_of_its_constructor():
    plan = survey(run, AlsoAtTheEnd)
    assert [site.hidden for site in plan.sites] == [True, True], "though nothing comes after the second call"
    with treated("elu", plan):
        net = run(AlsoAtTheEnd)
        out = net(torch.randn(64, 6))
    assert (out < 0).any()


class Gated(nn.Module):
    """Squeeze and excitation between two layers; ``inner`` is what lies between its own."""

    def __init__(self, inner):
        super().__init__()
        self.a, self.b, self.gate, self.out = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.inner = inner

    def forward(self, x):
        x = self.inner(self.a(x))
        x = x * torch.sigmoid(self.gate(x))
        return torch.tanh(self.out(self.b(x)))


def test_tanh_and_sigmoid_are_replaced_between_layers_but_not_as_gates_or_outputs():
    def hidden(net):
        plan = survey(lambda: descend(net, torch.optim.SGD(net.parameters(), lr=0.1)))
        return [(site.activation, site.why) for site in plan.sites if site.hidden], plan.sites

    own, sites = hidden(Gated(torch.tanh))
    assert own == [("tanh", "")]
    assert len(sites) == 3
    assert hidden(Gated(F.relu))[0] == [("relu", "")]
    actor, critic = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2), nn.Tanh()), nn.Linear(2, 1)
    plan = survey(lambda: descend(nn.Sequential(actor, critic), torch.optim.SGD(actor.parameters(), lr=0.1)))
    assert [(site.activation, site.hidden) for site in plan.sites] == [("relu", True), ("tanh", False)]
    assert "mostly a gate or an output" in plan.sites[1].why

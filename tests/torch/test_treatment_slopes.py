"""Learned slopes of a contender are stored with the script's own parameters."""

from __future__ import annotations

import copy
import io

import torch
import torch.nn.functional as F
from helpers import treating
from torch import nn

descend, survey, treated = treating.descend, treating.survey, treating.treated


class Net(nn.Module):
    def __init__(self, depth=2):
        super().__init__()
        self.act, self.shared = nn.ReLU(), nn.ReLU()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(depth))
        self.wide, self.out = nn.Linear(6, 9), nn.Linear(9, 2)

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        x = self.shared(self.act(x))
        return self.out(self.shared(self.wide(x)))


def train(steps=2):
    torch.manual_seed(0)
    net = Net()
    descend(net, torch.optim.SGD(net.parameters(), 0.1), steps)
    return net


def ours(net):
    return {name: tuple(p.shape) for name, p in net.named_parameters() if not name.endswith("bias") and p.ndim == 1}


def test_slopes_are_there_as_soon_as_the_module_is():
    plan = survey(train)
    with treated("prelu:channel:0.1", plan):
        net = Net()
        assert ours(net) == {
            "relume_slope_0": (6,),  # a loop over two layers: two sites
            "relume_slope_1": (6,),
            "act.weight": (6,),
            "shared.relume_slope_0": (6,),
            "shared.relume_slope_1": (9,),
        }
        assert {v for name in ours(net) for v in net.get_parameter(name).tolist()} == {torch.tensor(0.1).item()}
    with treated("prelu:channel:0.1", plan):
        trained = train()
        assert ours(trained) == ours(net)
        assert all((trained.get_parameter(name) != 0.1).any() for name in ours(net))
        assert {"relume_slope_0", "relume_slope_1"} <= set(ours(Net()))  # a second one, which the survey did not see
    with treated("prelu:shared", plan):
        assert {shape for shape in ours(Net()).values()} == {(1,)}
    assert ours(Net()) == {}


def test_copies_devices_dtypes_and_files_have_them_too():
    plan = survey(lambda: (train(), Net()(torch.randn(2, 6))))
    with treated("prelu:channel", plan) as treatment:
        net = train()
        average = copy.deepcopy(net)
        assert ours(average) == ours(net)
        x = torch.randn(4, 6)
        assert torch.equal(average(x), net(x))
        descend(average, torch.optim.SGD(average.parameters(), 0.1))
        assert not torch.equal(average.act.weight, net.act.weight)
        net.double()
        assert net(x.double()).dtype == torch.float64
        assert net.act.weight.dtype == torch.float64
        file = io.BytesIO()
        torch.save(net.state_dict(), file)
        file.seek(0)
        again = Net()
        again.load_state_dict(torch.load(file))
        assert torch.equal(again.double()(x.double()), net(x.double()))
    assert treatment.facts().notes == ()


def test_a_checkpoint_with_relu_keeps_the_start_slopes_and_is_reported():
    plan = survey(train)
    checkpoint = train().state_dict()
    with treated("prelu:channel", plan) as treatment:
        net = Net()
        missing = net.load_state_dict(checkpoint)
        assert not missing.missing_keys
        assert set(net.act.weight.tolist()) == {0.25}
        assert torch.equal(net.out.weight, checkpoint["out.weight"])
        assert "act.weight" not in checkpoint
        descend(net, torch.optim.SGD(net.parameters(), 0.1), 1)
    assert [note.partition(":")[0] for note in treatment.facts().notes] == ["fine-tuning from ReLU weights"]


def test_an_optimizer_checkpoint_without_slopes_is_loaded_too():
    def resumed(checkpoint):
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), 0.1)
        if checkpoint is not None:
            net.load_state_dict(checkpoint[0])
            optimizer.load_state_dict(copy.deepcopy(checkpoint[1]))  # it keeps the steps themselves
        descend(net, optimizer, 2)
        return net.state_dict(), optimizer.state_dict()

    checkpoint = copy.deepcopy(resumed(None))
    plan = survey(resumed, checkpoint)
    with treated("prelu:channel", plan) as treatment:
        _, state = resumed(checkpoint)
        assert len(state["state"]) == len(checkpoint[1]["state"]) + 5
        moments = [state["state"][n]["step"].item() for n in sorted(state["state"])]
        assert sorted(set(moments)) == [2.0, 4.0]
        assert moments.count(2.0) == 5
    assert len(treatment.facts().notes) == 1


def test_a_second_model_that_the_survey_did_not_see_loads_the_checkpoint_of_the_first():
    def make():
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))

    def first():
        torch.manual_seed(0)
        net = make()
        descend(net, torch.optim.SGD(net.parameters(), 0.1))
        return net

    plan = survey(first)
    with treated("prelu:channel", plan) as treatment:
        net, again = first(), make()
        again.load_state_dict(net.state_dict())
        x = torch.randn(3, 6)
        assert torch.equal(again(x), net(x))
        assert list(again.state_dict()) == list(net.state_dict())
    assert treatment.facts().notes == ()


def test_slopes_that_no_group_names_go_to_the_group_of_their_layer():
    def named():
        torch.manual_seed(0)
        net = Net()
        groups = [
            {"params": [*net.layers.parameters(), *net.out.parameters()], "lr": 0.0},
            {"params": net.wide.parameters(), "lr": 0.5},
        ]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        descend(net, optimizer, 1)
        return net, optimizer

    plan = survey(named)
    with treated("prelu:channel", plan) as treatment:
        net, optimizer = named()
        first, second = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
        assert id(net.shared.relume_slope_1) in second
        assert all(id(p) in first for p in (net.relume_slope_0, net.act.weight, net.shared.relume_slope_0))
        assert set(net.act.weight.tolist()) == {0.25}  # its rate is 0
        assert set(net.shared.relume_slope_1.tolist()) != {0.25}
    assert treatment.facts().parameters_added == 6 * 4 + 9


def test_a_function_without_modules_learns_too():
    def plain():
        torch.manual_seed(0)
        weight, out = (torch.randn(6, 6, requires_grad=True) for _ in range(2))
        optimizer = torch.optim.SGD([weight, out], 0.01)
        for _ in range(2):
            loss = (F.relu(torch.randn(4, 6) @ nn.Parameter(weight)) @ nn.Parameter(out)).square().mean()
            loss.backward()
            optimizer.step()
        return optimizer

    plan = survey(plain)
    assert [site.owner for site in plan.sites] == [None]
    with treated("prelu:channel", plan) as treatment:
        optimizer = plain()
        assert [tuple(p.shape) for p in optimizer.param_groups[0]["params"]] == [(6, 6), (6, 6), (6,)]
    assert treatment.facts().parameters_added == 6


def test_a_width_that_the_survey_did_not_see_learns_from_its_first_call():
    def of_width(width):
        torch.manual_seed(0)
        act = nn.ReLU()
        net = nn.Sequential(nn.Linear(6, width), act, nn.Linear(width, 1))
        descend(net, torch.optim.SGD(net.parameters(), 0.1), 2)
        return act

    plan = survey(of_width, 8)
    with treated("prelu:channel", plan) as treatment:
        act = of_width(5)
        assert tuple(act.relume_slope_1.shape) == (5,)
        assert set(act.relume_slope_1.tolist()) != {0.25}
    assert treatment.facts().parameters_added == 8 + 5


def test_flattened_channels_share_their_units_slope():
    def run():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.ReLU(), nn.Linear(12, 1))
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        net(torch.randn(5, 2, 6)).mean().backward()
        optimizer.step()
        return net

    plan = survey(run)
    assert [(site.units, site.inner) for site in plan.sites] == [(3, 4)]
    with treated("prelu:channel", plan):
        net = run()
        assert tuple(net[2].weight.shape) == (3,)
        with torch.no_grad():
            net[2].weight.copy_(torch.tensor([0.0, 1.0, 2.0]))
        x = torch.full((1, 12), -1.0)
        assert net[2](x).tolist() == [[0.0] * 4 + [-1.0] * 4 + [-2.0] * 4]


def test_a_function_that_two_modules_call_learns_for_each_of_them():
    """Though it knows the ``self`` of one of them."""

    class Maker(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, x):
            def act(h):
                return F.relu(h) if self.training else h

            made.append(act)
            return act(self.layer(x))

    class User(Maker):
        def forward(self, x):
            return made[-1](self.layer(x))

    def train():
        net = nn.Sequential(Maker(), User(), nn.Linear(6, 2))
        for _ in range(2):
            net(torch.randn(4, 6)).sum().backward()
        return net

    made = []
    plan = survey(train)
    assert len({site.owner for site in plan.sites}) == 2
    with treated("prelu:shared", plan):
        net = train()
    assert list(ours(net)) == ["0.relume_slope_0", "1.relume_slope_0"]
    assert all(net.get_parameter(name).grad is not None for name in ours(net))

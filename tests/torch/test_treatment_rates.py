"""Rates are multiplied and slopes spared the weight decay within a step, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from helpers import treating
from torch import nn

from relume.torch.treatment.digests import Digests

descend, survey, treated = treating.descend, treating.survey, treating.treated


def net_of(*, slopes=False):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.PReLU(8) if slopes else nn.ReLU(), nn.Linear(8, 2))


def weights(net):
    return sorted((tuple(p.shape), p.detach().numpy().tobytes()) for p in net.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda p, f: torch.optim.SGD(p, 0.01 * f, momentum=0.9),
        lambda p, f: torch.optim.Adam(p, 0.01 * f),
        lambda p, f: torch.optim.Adam(p, torch.tensor(0.01 * f), foreach=False),
        lambda p, f: torch.optim.AdamW(p, 0.01 * f, foreach=True),
        lambda p, f: torch.optim.Adam(p, 0.01 * f, fused=True),
        lambda p, f: torch.optim.Adagrad([{"params": list(p), "lr": 0.02 * f}], 0.5),
    ],
)
def test_a_factor_is_the_users_rate_times_it(make):
    with treated(None, factor=4.0):
        net = net_of()
        optimizer = make(net.parameters(), 1.0)
        rate = optimizer.param_groups[0]["lr"]
        descend(net, optimizer)
        assert optimizer.param_groups[0]["lr"] is rate
    by_hand = net_of()
    descend(by_hand, make(by_hand.parameters(), 4.0))
    assert weights(net) == weights(by_hand)


def test_lbfgs_is_scaled_and_trains_slopes():
    def train(net, rate):
        optimizer = torch.optim.LBFGS(net.parameters(), rate, max_iter=4)
        x = torch.randn(16, 6)
        for _ in range(3):

            def closure():
                optimizer.zero_grad()
                loss = net(x).square().mean()
                loss.backward()
                return loss

            optimizer.step(closure)

    plan = survey(lambda: train(net_of(), 0.1))
    with treated("prelu:channel", plan, factor=2.0):
        net = net_of()
        train(net, 0.1)
    by_hand = net_of(slopes=True)
    train(by_hand, 0.2)
    assert weights(net) == weights(by_hand)


def test_steps_within_steps_scale_once():
    class Sharp(torch.optim.Optimizer):
        """As SAM and Lookahead do: a step that calls another optimiser's, on the same groups in a list of its own."""

        def __init__(self, base):
            super().__init__(base.param_groups, {})
            self.base = base
            self.param_groups = list(base.param_groups)
            self.seen = []

        def step(self, closure=None):
            self.seen.append(self.param_groups[0]["lr"])
            self.base.step()

    plan = survey(lambda: descend(net_of(), torch.optim.SGD(net_of().parameters(), 0.1), 1))
    with treated("prelu:channel", plan, factor=0.25):
        net = net_of()
        outer = Sharp(torch.optim.SGD(net.parameters(), 0.1, weight_decay=0.5))
        descend(net, outer)
        assert outer.seen == [0.025] * 4
        assert outer.param_groups[0]["lr"] == 0.1
        assert [len(group["params"]) for group in outer.param_groups] == [5]
        assert [len(group["params"]) for group in outer.base.param_groups] == [5]
    by_hand = net_of(slopes=True)
    slopes = by_hand[1].weight
    rest = [p for p in by_hand.parameters() if p is not slopes]
    groups = [{"params": rest}, {"params": [slopes], "weight_decay": 0.0}]
    descend(by_hand, torch.optim.SGD(groups, 0.025, weight_decay=0.5))
    assert weights(net) == weights(by_hand)


def test_a_step_that_raises_leaves_nothing_scaled():
    net = net_of()

    def raising():
        raise ArithmeticError("the loss is gone")

    with treated(None, factor=4.0):
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        with pytest.raises(ArithmeticError, match="the loss is gone"):
            optimizer.step(raising)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)  # steps between a raise and the next step
        descend(net, optimizer, 1)
        schedule.step()
        assert optimizer.param_groups[0]["lr"] == 0.05
        with pytest.raises(ArithmeticError, match="the loss is gone"):
            optimizer.step(raising)
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_schedulers_clipping_and_state_see_the_users_groups():
    plan = survey(lambda: descend(net_of(), torch.optim.SGD(net_of().parameters(), 0.1), 1))
    with treated("prelu:shared", plan, factor=4.0):
        net = net_of()
        optimizer = torch.optim.AdamW(net.parameters(), 0.1, weight_decay=0.3)
        groups, params = optimizer.param_groups, optimizer.param_groups[0]["params"]
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        for step in range(3):
            descend(net, optimizer, 1)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            schedule.step()
            assert optimizer.param_groups is groups
            assert len(groups) == 1
            assert groups[0]["params"] is params
            assert len(params) == 5
            assert groups[0]["lr"] == schedule.get_last_lr()[0] == 0.1 * 0.5 ** (step + 1)
            assert groups[0]["weight_decay"] == 0.3
        assert len(optimizer.state_dict()["param_groups"][0]["params"]) == 5
        assert len(optimizer.state) == 5
        again = torch.optim.AdamW(net.parameters(), 0.1)
        again.load_state_dict(optimizer.state_dict())
        descend(net, again, 1)


def test_the_digests_identify_the_start_and_the_trained_weights():
    def run(name, seed, factor=1.0):
        plan = survey(lambda: descend(net_of(), torch.optim.SGD(net_of().parameters(), 0.1), 1))
        with treated(name, plan, seed=seed, factor=factor) as treatment:
            net = net_of()
            descend(net, torch.optim.SGD(net.parameters(), 0.1))
            del net
        return treatment.facts()

    bare, slopes, other, rate = run(None, 0), run("prelu:channel", 0), run(None, 1), run(None, 0, 2.0)
    assert bare.start == slopes.start == rate.start != other.start
    assert len({bare.weights, slopes.weights, other.weights, rate.weights}) == 4
    assert (bare.parameters_added, slopes.parameters_added) == (0, 8)
    assert bare.steps == 4
    assert run(None, 0) == bare


def test_optimizers_that_take_turns_are_digested_once_each():
    one, other = (torch.optim.SGD([nn.Parameter(torch.full((2,), float(n)))], lr=0.1) for n in (1, 2))
    turns, each_once = Digests(lambda _: False), Digests(lambda _: False)
    for optimizer in (one, other, one, one, other):
        turns.steps(optimizer)
    for optimizer in (one, other):
        each_once.steps(optimizer)
    assert (turns.start(), turns.trained()) == (each_once.start(), each_once.trained())
    assert turns.start() != "" != turns.trained()

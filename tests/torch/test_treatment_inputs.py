"""The input of a network's first layer, normalized in a trial."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from helpers.treating import descend, survey, treated
from torch import nn


class Net(nn.Module):
    def __init__(self, before=nn.Identity):
        super().__init__()
        self.out, self.first = nn.Linear(9, 2), nn.Sequential(before(), nn.Linear(6, 9))

    def forward(self, x):
        return self.out(torch.relu(self.first(x)))


def train(before=nn.Identity):
    torch.manual_seed(0)
    net = Net(before)
    target = copy.deepcopy(net)
    descend(net, torch.optim.Adam(net.parameters()), 5)
    return net, target.eval()(torch.full((4, 6), 2.0))


def test_the_layer_that_takes_the_data_is_found_wherever_it_is_made():
    (first,) = survey(train).inputs
    assert (first.layer.kind, first.layer.order) == ("torch.nn.modules.linear:Linear", 1)
    assert (first.norm, first.alone) == ("BatchNorm1d", True)
    source = Path(__file__).read_text().splitlines()[first.spot[1] - 1]
    assert source[first.spot[3] : first.spot[4]] == "nn.Linear(6, 9)"


def test_it_trains_as_the_network_with_a_batch_norm_there_and_copies_have_it():
    plan = survey(train)
    by_hand, copied_by_hand = train(lambda: nn.BatchNorm1d(6, affine=False))
    with treated("normalize", plan) as treatment:
        net, copied = train()
    assert treatment.facts().notes == ()
    ours, theirs = dict(net.named_parameters()), dict(by_hand.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(copied, copied_by_hand)
    net.eval()
    by_hand.eval()
    assert torch.equal(net(torch.ones(1, 6)), by_hand(torch.ones(1, 6)))


def recurrent():
    net = nn.ModuleList([nn.RNN(6, 6), nn.Linear(6, 1)])
    net[0](torch.randn(3, 2, 6))


def embedded():
    net = nn.Sequential(nn.Embedding(5, 6), nn.Linear(6, 1))
    net(torch.tensor([1, 2]))


def of_sequences():
    nn.Sequential(nn.Linear(6, 1))(torch.randn(2, 5, 6))


@pytest.mark.parametrize("run", [recurrent, embedded, of_sequences])
def test_without_a_layer_for_rows_or_images_nothing_is_normalized_and_a_note_says_so(run):
    plan = survey(run)
    assert plan.inputs == ()
    with treated("normalize", plan) as treatment:
        run()
    assert "nothing was normalized" in treatment.facts().notes[0]


def test_layers_of_one_loop_are_distinguished():
    def run():
        net = nn.Sequential(*[nn.Linear(size, size) for size in (6, 6)])
        net(torch.randn(8, 6) + 5)
        return net

    (first,) = survey(run).inputs
    assert not first.alone
    with treated("normalize", survey(run)):
        net = run()
    assert [len(list(layer.children())) for layer in net] == [1, 0]

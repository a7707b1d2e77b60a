"""An activation on the network's output that its loss does not expect is found, and other outputs are not reported."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume


def found(last, loss, steps=4):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5), *last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with relume.watch(net, every=1) as watch:
        for _ in range(steps):
            x = torch.randn(16, 8)
            optimizer.zero_grad()
            loss(net(x), x[:, :5]).backward()
            optimizer.step()
    report = watch.to_dict()
    return [f for f in report["findings"] if f["slug"] == "output_activation"]


def classes(function):
    return lambda out, wanted: function(out.flatten(1), wanted.argmax(1))


@pytest.mark.parametrize(
    ("last", "loss", "evidence"),
    [
        ([nn.ReLU()], classes(nn.CrossEntropyLoss()), "none is below 0"),
        ([nn.ReLU6()], classes(F.cross_entropy), "none is below 0"),
        ([nn.ReLU(), nn.Unflatten(1, (5, 1))], classes(F.cross_entropy), "none is below 0"),
        ([nn.Softmax(1)], classes(nn.CrossEntropyLoss()), "no class gets more than 40.5 %"),
        ([nn.ReLU()], F.mse_loss, "of the targets are"),
        ([nn.ReLU()], nn.HuberLoss(), "never below 0"),
        ([nn.ReLU()], lambda out, wanted: F.l1_loss(out, wanted.abs()), "straight into l1_loss, and is never below 0"),
    ],
)
def test_the_missing_output_activation_is_found(last, loss, evidence):
    (finding,) = found(last, loss)
    assert finding["rule"] == "RLM019"
    assert evidence in finding["evidence"]
    assert finding["severity"] == "warning"


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ([], classes(F.cross_entropy)),
        ([nn.ReLU(), nn.Linear(5, 5)], classes(F.cross_entropy)),
        ([nn.ReLU(), nn.Unflatten(1, (5, 1)), nn.AvgPool1d(1)], classes(F.cross_entropy)),
        ([nn.Softmax(1)], F.mse_loss),
        ([nn.LogSoftmax(1)], classes(F.nll_loss)),
        ([nn.Sigmoid()], F.mse_loss),
        ([nn.Tanh()], classes(F.cross_entropy)),
    ],
)
def test_a_correct_output_activation_is_not_reported(last, loss):
    assert found(last, loss) == []


def test_features_of_two_networks_are_compared_on_purpose():
    teacher = nn.Sequential(nn.Linear(5, 5), nn.ReLU())
    assert found([nn.ReLU()], lambda out, wanted: F.mse_loss(out, teacher(wanted))) == []


def test_a_softmax_before_a_cross_entropy_is_one_site_and_changes_no_other_finding():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 5), nn.Softmax(1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with relume.watch(net, every=1) as watch:
        for _ in range(30):
            x = torch.randn(16, 8)
            optimizer.zero_grad()
            F.cross_entropy(net(x), x[:, :5].argmax(1)).backward()
            optimizer.step()
    report = watch.to_dict()
    (site,) = report["sites"]
    assert (site["activation"], site["call"], site["dead"]) == ("softmax", "nn.Softmax", [])
    assert [f["slug"] for f in report["findings"]] == ["output_activation"]

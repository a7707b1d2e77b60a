"""The numbers of a site's layer are those that one computes by hand, look by look."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume


def trained(net, data, steps=10, **options):
    """Train a watched network; returns its report's sites, and by hand (output, input, gradient) of ``net.first``."""
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    by_hand = {"y": [], "x": [], "g": []}
    with relume.watch(net, every=1, **options) as watch:
        for _ in range(steps):
            x = data()
            with torch._C.DisableTorchFunction():
                by_hand["x"].append(x.clone())
                by_hand["y"].append(torch.relu(net.first(x)).detach())
            loss = net(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            by_hand["g"].append(net.first.weight.grad.clone())
            optimizer.step()
    return watch.to_dict()["sites"], by_hand


class Net(nn.Module):
    def __init__(self, convolution):
        super().__init__()
        self.first = nn.Conv1d(3, 6, 3) if convolution else nn.Linear(5, 6)

    def forward(self, x):
        return F.relu(self.first(x))


def rms(x):
    return x.square().mean().sqrt().item()


@pytest.mark.parametrize("convolution", [False, True])
def test_statistics_are_those_computed_by_hand(convolution):
    torch.manual_seed(0)
    net = Net(convolution)
    weight = net.first.weight.detach().clone()
    (site,), hand = trained(net, lambda: torch.randn(16, *((3, 20) if convolution else (5,))) + 0.5)
    statistics = site["statistics"]
    features = hand["x"][-1].transpose(1, -1).reshape(-1, 3) if convolution else hand["x"][-1]
    offset = features.mean(0).norm() / features.var(0, correction=0).sum().sqrt()
    assert statistics["offset"] == pytest.approx(offset.item(), rel=1e-4)
    square = weight.square().sum().item()
    assert statistics["init_gain"] == pytest.approx(math.sqrt(square / len(weight)), rel=1e-5)
    assert statistics["init_gain_back"] == pytest.approx(math.sqrt(square / weight.shape[1]), rel=1e-5)
    assert statistics["peak"] == pytest.approx(max(y.max().item() for y in hand["y"]), rel=1e-5)
    assert statistics["rms_first"] == pytest.approx(rms(hand["y"][0]), rel=1e-4)
    assert statistics["rms"] == pytest.approx(rms(hand["y"][-1]), rel=1e-4)
    assert statistics["gradient_first"] == pytest.approx(rms(hand["g"][0]), rel=1e-4)
    assert statistics["gradient"] == pytest.approx(rms(hand["g"][-1]), rel=1e-4)
    gradients = torch.stack(hand["g"]).flatten(1)
    mean_square = gradients.mean(0).square().sum()
    whole = gradients.square().sum(1).mean()
    signal = (mean_square - whole / 10) * 10 / 9
    assert statistics["gradients"] == 10
    assert statistics["noise"] == pytest.approx(min(1, max(0, 1 - (signal / whole).item())), abs=1e-4)


def test_noise_is_distinguished_from_signal():
    from relume.torch.watching.causes.layer_statistics import LayerStatistics

    torch.manual_seed(0)
    signal = torch.randn(2_000)
    for share in (0.0, 0.5, 0.9):
        statistics = LayerStatistics()
        for _ in range(200):
            statistics.gradient(math.sqrt(1 - share) * signal + math.sqrt(share) * torch.randn(2_000))
        assert statistics.read()["noise"] == pytest.approx(share, abs=0.03)


def test_a_spike_of_the_learning_rate_explodes_and_is_found():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(), nn.Linear(16, 4), nn.LeakyReLU())
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    with relume.watch(net, every=1) as watch:
        for step in range(40):
            optimizer.param_groups[0]["lr"] = 300.0 if step == 20 else 1e-2
            loss = (net(torch.randn(32, 8)) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if not math.isfinite(loss.item()):
                break
    slugs = {finding.slug for finding in watch.findings().findings}
    assert "exploding_activation" in slugs or "non_finite" in slugs


def test_layers_before_saturated_ones_get_hardly_any_gradient_and_are_found():
    torch.manual_seed(0)
    layers = [layer for _ in range(9) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
    net = nn.Sequential(*layers, nn.Linear(8, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    with relume.watch(net, every=1) as watch:
        for _ in range(20):
            loss = (net(torch.randn(32, 8)) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    vanishing = [f.site for f in watch.findings().findings if f.slug == "vanishing_gradient"]
    assert any(".1@" in site for site in vanishing)
    assert not any(".17@" in site for site in vanishing)


def test_a_single_example_gives_no_offset():
    """An agent that acts looks at one state at a time: its variation is none, whatever its mean."""
    torch.manual_seed(0)
    (alone,), _ = trained(Net(False), lambda: torch.randn(1, 5) + 0.5)
    assert "offset" not in alone["statistics"]
    assert "init_gain" in alone["statistics"]

"""A network with relume.torch's activations is reported as the same one with PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relume
import relume.torch as rt
from relume import activations
from relume.torch import layers

NAMES = [name for name in layers.__all__ if hasattr(nn, name) and name not in ("RReLU", "Softmax")]


def report(activation: nn.Module, evaluated: bool = False) -> dict:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), activation, nn.Linear(16, 1))
    with torch.no_grad():
        net[0].bias[3] = -50.0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with relume.watch(net.train(not evaluated), budget=1.0, window=5, phase="eval" if evaluated else "train") as watch:
        for _ in range(10):
            net(torch.randn(12, 8)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    (site,) = watch.to_dict()["sites"]
    return {key: found for key, found in site.items() if key not in ("source", "call")} | {"call": site["call"]}


@pytest.mark.parametrize("name", NAMES)
def test_a_relume_module_is_reported_as_torchs(name):
    native, ours = report(getattr(nn, name)()), report(getattr(rt, name)())
    shared = getattr(nn, name) is getattr(rt, name)
    assert (native.pop("call"), ours.pop("call")) == (f"nn.{name}", f"nn.{name}" if shared else f"relume.torch.{name}")
    assert ours == native
    assert ours["firing_rate"][3] == (1 if name in ("Sigmoid", "Tanh", "Softplus") else 0)


@pytest.mark.parametrize(
    ("name", "dead"),
    [
        (name, [] if name in ("LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "Sigmoid", "Tanh", "Softplus") else [3])
        for name in NAMES
    ]
    + [("ReLUSquared", [3]), ("LeakySquared", [])],
)
def test_a_silent_unit_is_dead_if_its_slope_is_gone(name, dead):
    found = report(getattr(rt, name)())
    assert (found["activation"], found["dead"]) == (activations.get(name).name, dead)
    assert found["call"] == (f"nn.{name}" if getattr(nn, name, None) is getattr(rt, name) else f"relume.torch.{name}")


def test_relumes_rrelu_is_reported_as_torchs():
    native, ours = report(nn.RReLU(), evaluated=True), report(rt.RReLU(), evaluated=True)
    assert (native.pop("call"), ours.pop("call")) == ("nn.RReLU", "relume.torch.RReLU")
    assert ours == native


def test_slopes_that_are_not_units_do_not_end_the_watching():
    assert report(rt.PReLU((16,), axis=(1,)))["activation"] == "prelu"
    net = nn.Sequential(nn.Conv1d(2, 4, 1), rt.PReLU((4, 5), axis=(1, 2)))
    with relume.watch(net, budget=1.0) as watch:
        net(torch.randn(3, 2, 5)).sum().backward()
    (site,) = watch.to_dict()["sites"]
    assert (site["units"], site["samples"], site["activation"]) == (4, 15, "prelu")

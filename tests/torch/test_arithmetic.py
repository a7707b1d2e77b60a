"""What a script writes as arithmetic is judged if it equals a ReLU and listed otherwise; other masks are neither.

Codes (JumpReLU, gates) are in test_codes.py.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import relume


class Net(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.first, self.head, self.activation = nn.Linear(4, 8), nn.Linear(8, 1), activation
        with torch.no_grad():
            self.first.bias[:2] = -40
        self.fired = torch.zeros(8)

    def forward(self, x):
        pre = self.first(x)
        with torch._C.DisableTorchFunction(), torch.no_grad():
            self.fired += (pre > 0).sum(0)
        return self.head(self.activation(pre))


def watched(activation, loss=torch.mean, compiled=False):
    torch.manual_seed(0)
    net = Net(activation)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with relume.watch(net, every=1, window=3) as watch:
        call = torch.compile(net, backend="eager") if compiled else net
        for _ in range(3):
            loss(call(torch.randn(16, 4))).backward()
            optimizer.step()
    return net, watch.to_dict()


def unseen(report):
    return [(row["what"], row["where"].partition(":")[0]) for row in report["not_observed"]]


def masked(x):
    y = x.clone()
    y[y < 0] = 0
    return y


def filled_in_place(x):
    y = x.clone()
    return y.masked_fill_(y <= 0, 0.0)


RELUS = [
    ("x * (x > 0)", lambda x: x * (x > 0)),
    ("x * (x > 0)", lambda x: (x >= 0).float() * x),
    ("x * (x > 0)", lambda x: x.mul((0 < x).to(x.dtype))),
    ("x * (x > 0)", lambda x: x * ~(x <= 0)),
    ("where(x > 0, x, 0)", lambda x: torch.where(x > 0, x, 0.0)),
    ("where(x > 0, x, 0)", lambda x: torch.where(x <= 0, torch.zeros_like(x), x)),
    ("where(x > 0, x, 0)", lambda x: x.where(x > torch.zeros(()), 0.0)),
    ("masked_fill(x < 0, 0)", lambda x: x.masked_fill(x < 0, 0)),
    ("masked_fill(x < 0, 0)", filled_in_place),
    ("x[x < 0] = 0", masked),
    ("max(x, 0)", lambda x: torch.max(x, torch.zeros_like(x))),
    ("max(x, 0)", lambda x: torch.maximum(torch.zeros(8), x)),
    ("max(x, 0)", lambda x: torch.fmax(x, x.new_zeros(()))),
    ("(x + |x|) / 2", lambda x: (x + x.abs()) / 2),
    ("(x + |x|) / 2", lambda x: 0.5 * (abs(x) + x)),
]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("written", "activation"), RELUS)
def test_arithmetic_that_equals_a_relu_is_judged(written, activation, compiled):
    torch._dynamo.reset()
    net, report = watched(activation, compiled=compiled)
    (site,) = report["sites"]
    assert site["call"] == written
    assert site["activation"] == "relu"
    assert site["layer"] == "first"
    assert site["dead"] == [0, 1]
    if not compiled:  # in a compiled graph the net's own count is compiled too
        assert [round(rate * site["samples"]) for rate in site["firing_rate"]] == net.fired.tolist()
    assert report["not_observed"] == []


OTHERS = [
    ("x * (x < 0)", lambda x: x * (x < 0)),
    ("x * (x < t)", lambda x: x * (x < 6)),
    ("where(x > t, x, ...)", lambda x: torch.where(x > 0.3, x, 0.1)),
    ("where(x > 0, x, ...)", lambda x: torch.where(x < 0, 0.1 * x, x)),
    ("masked_fill(x < 0, ...)", lambda x: x.masked_fill(x < 0, 1)),
    ("max(x, a * x)", lambda x: torch.max(x, 0.1 * x)),
]


@pytest.mark.parametrize(("written", "activation"), OTHERS)
def test_arithmetic_that_is_another_activation_is_listed_with_its_file(written, activation):
    _, report = watched(activation)
    assert report["sites"] == []
    assert unseen(report) == [(written, "tests/torch/test_arithmetic.py")]


@pytest.mark.parametrize(
    "activation",
    [
        lambda x: x * (x.roll(1) > 0),
        lambda x: x.masked_fill(torch.ones(8) > 0, 0),
        lambda x: torch.max(x, torch.ones(8)),
        lambda x: x + x.roll(1).abs(),
        lambda x: x * 0.5,
    ],
)
def test_other_masks_and_sums_are_not_activations(activation):
    _, report = watched(activation)
    assert report["sites"] == []
    assert report["not_observed"] == []


def test_arithmetic_with_plain_numbers_inside_the_model_is_judged():
    _, report = watched(lambda x: (x - 0.1) * ((x - 0.1) > 0))  # two tensors: no activation
    assert report["sites"] == []
    assert report["not_observed"] == []

    def shifted(x):
        z = x - 0.1
        return z * (z > 0)

    _, report = watched(shifted)
    (site,) = report["sites"]
    assert site["dead"] == [0, 1]


def test_a_loss_that_is_written_with_a_comparison_is_not_an_activation():
    def hinge(prediction):
        margin = 1 - prediction
        return (margin * (margin > 0)).mean()

    _, report = watched(torch.relu, hinge)
    assert unseen(report) == []
    assert len(report["sites"]) == 1


def test_training_is_not_changed_by_a_bit():
    for _, activation in RELUS + OTHERS:
        states = []
        for is_watched in (False, True):
            torch.manual_seed(1)
            net = Net(activation)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            watch = relume.watch(net, every=1)
            if is_watched:
                watch.start()
            for _ in range(3):
                net(torch.randn(16, 4)).square().mean().backward()
                optimizer.step()
            watch.stop()
            states.append([p.clone() for p in net.parameters()] + [torch.rand(())])
        assert all(map(torch.equal, *states))

"""The band of pre-activations: what a brute-force look at every step gives, in bounded size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import relume
from relume.artifacts.history import MOST_STRETCHES
from relume.torch.watching.causes.trace import Trace


class Net(nn.Module):
    def __init__(self, convolution: bool) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 6, 3) if convolution else nn.Linear(8, 6)
        self.out = nn.Linear(6 * 4 if convolution else 6, 1)
        self.seen = []

    def forward(self, x):
        z = self.layer(x)
        rows = z.detach().movedim(1, -1).reshape(-1, 6)
        self.seen.append((rows.amin(0).numpy(), rows.amax(0).numpy()))
        return self.out(torch.relu(z).flatten(1))


@pytest.mark.parametrize("convolution", [False, True])
def test_low_and_high_are_the_range_of_the_pre_activations(convolution):
    torch.manual_seed(0)
    net = Net(convolution)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    with relume.watch(net, every=1) as w:
        for _ in range(30):
            x = torch.randn(16, 2, 4, 4) if convolution else torch.randn(16, 8)
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    band = w.findings().sites[0].band
    assert band.steps[0] == 0
    assert len(band.steps) >= 8
    for row, step in enumerate(band.steps):
        low, high = net.seen[step]
        np.testing.assert_allclose(band.low[row], low, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(band.high[row], high, rtol=2e-3, atol=2e-3)
    assert (np.diff(band.path.astype(float), axis=0) >= -1e-3).all()
    assert (band.path[-1] > 0).all()


def test_a_trace_keeps_the_first_look_and_no_more_than_fit():
    trace = Trace()
    for step in range(5_000):
        if trace.is_due(step):
            trace.add(step, np.full(4, -float(step)), np.full(4, float(step)), np.full(4, step / 10))
    band = trace.read()
    assert band.steps[0] == 0
    assert MOST_STRETCHES // 2 <= len(band.steps) <= MOST_STRETCHES
    assert band.steps[-1] > 4_800
    assert set(np.diff(band.steps)) == {np.diff(band.steps)[0]}
    np.testing.assert_allclose(band.high[:, 0], band.steps, rtol=1e-3)


def test_a_wide_site_keeps_no_trace_and_numbers_stay_finite():
    trace = Trace()
    trace.add(0, np.zeros(100_000), np.zeros(100_000), np.zeros(100_000))
    assert trace.read() is None
    trace.add(1, np.full(2, -1e30), np.array([1e30, np.inf]), np.zeros(2))
    assert np.isfinite(trace.read().low.astype(float)).all()

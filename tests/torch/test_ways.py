"""Each way of writing a network: counts equal to a brute-force count, and a training that is not changed by a bit."""

from __future__ import annotations

import pytest
import torch
from helpers import ways

import relume


def train(net: torch.nn.Module, steps: int, name: str = "") -> list[float]:
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        if step == steps // 2:  # an evaluation in between, which must not count
            net.eval()
            with torch.set_grad_enabled(name == "checkpoint_reentrant"):  # which warns of a pass without gradients
                net(torch.full((8, 16), 9.0))
            net.train()
        x = torch.randn(12, 16)
        loss = net(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def watching(net: torch.nn.Module, thorough: bool, **options) -> relume.api.Watch:
    """A watch whose every look is wide, or whose looks grow narrow as within a budget."""
    watch = relume.watch(net, budget=1.0, **options)
    watch._observer._thorough = thorough
    return watch


@pytest.mark.parametrize("thorough", [True, False], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", ways.WAYS)
def test_counts_equal_a_brute_force_count(name, thorough):
    way = ways.WAYS[name]
    steps = way.steps if thorough else max(way.steps, 9)
    torch.manual_seed(3)
    net = way.make()
    with watching(net, thorough, window=steps) as watch:
        train(net, steps, name)
    report = watch.to_dict()
    assert len(report["sites"]) == len(net.fired)
    for site, (label, fired) in zip(report["sites"], net.fired.items(), strict=True):
        counted = [round(rate * site["samples"]) for rate in site["firing_rate"]]
        assert counted == fired.tolist(), label
        assert site["dead"] == torch.nonzero(fired == 0).flatten().tolist(), label
        assert site["born_dead"] == site["dead"]
        assert not site["axis_assumed"], label
        assert site["examples"] % 12 == 0
    assert any(site["dead"] for site in report["sites"])
    assert report["not_observed"] == []


@pytest.mark.parametrize("thorough", [True, False], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", ways.WAYS)
def test_training_is_not_changed_by_a_bit(name, thorough):
    way = ways.WAYS[name]
    results = []
    for watched in (False, True):
        torch.manual_seed(3)
        net = way.make()
        buffers, hooks = dict(net.named_buffers()).keys(), len(net._forward_hooks)
        watch = watching(net, thorough)
        if watched:
            watch.start()
        losses = train(net, max(way.steps, 9), name)
        watch.stop()
        assert dict(net.named_buffers()).keys() == buffers
        assert len(net._forward_hooks) == hooks
        results.append((losses, net.state_dict(), torch.get_rng_state()))
    (bare_losses, bare_state, bare_rng), (losses, state, rng) = results
    assert losses == bare_losses
    assert all(torch.equal(state[key], bare_state[key]) for key in bare_state)
    assert torch.equal(rng, bare_rng)

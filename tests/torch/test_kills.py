"""Units that are killed at random steps of 5,000, at the default budget: all are reported, and dated to 2 % of the run.

On steps of half a millisecond the budget pays for a look at one step in ten or more. Units that fire on 1 % of the
examples never die.
"""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume

STEPS = 5_000
NEAR = STEPS // 50  # 2 % of the run
LAST = STEPS - NEAR  # what dies later is not seen for so long
RARE = 4  # units that fire on 1 % of the examples, the first ones


def trained(inputs, width, batch, kills, seed):
    """Train a net of two hidden layers and kill units; returns (findings' dict, {unit: step} that was killed)."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
    first = net[0]
    with torch.no_grad():
        first.weight[:RARE] = torch.eye(RARE, inputs)
        first.bias[:RARE] = -2.326  # P(z > 2.326) is 1 % for z ~ N(0, 1)
    keep_rare = lambda gradient: gradient.index_fill(0, torch.arange(RARE), 0.0)  # noqa: E731 - a hook
    first.weight.register_hook(keep_rare)
    first.bias.register_hook(keep_rare)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    steps = sorted(rng.sample(range(100, LAST), kills))
    killed = {}
    with relume.watch(net) as watch:
        for step in range(STEPS):
            x = torch.randn(batch, inputs)
            if len(killed) < kills and step == steps[len(killed)]:
                with torch.no_grad():
                    rates = (x @ first.weight.T + first.bias > 0).float().mean(0)
                    unit = rng.choice([n for n in range(RARE, width) if rates[n] > 0.1 and n not in killed])
                    first.bias[unit] = -1e4  # ReLU gives no gradient back there
                    killed[unit] = step
            loss = F.mse_loss(net(x), x[:, :2].sin())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return watch.to_dict(), killed


def dated(data, killed):
    """How far from its kill each unit's death is dated."""
    site = data["sites"][0]
    return {unit: site["died_at"][str(unit)] - step for unit, step in killed.items() if str(unit) in site["died_at"]}


def demand(data, killed):
    """All that were killed are reported and dated; rare units are alive."""
    site = data["sites"][0]
    assert not site["provisional"]
    assert set(killed) <= set(site["dead"])
    assert not set(range(RARE)) & set(site["dead"])
    off = dated(data, killed)
    assert off.keys() == killed.keys()
    assert all(abs(steps) <= NEAR for steps in off.values()), off
    assert not [event for event in site["events"] if event[0] < RARE]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_fifty_kills_in_a_tiny_net_are_all_reported_and_dated_to_2_percent(seed):
    demand(*trained(inputs=8, width=64, batch=32, kills=10, seed=seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_fifty_kills_in_an_mlp_are_all_reported_and_dated_to_2_percent(seed):
    demand(*trained(inputs=256, width=512, batch=64, kills=10, seed=seed))

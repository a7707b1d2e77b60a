"""Revived units are alive a thousand steps later, and the training ends no worse than one that kept them dead."""

from __future__ import annotations

import copy
import statistics

import networks
import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS, kill
from test_revive import watched

import relume

SEEDS, STEPS, UNITS = 5, 1_000, (0, 1, 2, 4)


def batches(seed):
    """Images whose class is the quadrant that is brightest."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        x = torch.randn(32, 3, 16, 16, generator=draw)
        y = torch.randint(4, (32,), generator=draw)
        for at in range(4):
            x[y == at, :, 8 * (at // 2) : 8 * (at // 2) + 8, 8 * (at % 2) : 8 * (at % 2) + 8] += 0.4
        yield x, y


def train(model, seed, optimizer):
    stream, losses = batches(seed), []
    model.train()
    for _ in range(STEPS):
        x, y = next(stream)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return statistics.mean(losses[-100:])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [networks.VGG], ids=lambda kind: kind.__name__)
def test_revived_units_live_on_and_the_loss_is_no_worse(kind):
    alive = units = 0
    gains = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        dead = kind()
        kill(dead, NETWORKS[kind][1], UNITS)
        x = torch.cat([next(batches(100 + seed))[0] for _ in range(4)])
        revived = copy.deepcopy(dead)
        optimizer = torch.optim.SGD(revived.parameters(), lr=0.02, momentum=0.9)
        change = relume.revive(revived, watched(revived, x), x, optimizer=optimizer)
        fresh = {(edit.place, unit) for edit in change.changed for unit in edit.units}
        losses = [
            train(dead, seed, torch.optim.SGD(dead.parameters(), lr=0.02, momentum=0.9)),
            train(revived, seed, optimizer),
        ]
        gains.append(losses[0] - losses[1])
        silent = {(each.site.module, unit) for each in watched(revived, x).sites for unit in each.dead}
        alive += sum((place.split(" in ")[1].split(" after ")[0], unit) not in silent for place, unit in fresh)
        units += len(fresh)
    print(f"{kind.__name__}: {alive} of {units} alive; loss lower by {gains}")
    assert units >= SEEDS * 4
    assert alive >= 0.95 * units
    assert statistics.mean(gains) >= -2 * statistics.stdev(gains) / SEEDS**0.5

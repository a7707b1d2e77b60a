"""Trainings whose deaths are planted, with the truth beside what a checkpoint keeps: the last step of each gradient."""

from __future__ import annotations

import torch
from torch import nn

OFF = -1e3
"""A bias with which a unit never fires."""


def network():
    return nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 5))


def train(model, optimizer, steps, deaths=None, seed=0, batch=64, at=None):
    """Train on a task of random inputs; ``deaths``: unit of the first layer → step. Returns its last gradients' steps.

    ``at(step)`` is called before each step.
    """
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(4096, 20, generator=draw)
    targets = inputs[:, :5].argmax(1)
    last = torch.full((model[0].out_features,), -1)
    for step in range(steps):
        for unit in [unit for unit, when in (deaths or {}).items() if when == step]:
            with torch.no_grad():
                model[0].bias[unit] = OFF
        if at is not None:
            at(step)
        rows = torch.randint(0, len(inputs), (batch,), generator=draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        last[(model[0].weight.grad != 0).any(1) | (model[0].bias.grad != 0)] = step
        optimizer.step()
    return last.tolist()

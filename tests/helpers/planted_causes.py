"""Causes of death, planted in a training: each kills one known unit (or a layer) in one known way.

A plant is called at each step, after the gradients are there and before the optimiser's step. The networks are of
three kinds: two linear layers, two convolutions with batch norm, and a functional residual one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNIT = 3
STEPS = 60
AT = 30


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 16), nn.Linear(16, 12), nn.Linear(12, 2)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu2(self.second(self.relu1(self.first(x)))))

    def data(self) -> Tensor:
        return torch.randn(32, 8)


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 12, 3, padding=1, groups=2)
        self.head = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first(x), inplace=True), 2)
        return self.head(torch.relu(self.second(x)).mean((2, 3)))

    def data(self) -> Tensor:
        return torch.randn(16, 2, 12, 12)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.head(x + F.relu(self.second(x)))

    def data(self) -> Tensor:
        return torch.randn(4, 8, 8)  # (batch, time, features)


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.first(x))).mean(2))

    def data(self) -> Tensor:
        return torch.randn(16, 3, 20)


NETWORKS = (Linear, Convolutional, Residual)


@dataclass
class Plant:
    """``prepare`` alters the network before the training; ``act`` interferes at each step; ``data`` the input."""

    cause: str
    layer: str
    prepare: Callable[[nn.Module], None] = lambda net: None
    act: Callable[[nn.Module, int], None] = lambda net, step: None
    data: Callable[[Tensor, int], Tensor] = lambda x, step: x
    groups: Callable[[nn.Module], list] | None = None
    whole: bool = False  # the whole layer dies, not UNIT alone
    networks: tuple[type[nn.Module], ...] = NETWORKS


@torch.no_grad()
def _out_of_reach(net: nn.Module) -> None:
    net.first.bias[UNIT] = -50.0


def _one_step(net: nn.Module, step: int) -> None:
    if step == AT:
        net.first.weight.grad[UNIT] = 10.0 * net.first.weight.detach()[UNIT].sign()
        net.first.bias.grad[UNIT] = 300.0


@torch.no_grad()
def _well_awake(net: nn.Module) -> None:
    net.first.bias[UNIT] = 1.0


def _sinking_bias(net: nn.Module, step: int) -> None:
    net.first.bias.grad[UNIT] += 8.0


@torch.no_grad()
def _threshold(net: nn.Module) -> None:
    net.first.bias.requires_grad_(False)
    net.first.bias[UNIT] = -0.6
    net.first.weight[UNIT] *= 2.0


def _decaying_weights(net: nn.Module) -> list:
    rest = [p for name, p in net.named_parameters() if name != "first.weight" and p.requires_grad]
    return [{"params": [net.first.weight], "weight_decay": 5.0}, {"params": rest}]


def _no_gradient_for_the_first(net: nn.Module, step: int) -> None:
    net.first.weight.grad.zero_()


@torch.no_grad()
def _silence_the_first(net: nn.Module, step: int) -> None:
    if step == AT:
        net.first.bias.fill_(-1e3)


@torch.no_grad()
def _needs_its_input(net: nn.Module) -> None:
    net.second.bias.fill_(-0.05)


@torch.no_grad()
def _sees_the_mean(net: nn.Module) -> None:
    net.first.weight[UNIT] = net.first.weight[UNIT].abs()


def _shifted(x: Tensor, step: int) -> Tensor:
    return x - 20.0 if step >= AT else x


@torch.no_grad()
def _collapse(net: nn.Module, step: int) -> None:
    if step >= AT:
        net.norm.weight[UNIT], net.norm.bias[UNIT] = 0.0, -0.1


@torch.no_grad()
def _freeze_the_second(net: nn.Module) -> None:
    net.second.requires_grad_(False)
    net.second.weight[UNIT] = net.second.weight[UNIT].abs()
    net.second.bias[UNIT] = -0.3


@torch.no_grad()
def _fade_the_first(net: nn.Module, step: int) -> None:
    net.first.weight *= 0.93
    net.first.bias *= 0.93


@torch.no_grad()
def _blind(net: nn.Module) -> None:
    net.first.bias.fill_(-0.1)


PLANTS = {
    "born_dead": Plant("born dead", "first", prepare=_out_of_reach),
    "large_update": Plant("large update", "first", prepare=_well_awake, act=_one_step),
    "bias_drift": Plant("bias drift", "first", prepare=_well_awake, act=_sinking_bias),
    "weight_decay": Plant(
        "weight decay", "first", prepare=_threshold, act=_no_gradient_for_the_first, groups=_decaying_weights
    ),
    "cascade": Plant("upstream cascade", "second", prepare=_needs_its_input, act=_silence_the_first, whole=True),
    "offset": Plant("input offset", "first", prepare=_sees_the_mean, data=_shifted),
    "collapse": Plant("normalization collapse", "first", act=_collapse, networks=(Normalised,)),
    "frozen": Plant("frozen", "second", prepare=_freeze_the_second, act=_fade_the_first),
    "zero_input": Plant("constant zero input", "first", prepare=_blind, data=lambda x, step: x * 0, whole=True),
}


def train(net: nn.Module, plant: Plant, planted: bool = True) -> None:
    """Train with the cause planted, or without it."""
    groups = plant.groups(net) if plant.groups and planted else [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(groups, lr=0.02)
    for step in range(STEPS):
        x = net.data()
        x = plant.data(x, step) if planted else x
        loss = net(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if planted:
            plant.act(net, step)
        optimizer.step()

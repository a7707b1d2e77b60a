"""Models whose activations are swapped; in a file of their own, for functional calls are found in the source."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Mixed(nn.Module):
    """A module, a function, a tensor's method and a shared module."""

    def __init__(self, width=8):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(6, width), nn.Linear(width, width), nn.Linear(width, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.first(x))
        x = F.relu(self.second(x))
        return self.head(x)

    def head(self, x):
        return self.third(torch.sigmoid(x) + x.tanh())


class Child(Mixed):
    """Calls its parent's method."""

    def forward(self, x):
        return super().forward(F.relu(x))


class Dropping(nn.Module):
    """Drops the result of a call in place."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        F.relu_(x)
        return self.last(x)

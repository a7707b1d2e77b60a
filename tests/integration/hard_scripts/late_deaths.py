"""Five units are pushed far below 0, late in a run of six thousand steps."""

import torch
from torch import nn

torch.manual_seed(7)
net = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
truth = torch.randn(8, 1)
for step in range(6000):
    if step == 4500:
        with torch.no_grad():
            net[0].bias[[3, 14, 15, 30, 47]] -= 50.0
    x = torch.randn(32, 8)
    loss = (net(x) - torch.sin(x @ truth)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

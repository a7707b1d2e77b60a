"""Weight decay drags the slopes of a PReLU to 0."""

import torch
from torch import nn

torch.manual_seed(6)
net = nn.Sequential(nn.Linear(8, 24), nn.PReLU(24), nn.Linear(24, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.15)
for _ in range(300):
    x = torch.randn(32, 8)
    loss = (net(x) - x[:, :1].relu()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

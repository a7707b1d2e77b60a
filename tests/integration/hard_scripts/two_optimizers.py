"""Two optimizers on one model, the head's stepped first; a third is made and never stepped."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(5)
net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
with torch.no_grad():
    net[0].bias[[3, 30]] = -50.0
    net[2].bias[[7]] = -50.0
head = torch.optim.AdamW(net[4].parameters(), lr=1e-3)
body = torch.optim.SGD([*net[0].parameters(), *net[2].parameters()], lr=0.05, momentum=0.9)
forgotten = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(600):
    loss = F.cross_entropy(net(torch.randn(32, 16)), torch.randint(0, 4, (32,)))
    head.zero_grad()
    body.zero_grad()
    loss.backward()
    head.step()
    body.step()

"""An exported program is trained."""

import torch
from torch import nn

torch.manual_seed(4)
net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
with torch.no_grad():
    net[0].bias[[1, 9]] = -50.0
example = torch.randn(32, 6)
program = torch.export.export(net, (example,)).module()
optimizer = torch.optim.SGD(program.parameters(), lr=0.01)
for _ in range(100):
    loss = program(torch.randn(32, 6)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

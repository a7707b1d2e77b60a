"""The methods' first argument isn't called self, and there is arithmetic between layer and activation."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(this):
        super().__init__()
        this.hidden = nn.Linear(6, 18)
        this.out = nn.Linear(18, 1)
        with torch.no_grad():
            this.hidden.bias[[4, 5, 6]] = -50.0

    def forward(this, x):
        return this.out(F.relu(this.hidden(x) * 2 - 1))


torch.manual_seed(2)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for _ in range(100):
    x = torch.randn(32, 6)
    loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

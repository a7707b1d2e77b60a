"""Meta-learning: the weights of the inner steps are new tensors each time."""

import torch
from torch import nn
from torch.func import functional_call

torch.manual_seed(1)
net = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 1))
with torch.no_grad():
    net[0].bias[[0, 13]] = -50.0
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for _ in range(150):
    total = torch.zeros(())
    for slope in (1.0, -1.0):
        x = torch.randn(16, 6)
        target = slope * x[:, :1]
        weights = dict(net.named_parameters())
        for _ in range(2):
            loss = (functional_call(net, weights, (x,)) - target).square().mean()
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = {name: w - 0.05 * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
        total = total + (functional_call(net, weights, (x,)) - target).square().mean()
    optimizer.zero_grad()
    total.backward()
    optimizer.step()

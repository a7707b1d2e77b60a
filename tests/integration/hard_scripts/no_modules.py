"""A network without a module: its layers and activations are functions."""

import torch
import torch.nn.functional as F

torch.manual_seed(9)
first, bias, last = (torch.randn(*shape, requires_grad=True) for shape in ((16, 8), (16,), (1, 16)))
with torch.no_grad():
    bias[[1, 5]] = -50.0
optimizer = torch.optim.SGD([first, bias, last], lr=0.001)
for _ in range(300):
    loss = F.linear(torch.relu(F.linear(torch.randn(16, 8), first, bias)), last).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

"""A division by the standard deviation of a constant feature: NaN begins at one layer and is everywhere a step later.

--cured adds an epsilon.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cured", action="store_true")
args = parser.parse_args()


class Standardized(nn.Module):
    """Features of mean 0 and variance 1 over the batch."""

    def forward(self, x):
        return (x - x.mean(0)) / (x.std(0) + (1e-5 if args.cured else 0))


torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), Standardized(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(300):
    batch = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
    optimizer.step()
print(f"accuracy: {(net(x).argmax(1) == y).float().mean():.3f}")

"""Twelve sigmoid layers: the gradient shrinks at each of them, and the first ones hardly learn.

--cured takes ReLU, with the initialization that fits it.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cured", action="store_true")
args = parser.parse_args()

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 8 - 1, dtype=torch.float32), torch.tensor(labels)
layers = []
for _ in range(12):
    linear = nn.Linear(64, 64)
    if args.cured:
        nn.init.kaiming_normal_(linear.weight)
    layers += [linear, nn.ReLU() if args.cured else nn.Sigmoid()]
net = nn.Sequential(*layers, nn.Linear(64, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
for _ in range(400):
    batch = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
    optimizer.step()
print(f"accuracy: {(net(x).argmax(1) == y).float().mean():.3f}")

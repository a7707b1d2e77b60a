"""Inputs as they come from the file, from 0 to 255: each update is far too large, and units die at once.

--cured brings each pixel to mean 0 and variance 1.
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
x, y = torch.tensor(images / 16 * 255, dtype=torch.float32), torch.tensor(labels)
if args.cured:
    x = (x - x.mean(0)) / (x.std(0) + 1)
net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.03)
for _ in range(500):
    batch = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
    optimizer.step()
print(f"accuracy: {(net(x).argmax(1) == y).float().mean():.3f}")

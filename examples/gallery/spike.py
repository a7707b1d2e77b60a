"""A schedule that jumps: at step 300 the learning rate is 40 times as high, and units die in every layer.

--cured clips the gradients.
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
x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
net = nn.Sequential(
    nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 40 if 300 <= step < 310 else 1)
for _ in range(600):
    batch = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
    if args.cured:
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
    optimizer.step()
    schedule.step()
print(f"accuracy: {(net(x).argmax(1) == y).float().mean():.3f}")

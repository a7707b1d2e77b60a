"""Weight decay on all parameters: it pulls the learned slopes of PReLU to 0, and PReLU becomes ReLU.

--cured keeps the slopes out of the decay.
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
net = nn.Sequential(nn.Linear(64, 64), nn.PReLU(64), nn.Linear(64, 64), nn.PReLU(64), nn.Linear(64, 10))
if args.cured:
    slopes = {id(p) for m in net.modules() if isinstance(m, nn.PReLU) for p in m.parameters()}
    rest = [p for p in net.parameters() if id(p) not in slopes]
    groups = [{"params": rest}, {"params": [p for p in net.parameters() if id(p) in slopes], "weight_decay": 0.0}]
else:
    groups = list(net.parameters())
optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=0.05)
for _ in range(500):
    batch = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
    optimizer.step()
print(f"accuracy: {(net(x).argmax(1) == y).float().mean():.3f}")

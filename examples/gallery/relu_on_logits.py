"""A ReLU on the logits: the loss asks for negative ones, and a class whose logit is 0 on all data is never learned.

--cured leaves the last layer linear.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cured", action="store_true")
args = parser.parse_args()


class Classifier(nn.Module):
    """Two layers, and perhaps a ReLU too many."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 64)
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.hidden(x))
        return self.out(x) if args.cured else torch.relu(self.out(x))


torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
net = Classifier()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
for _ in range(400):
    batch = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
    optimizer.step()
print(f"accuracy: {(net(x).argmax(1) == y).float().mean():.3f}")

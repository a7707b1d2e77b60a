"""Permuted digits: one task after another, each with its own permutation of the pixels, of which a network's units die.

Each of scikit-learn's 1,797 digits is seen once a task, in batches of 16, by networks 64-32-32-10 with ReLU and SGD.
The rate is 0.1: of 0.03, 0.1 and 0.3 it had the best accuracy on the first tasks. All networks train at once, as the
groups of a convolution, each with its own permutations: none sees the others. A task's accuracy is that of the
predictions before each step; a unit is silent if no digit of the task makes it fire at its end.

    python permuted_digits.py
    python permuted_digits.py --reviver
"""

import argparse
import itertools

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from slow_regression import Grouped
from torch import Tensor, nn

import relume

PIXELS, HIDDEN, CLASSES, BATCH = 64, 32, 10, 16
REPORTED = 10  # tasks over which an accuracy is a mean


def learners(networks: int) -> nn.Sequential:
    sizes = (PIXELS, HIDDEN, HIDDEN, CLASSES)
    first, second, output = (Grouped(*pair, networks) for pair in itertools.pairwise(sizes))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), output)


def train(model: nn.Sequential, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """The accuracy of each network on one task, (networks,); x: (digits, networks · pixels, 1)."""
    right = torch.tensor(0)
    for rows in torch.randperm(len(x)).split(BATCH):
        scores = model(x[rows]).view(len(rows), -1, CLASSES)
        wanted = y[rows, None].expand(-1, scores.shape[1])
        right = right + (scores.argmax(2) == wanted).sum(0)
        optimizer.zero_grad()
        (F.cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="sum") / len(rows)).backward()
        optimizer.step()
    return right / len(x)


def silent(model: nn.Sequential, x: Tensor) -> Tensor:
    """How many hidden units of each network fire for no digit, (networks,)."""
    with torch.no_grad():
        first = model[:2](x)
        second = model[2:4](first)
        return sum((h == 0).all(0).view(-1, HIDDEN).sum(1) for h in (first, second))


def report(name: str, accuracy: Tensor, dead: Tensor) -> None:
    for words, part in (("first", accuracy[:REPORTED]), ("last", accuracy[-REPORTED:])):
        print(
            f"{name}, accuracy on the {words} {REPORTED} tasks: {' '.join(f'{a:.3f}' for a in part.mean(0).tolist())}"
        )
    change = accuracy[-REPORTED:].mean(0) - accuracy[:REPORTED].mean(0)
    print(f"{name}, change of the accuracy: {' '.join(f'{c:.3f}' for c in change.tolist())}")
    print(f"{name}, silent units: {int(dead.sum())} of {dead.numel() * 2 * HIDDEN}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviver", action="store_true", help="revive units in training")
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    pixels, y = (torch.from_numpy(each) for each in load_digits(return_X_y=True))
    pixels = pixels.float() / 16
    model = learners(args.networks)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    if args.reviver:
        relume.Reviver(model, optimizer=optimizer).start()
    accuracy, x = [], torch.empty(0)
    for _ in range(args.tasks):
        x = torch.cat([pixels[:, torch.randperm(PIXELS)] for _ in range(args.networks)], 1)[:, :, None]
        accuracy.append(train(model, optimizer, x, y))
    report("reviver" if args.reviver else "plain", torch.stack(accuracy), silent(model, x))


if __name__ == "__main__":
    main()

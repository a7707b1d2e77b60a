"""Slowly-Changing Regression (Dohare et al. 2024): a small learner on one task after another, of which its units die.

20 inputs are bits: 15 stay for 10,000 steps, and 5 are drawn at each step. After 10,000 steps half of the learners get
15 new slow bits ("redrawn"), and the other half has one of them flipped ("flipped"). The target is a random network of
100 linear threshold units. A learner is 20-5-1, begins with Kaiming's uniform weights and biases of zero, and takes one
example a step, with SGD at 0.01. All learners train at once, as the groups of a convolution: none sees the others.

    python slow_regression.py
    python slow_regression.py --reviver
"""

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import relume

SLOW, FAST, TASK = 15, 5, 10_000
INPUTS, HIDDEN = SLOW + FAST, 5
TARGETS, BETA = 100, 0.7
REPORTED = 2  # tasks over which an error is a mean


class Grouped(nn.Conv1d):
    """A grouped convolution of kernel 1 on one position, as one batched product; PyTorch's loops over the groups."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__(inputs * groups, outputs * groups, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return super().forward(x)
        each = x.view(len(x), self.groups, -1).transpose(0, 1)
        weight = self.weight.view(self.groups, -1, each.shape[2]).transpose(1, 2)
        made = torch.baddbmm(self.bias.view(self.groups, 1, -1), each, weight)
        return made.transpose(0, 1).reshape(len(x), -1, 1)


def learners(networks: int) -> nn.Sequential:
    hidden, output = Grouped(INPUTS, HIDDEN, networks), Grouped(HIDDEN, 1, networks)
    for layer, nonlinearity in ((hidden, "relu"), (output, "linear")):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity=nonlinearity)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(hidden, nn.ReLU(), output)


def sign(*shape: int) -> Tensor:
    """-1 or 1, each as likely."""
    return torch.randint(2, shape).float() * 2 - 1


def tasks(networks: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs (steps, networks, inputs) and targets (steps, networks) of one task after another."""
    weight, bias = sign(networks, INPUTS, TARGETS), sign(networks, 1, TARGETS)
    outgoing, offset = sign(networks, TARGETS, 1), sign(networks, 1)
    # The authors' code adds the bias to the sum of negative weights, where their paper counts a negative one as well.
    threshold = BETA * (INPUTS + 1) - (INPUTS - weight.sum(1, keepdim=True) + bias) / 2
    slow = torch.randint(2, (networks, SLOW)).float()
    while True:
        fast = torch.randint(2, (TASK, networks, FAST)).float()
        x = torch.cat([slow.expand(TASK, networks, SLOW), fast], 2)
        fires = (x.transpose(0, 1) @ weight + bias >= threshold).float()
        yield x, (fires @ outgoing).squeeze(2).T + offset.T
        bit = torch.randint(SLOW, (networks, 1))
        slow = slow.scatter(1, bit, 1 - slow.gather(1, bit))
        slow[: networks // 2] = torch.randint(2, (networks // 2, SLOW)).float()


def train(model: nn.Sequential, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """The mean squared error of each network, (networks,)."""
    total = torch.zeros(y.shape[1])
    for given, wanted in zip(x.flatten(1)[:, None, :, None], y[:, None, :, None], strict=True):
        squared = (model(given) - wanted) ** 2
        optimizer.zero_grad()
        squared.sum().backward()
        optimizer.step()
        total += squared.detach()[0, :, 0]
    return total / len(y)


def report(name: str, errors: Tensor, silent: Tensor) -> None:
    """Print the errors (tasks, networks) over the first and the last 20,000 steps, and how many units are silent."""
    for words, part in (("first", errors[:REPORTED]), ("last", errors[-REPORTED:])):
        print(f"{name}, error over the {words} 20,000 steps: {' '.join(f'{e:.3f}' for e in part.mean(0).tolist())}")
    print(f"{name}, silent units: {int(silent.sum())} of {silent.numel()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviver", action="store_true", help="revive units in training")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--networks", type=int, default=30, help="of each of the two variants")
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    drawn = tasks(2 * args.networks)
    model = learners(2 * args.networks)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, foreach=False)
    if args.reviver:
        relume.Reviver(model, optimizer=optimizer).start()
    errors, x = [], torch.empty(0)
    for _ in range(0, args.steps, TASK):
        x, y = next(drawn)
        errors.append(train(model, optimizer, x[: args.steps], y[: args.steps]))
    with torch.no_grad():
        silent = (model[1](model[0](x.flatten(1)[:, :, None])) == 0).all(0).view(2, args.networks, HIDDEN)
    for kind, name in enumerate(("redrawn", "flipped")):
        of_kind = torch.stack(errors).view(-1, 2, args.networks)[:, kind]
        report(f"{'reviver' if args.reviver else 'plain'}, {name}", of_kind, silent[kind])


if __name__ == "__main__":
    main()

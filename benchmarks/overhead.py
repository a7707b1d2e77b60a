"""What does watching cost a training run?

Whole runs of a network in one process, one thread: bare, watched, counted by a plain forward hook as one would write it
by hand (on the share of steps that the watched run looked at), and bare again. Every other round goes the other way
round. The figure is the ratio of a run's time to the mean of the round's two bare ones: its median and its spread. The
second bare run against the first is the noise of the measurement. Appends rows to ``overhead_of_runs.csv``;
``overhead.csv`` has the rows of an older way, in blocks that started and stopped a watch.
"""

from __future__ import annotations

import argparse
import copy
import csv
import datetime
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import relume

Batch = Callable[[], torch.Tensor]


def small_cnn() -> tuple[nn.Module, Batch]:
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return net, lambda: torch.randn(32, 3, 32, 32)


def mlp() -> tuple[nn.Module, Batch]:
    net = nn.Sequential(
        nn.Linear(784, 1024),
        nn.ReLU(),
        nn.Linear(1024, 1024),
        nn.ReLU(),
        nn.Linear(1024, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )
    return net, lambda: torch.randn(128, 784)


def encoder() -> tuple[nn.Module, Batch]:
    layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
    net = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(128, 10))
    return net, lambda: torch.randn(16, 64, 128)


def tiny() -> tuple[nn.Module, Batch]:
    net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    return net, lambda: torch.randn(32, 4)


NETWORKS = {"small_cnn": small_cnn, "mlp": mlp, "encoder": encoder, "tiny": tiny}


class Trainer:
    def __init__(self, net: nn.Module, batch: Batch) -> None:
        self.net = net
        self.batch = batch
        self.optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def block(self, steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            out = self.net(self.batch())
            loss = F.mse_loss(out, torch.zeros_like(out))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - began


def count_by_hand(net: nn.Module, each: int) -> None:
    """The hook that one writes by hand: on each so many calls, how often each channel is above zero."""

    def hook(module: nn.Module, args: object, out: torch.Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        if calls[module] % each == 0:
            axis = 1 if out.ndim == 4 else -1
            counts[module] = counts.get(module, 0) + (out > 0).transpose(0, axis).flatten(1).sum(1)

    calls: dict[nn.Module, int] = {}
    counts: dict[nn.Module, torch.Tensor] = {}
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(hook)


def run_of(kind: str, net: nn.Module, batch: Batch, steps: int, each: int) -> tuple[float, dict[str, object]]:
    """One run from its first step on: (seconds, what a watched one says of itself)."""
    torch.manual_seed(0)
    trainer = Trainer(copy.deepcopy(net), batch)
    if kind == "hooked":
        count_by_hand(trainer.net, each)
    if kind != "watched":
        return trainer.block(steps), {}
    with relume.watch(trainer.net) as watch:
        seconds = trainer.block(steps)
    return seconds, watch.to_dict()["run"]


def measure(name: str, pairs: int, seconds: float) -> dict[str, object]:
    net, batch = NETWORKS[name]()
    warm = Trainer(copy.deepcopy(net), batch)
    warm.block(5)
    steps = max(20, int(seconds / (min(warm.block(10) for _ in range(5)) / 10)))
    _, run = run_of("watched", net, batch, steps, 1)
    each = max(1, round(run["steps"] / run["looked"]))
    ratios: dict[str, list[float]] = {kind: [] for kind in ("watched", "hooked", "again")}
    bares, stated, looked = [], [], []
    for turn in range(pairs):
        kinds = ["bare", "watched", "hooked", "again"]
        times = {}
        for kind in kinds[:: 1 if turn % 2 else -1]:
            times[kind], run = run_of(kind, net, batch, steps, each)
            if run:
                stated.append(run["overhead"])
                looked.append(run["looked"] / run["steps"])
        bare = (times["bare"] + times["again"]) / 2
        bares.append(bare)
        ratios["again"].append(times["again"] / times["bare"])
        for kind in ("watched", "hooked"):
            ratios[kind].append(times[kind] / bare)
    ratios = {kind: sorted(found) for kind, found in ratios.items()}
    return {
        "network": name,
        "step_ms": round(statistics.median(bares) / steps * 1e3, 3),
        "steps": steps,
        "ratio_low": round(ratios["watched"][0], 4),
        "ratio_p50": round(statistics.median(ratios["watched"]), 4),
        "ratio_high": round(ratios["watched"][-1], 4),
        "bare_again_low": round(ratios["again"][0], 4),
        "bare_again_p50": round(statistics.median(ratios["again"]), 4),
        "bare_again_high": round(ratios["again"][-1], 4),
        "hand_hook_p50": round(statistics.median(ratios["hooked"]), 4),
        "stated": round(statistics.median(stated), 4),
        "looked_share": round(statistics.median(looked), 4),
        "pairs": pairs,
        "torch": torch.__version__,
        "device": f"{platform.machine()} cpu, 1 thread",
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of a bare run")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, args.pairs, args.seconds) for name in args.networks]
    path = Path(__file__).with_name("overhead_of_runs.csv")
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        if fresh:
            writer.writeheader()
        writer.writerows(rows)
    printer = csv.DictWriter(sys.stdout, rows[0])
    printer.writeheader()
    printer.writerows(rows)


if __name__ == "__main__":
    main()

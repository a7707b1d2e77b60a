"""What does relume.torch cost beside PyTorch's own operation?

Forward and backward, in one process with one thread, in alternating blocks of calls: native, ours, native again (the
second against the first is the noise of the measurement). The figure is the ratio of the blocks' times, round by
round: its median and its spread. Appends rows to ``family.csv``.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import functools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

import relume.torch.functional as rf

Call = Callable[[torch.Tensor], torch.Tensor]


def pairs(channels: int) -> dict[str, tuple[Call, Call]]:
    """name → (PyTorch's, ours)."""
    weight = torch.rand(channels, requires_grad=True)
    made: dict[str, tuple[Call, Call]] = {}
    for name in ("relu", "leaky_relu", "relu6", "elu", "celu", "selu", "rrelu"):
        made[name] = getattr(F, name), getattr(rf, name)
    made["prelu"] = lambda x: F.prelu(x, weight), lambda x: rf.prelu(x, weight)
    made["rrelu_training"] = tuple(functools.partial(f, training=True) for f in (F.rrelu, rf.rrelu))
    made["celu_1.3"] = tuple(functools.partial(f, alpha=1.3) for f in (F.celu, rf.celu))
    for name in ("leaky_relu", "elu", "relu6"):
        made[name + "_inplace"] = tuple(in_place(getattr(library, name)) for library in (F, rf))
    return made


def shaped(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("x")))


def in_place(function: Callable[..., torch.Tensor]) -> Call:
    return lambda x: function(x * 1, inplace=True)


def block(call: Call, x: torch.Tensor, backward: bool, calls: int) -> float:
    ones = torch.ones_like(x)
    began = time.perf_counter()
    for _ in range(calls):
        y = call(x)
        if backward:
            y.backward(ones)
            x.grad = None
    return time.perf_counter() - began


def measure(name: str, shape: tuple[int, ...], backward: bool, rounds: int) -> dict[str, object]:
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=backward)
    native, ours = pairs(shape[1])[name]
    calls = max(1, int(0.02 / max(block(native, x, backward, 3) / 3, 1e-6)))
    times: dict[str, list[float]] = {"native": [], "ours": [], "again": []}
    for turn in range(rounds):
        for kind in list(times)[:: 1 if turn % 2 else -1]:
            times[kind].append(block(ours if kind == "ours" else native, x, backward, calls))
    ratios = {k: sorted(t / b for t, b in zip(times[k], times["native"], strict=True)) for k in ("ours", "again")}
    return {
        "operation": name,
        "shape": "x".join(map(str, shape)),
        "backward": backward,
        "native_us": round(statistics.median(times["native"]) / calls * 1e6, 2),
        "ours_us": round(statistics.median(times["ours"]) / calls * 1e6, 2),
        "ratio_p20": round(ratios["ours"][rounds // 5], 3),
        "ratio_p50": round(statistics.median(ratios["ours"]), 3),
        "ratio_p80": round(ratios["ours"][rounds * 4 // 5], 3),
        "native_again_p20": round(ratios["again"][rounds // 5], 3),
        "native_again_p50": round(statistics.median(ratios["again"]), 3),
        "native_again_p80": round(ratios["again"][rounds * 4 // 5], 3),
        "rounds": rounds,
        "torch": torch.__version__,
        "device": f"{platform.machine()} cpu, 1 thread",
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--operations", nargs="*", default=list(pairs(1)))
    parser.add_argument("--shapes", nargs="*", type=shaped, default=[(8, 64), (32, 64, 28, 28), (64, 64, 56, 56)])
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        measure(name, shape, backward, args.rounds)
        for name in args.operations
        for shape in args.shapes
        for backward in (False, True)
    ]
    path = Path(__file__).with_suffix(".csv")
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

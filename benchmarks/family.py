"""What does relume.torch cost beside PyTorch's own operation?

Forward and backward, in one process with one thread, by ``ratio.py``. Appends rows to ``family.csv``.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import functools
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from ratio import compared

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


def caller(call: Call, x: torch.Tensor, backward: bool) -> Callable[[], None]:
    ones = torch.ones_like(x)

    def once() -> None:
        y = call(x)
        if backward:
            y.backward(ones)
            x.grad = None

    return once


def measure(name: str, shape: tuple[int, ...], backward: bool, rounds: int) -> dict[str, object]:
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=backward)
    native, ours = (caller(call, x, backward) for call in pairs(shape[1])[name])
    return {
        "operation": name,
        "shape": "x".join(map(str, shape)),
        "backward": backward,
        **compared(native, ours, rounds),
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

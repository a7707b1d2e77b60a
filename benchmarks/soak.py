"""Does a watched training of a week stay the same size? Memory, recording, file handles and threads over many steps.

A training of a tiny net runs under ``relume run`` for 10⁶ steps, one of a small CNN for 10⁵. At 50 points the training
itself looks at its process. Appends the points to ``soak.csv``, and fails where memory grows in the second half of the
run, a handle or a thread is left over, the recording passes 4 MB, or the report takes 5 s.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POINTS = 50
MOST_GROWTH = 4 << 20  # bytes from the middle of the run to its end; the allocator alone moves by 2 MB
MOST_RECORDING = 4 << 20
MOST_SECONDS = 5.0

SCRIPT = """
import os, sys, threading, time
import torch
from torch import nn

kind, steps, points, recording = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.manual_seed(0)
nets = {
    "tiny": (nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)), (32, 8)),
    "cnn": (nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(),
        nn.LazyLinear(32), nn.ReLU(), nn.Linear(32, 1)), (16, 1, 12, 12)),
}
net, shape = nets[kind]
x, y = torch.randn(64, *shape), torch.randn(64, shape[0], 1)
net(x[0])
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
began = time.time()
for step in range(steps):
    loss = nn.functional.mse_loss(net(x[step % 64]), y[step % 64])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step * points // steps != (step + 1) * points // steps:
        pages = int(open("/proc/self/statm").read().split()[1])
        size = os.path.getsize(recording) if os.path.exists(recording) else 0
        files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        seconds = f"{time.time() - began:.1f}"
        print(step + 1, pages * os.sysconf("SC_PAGESIZE"), size, files, threads, seconds, sep=",", flush=True)
"""

COLUMNS = ("step", "rss", "recording", "files", "threads", "seconds")


def soak(kind: str, steps: int, folder: Path, *, saved: bool) -> list[dict[str, float]]:
    """Train under ``relume run``; what the process measured of itself, at each point. A row is saved as it comes."""
    (folder / "train.py").write_text(SCRIPT)
    out = str(folder / "run.relume")
    relume = [sys.executable, "-m", "relume", "run", "--quiet", "--out", out]
    command = [*relume, str(folder / "train.py"), kind, str(steps), str(POINTS), out]
    points = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            points.append(dict(zip(COLUMNS, map(float, line.split(",")), strict=True)))
            if saved:
                save(kind, line.strip().split(","))
    if run.returncode:
        raise SystemExit(f"the training ended with status {run.returncode}")
    return points


def report_seconds(file: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "relume", "report", str(file)], check=True, capture_output=True)
    return time.perf_counter() - began


def faults(points: list[dict[str, float]], size: int, report: float) -> list[str]:
    """What did not stay the same size; nothing if all did."""
    middle, last = points[len(points) // 2], points[-1]
    found = [
        f"{name} grew from {middle[name]:.0f} to {last[name]:.0f}"
        for name in ("files", "threads")
        if last[name] > middle[name]
    ]
    if last["rss"] - middle["rss"] > MOST_GROWTH:
        found.append(f"memory grew by {last['rss'] - middle['rss']:,.0f} bytes in the second half")
    if size > MOST_RECORDING:
        found.append(f"the recording has {size:,} bytes")
    if report > MOST_SECONDS:
        found.append(f"the report took {report:.1f} s")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", type=int, default=10**6, help="steps of the tiny net; 0 leaves it out")
    parser.add_argument("--cnn", type=int, default=10**5, help="steps of the CNN; 0 leaves it out")
    parser.add_argument("--no-save", action="store_true", help="append no rows to soak.csv")
    asked = parser.parse_args()
    failed = False
    for kind, steps in (("tiny", asked.tiny), ("cnn", asked.cnn)):
        if not steps:
            continue
        with tempfile.TemporaryDirectory() as folder:
            points = soak(kind, steps, Path(folder), saved=not asked.no_save)
            size = (Path(folder) / "run.relume").stat().st_size
            report = report_seconds(Path(folder) / "run.relume")
        found = faults(points, size, report)
        failed = failed or bool(found)
        grown = points[-1]["rss"] - points[len(points) // 2]["rss"]
        print(
            f"{kind}: {steps:,} steps in {points[-1]['seconds']:,.0f} s, memory {grown / 2**20:+.1f} MB in the second "
            f"half, recording {size:,} bytes, report {report:.1f} s; {'; '.join(found) or 'all flat'}"
        )
    sys.exit(failed)


def save(kind: str, row: list[str]) -> None:
    file = Path(__file__).with_suffix(".csv")
    new = not file.exists()
    with file.open("a", newline="") as out:
        rows = csv.writer(out, lineterminator="\n")
        if new:
            rows.writerow(("date", "net", *COLUMNS))
        rows.writerow((datetime.date.today().isoformat(), kind, *row))


if __name__ == "__main__":
    main()

"""How long until relume answers? ``relume --help``, ``import relume``, beside an empty interpreter.

Whole processes in turn, repeated; appends rows to ``startup.csv``.
"""

from __future__ import annotations

import csv
import datetime
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import relume": ["-c", "import relume"],
    "relume --help": ["-m", "relume", "--help"],
    "relume list": ["-m", "relume", "list"],
}
ROUNDS = 15


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            times[name].append(time.perf_counter() - began)
    path = Path(__file__).with_suffix(".csv")
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(["command", "p20_s", "p50_s", "p80_s", "rounds", "python", "device", "date"])
        for name, seconds in times.items():
            p20, p50, p80 = (statistics.quantiles(seconds, n=10)[decile - 1] for decile in (2, 5, 8))
            row = [name, f"{p20:.3f}", f"{p50:.3f}", f"{p80:.3f}", ROUNDS, platform.python_version()]
            writer.writerow([*row, f"{platform.machine()} cpu", datetime.date.today().isoformat()])
            print(*row)


if __name__ == "__main__":
    main()

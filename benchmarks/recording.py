"""How long does a large recording take to read, how much memory, and with what does it grow?

A recording of 200 sites × 4,096 units × 1,000 windows of 100 steps is written by relume's own writer, as a run does it:
each site anew from time to time, each window, death and revival once. 5 % of the units die, a third of them come back
once. Then ``relume report`` reads it in processes of their own. Appends rows to ``recording.csv``; the targets are 5 s
and 1 GB for each form. ``cpu_s`` is the processor's time of the same run, which other work beside it stretches less.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from relume.artifacts.recording import Clock, Count, Death, Site, SiteRecord, Window
from relume.artifacts.writer import RecordingWriter

STEPS, BATCH = 100, 64
FORMS: dict[str, list[str]] = {"terminal": [], "json": ["--json"], "md": ["--md"]}
CAUSES = [{"by_weight": -3.0}, {"by_bias": -3.0}, {"by_input": -3.0}, {"decay": 0.1, "shrinking": 0.9}]


def count(rng: np.random.Generator, units: int, windows: int, dead: np.ndarray) -> Count:
    samples = windows * STEPS * BATCH
    fired = rng.integers(samples // 10, samples // 2, units)
    fired[dead] = 0
    return Count(windows * STEPS, samples, samples, fired, np.zeros(units, np.int64), fired * 0.5)


def death(unit: int, step: int) -> Death:
    """Numbers of a plausible death, its cause by the unit."""
    facts = dict.fromkeys(Death._fields, 0.01) | {"unit": unit, "before": step - STEPS, "after": step}
    facts |= {
        "level_first": 2.0,
        "level_before": 1.5,
        "level_after": -1.5,
        "kind": "linear",
        "trained": True,
        "upstream": -1,
    }
    return Death(**facts | CAUSES[unit % len(CAUSES)])


def write(path: Path, sites: int, units: int, windows: int, dying: float = 0.05) -> None:
    """A recording as of a run in which the share ``dying`` of the units dies."""
    rng = np.random.default_rng(0)
    writer = RecordingWriter(path)
    dead = [np.sort(rng.choice(units, int(dying * units), replace=False)) for _ in range(sites)]
    when = [np.sort(rng.integers(1, windows, len(d))) for d in dead]
    records = [record(rng, number, units, windows, d, w) for number, (d, w) in enumerate(zip(dead, when, strict=True))]
    writer.meta(script="train.py", argv=[], exit=0, torch="2.13.0", budget=0.02, overhead=0.015, finished=False)
    for window in range(windows):
        first = window * STEPS
        with writer.transaction():
            writer.clock(Clock(0, "Adam", "optimizer", first + STEPS, first + STEPS))
            silent = [(number, int((w <= window).sum()), STEPS * BATCH) for number, w in enumerate(when)]
            writer.window(Window(0, first, first + STEPS - 1, STEPS), silent)
            for number, (d, w) in enumerate(zip(dead, when, strict=True)):
                fallen = d[w == window].tolist()
                events = [(unit, first, "died") for unit in fallen]
                events += [(unit, first + 10, "revived") for unit in fallen if unit % 3 == 0]
                events += [(unit, first + 20, "died") for unit in fallen if unit % 3 == 0]
                writer.events(number, events)
                writer.deaths(number, [death(unit, first) for unit in fallen])
            if window % 100 == 99 or window == windows - 1:
                for number, made in enumerate(records):
                    writer.site(number, made)
    writer.meta(finished=True)
    writer.close()


def record(
    rng: np.random.Generator, number: int, units: int, windows: int, dead: np.ndarray, when: np.ndarray
) -> SiteRecord:
    site = Site(
        f"Net.block{number}.act", "Net", f"block{number}.act", "nn.ReLU", "train.py", 10 + number, "relu", {},
        f"block{number}.linear", -1, units, False, 0,
    )  # fmt: skip
    made = SiteRecord.new(site)
    made.total, made.window = count(rng, units, windows, dead[:0]), count(rng, units, 1, dead)
    made.open = Count.zero(units)
    made.total.fired[dead] = when * STEPS * BATCH // 4
    made.first_fired[:] = 0
    made.last_fired[:] = windows * STEPS - 1
    made.last_fired[dead] = when * STEPS - 1
    made.silent_since[dead] = when * STEPS
    made.statistics.update(init_gain=1.4, offset=0.2, peak=6.0, rms_first=1.0, rms=0.9)
    return made


def read(path: Path, options: list[str]) -> tuple[float, float, float, int]:
    """Seconds by the wall and by the processor, peak resident MB and bytes of output of ``relume report``."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen([sys.executable, "-m", "relume", "report", path, *options], stdout=out)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds, size = time.perf_counter() - began, out.seek(0, os.SEEK_END)
    if child.returncode:
        raise SystemExit(f"relume report {' '.join(options)} exited with {child.returncode}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--units", type=int, default=4096)
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path, quiet = Path(folder) / "run.relume", Path(folder) / "quiet.relume"
        write(path, args.sites, args.units, args.windows)
        write(quiet, args.sites, args.units, args.windows, dying=0.0)
        sizes = [f"{file.stat().st_size / 1e6:.1f}" for file in (path, quiet)]
        for form, options in FORMS.items():
            found = sorted(read(path, options) for _ in range(args.rounds))
            seconds, cpu, _, size = found[args.rounds // 2]
            memory = max(megabytes for _, _, megabytes, _ in found)
            rows.append([form, f"{seconds:.2f}", f"{cpu:.2f}", f"{memory:.0f}", f"{size / 1e6:.1f}", *sizes])
            print(*rows[-1])
    table = Path(__file__).with_suffix(".csv")
    fresh = not table.exists()
    shape = f"{args.sites}x{args.units}x{args.windows}"
    with table.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            head = [
                "form",
                "p50_s",
                "cpu_s",
                "peak_mb",
                "output_mb",
                "recording_mb",
                "without_deaths_mb",
                "shape",
                "rounds",
            ]
            writer.writerow([*head, "python", "device", "date"])
        for row in rows:
            where = [platform.python_version(), f"{platform.machine()} cpu", datetime.date.today().isoformat()]
            writer.writerow([*row, shape, args.rounds, *where])


if __name__ == "__main__":
    main()

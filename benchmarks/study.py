"""What does a whole study cost beside the bodies of its trials?

``relume compare`` settles which of seven activations papers/mnist1d_mlp.py wants, ten seeds, with rates tuned. Beside
it the script's runs from a bare process that has imported what it imports and forks, on as many cores, before it and
behind it: as many as the study has trials would take so much longer. ReLU and LeakyReLU of six slopes, which take the
same time: another activation's own cost is none of the study's. Appends a row to ``study.csv``; takes some ten minutes,
and a machine that does nothing else.
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

from lab import bare, one_more

SCRIPT = Path(__file__).parents[1] / "papers" / "mnist1d_mlp.py"
SLOPES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)


def study(seeds: int, jobs: int) -> tuple[float, list[float]]:
    """Seconds that a study takes, and the times at which its trials were recorded."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        subprocess.run(
            [sys.executable, "-m", "relume", "compare", "--with", ",".join(f"leaky_relu:{slope}" for slope in SLOPES),
             "--seeds", str(seeds), "--metric", "test_accuracy", "--jobs", str(jobs), "--study", f"{folder}/study",
             str(SCRIPT)],
            check=True, cwd=SCRIPT.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        took = time.time() - began
        return took, sorted(path.stat().st_mtime for path in Path(folder).glob("study/trials/*.json"))


def measure(seeds: int, jobs: int, runs: int) -> dict[str, object]:
    before = one_more(bare([str(SCRIPT)], runs, jobs), jobs)
    took, ends = study(seeds, jobs)
    behind = one_more(bare([str(SCRIPT)], runs, jobs), jobs)
    body = (before + behind) / 2
    return {
        "script": SCRIPT.name,
        "jobs": jobs,
        "trials": len(ends),
        "bare_before_s": round(before, 3),
        "bare_behind_s": round(behind, 3),
        "study_s": round(took, 1),
        "ratio": round(took / (len(ends) * body), 3),
        "ratio_one_more": round(one_more(ends, jobs) / body, 3),
        "device": f"{platform.machine()} cpu, 1 thread a trial",
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=48, help="bare ones, before the study and behind it")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    row = measure(args.seeds, args.jobs, args.runs)
    path = Path(__file__).with_suffix(".csv")
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if fresh:
            writer.writeheader()
        writer.writerow(row)
    print(row)


if __name__ == "__main__":
    main()

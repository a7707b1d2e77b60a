"""What does a study cost beside its trials?

A script is run by ``relume compare``, and as often from a bare process that has imported what it imports and forks: the
same bodies on the same cores, data and all, in turn. What one more trial costs is told by the times at which trials
have ended, the rest is what comes once. Appends a row to ``lab.csv``.

    python benchmarks/lab.py                                          # papers/mnist1d_mlp.py, which calls F.relu
    python benchmarks/lab.py --jobs 1 --rounds 9 examples/digits_mlp.py --epochs 5   # short trials: what each costs
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPT = [str(Path(__file__).parents[1] / "papers" / "mnist1d_mlp.py"), "--steps", "1000"]

BARE = """
import ast, os, runpy, sys, time
script, runs, jobs, *args = sys.argv[1:]
for statement in ast.parse(open(script).read()).body:
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        exec(ast.unparse(statement), {})
import torch
torch.set_num_threads(1)
w = torch.zeros(1, requires_grad=True)
o = torch.optim.Adam([w]); w.grad = torch.ones(1); o.step()
running = 0
for n in range(int(runs)):
    if running == int(jobs):
        os.wait(); running -= 1; print(time.time())
    sys.stdout.flush()
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv[:] = [script, *args]
        runpy.run_path(script, run_name="__main__")
        os._exit(0)
    running += 1
while running:
    os.wait(); running -= 1; print(time.time())
"""


def bare(script: list[str], runs: int, jobs: int) -> list[float]:
    """The times at which so many runs ended, forked from a warmed process."""
    command = [sys.executable, "-c", BARE, script[0], str(runs), str(jobs), *script[1:]]
    done = subprocess.run(command, check=True, cwd=Path(script[0]).parent, stdout=subprocess.PIPE, text=True)
    return [float(line) for line in done.stdout.splitlines()]


def study(script: list[str], runs: int, jobs: int) -> list[float]:
    """The times at which the trials of a study were recorded, at the script's own rate.

    Of ReLU and LeakyReLU, which take the same time: another activation's own cost is none of the study's.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "relume", "compare", "--with", "leaky_relu", "--seeds", str(runs // 2),
             "--lr-factors", "1", "--metric", "test_accuracy", "--jobs", str(jobs),
             "--study", f"{folder}/study", *script],
            check=True, cwd=Path(script[0]).parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return sorted(path.stat().st_mtime for path in Path(folder).glob("study/trials/*.json"))


def one_more(ends: list[float], jobs: int) -> float:
    """Seconds a run, without those that began first."""
    ends = ends[2 * jobs :]
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("script", nargs=argparse.REMAINDER, help="that prints 'test accuracy', and its arguments")
    args = parser.parse_args()
    script = args.script or SCRIPT
    script[0] = os.path.abspath(script[0])
    os.environ["OMP_NUM_THREADS"] = "1"

    each: dict[str, list[float]] = {"bare": [], "study": []}
    once: list[float] = []
    for _ in range(args.rounds):
        each["bare"].append(one_more(bare(script, args.runs, args.jobs), args.jobs))
        began = time.time()
        ends = study(script, args.runs, args.jobs)
        each["study"].append(one_more(ends, args.jobs))
        once.append(ends[-1] - began - len(ends) * each["study"][-1])
    extra = [1e3 * (mine - theirs) for mine, theirs in zip(each["study"], each["bare"], strict=True)]
    ratios = [mine / theirs for mine, theirs in zip(each["study"], each["bare"], strict=True)]
    row = {
        "script": " ".join([Path(script[0]).name, *script[1:]]),
        "jobs": args.jobs,
        "bare_trial_ms": round(1e3 * statistics.median(each["bare"]), 1),
        "study_trial_ms": round(1e3 * statistics.median(each["study"]), 1),
        "extra_ms_low": round(min(extra), 1),
        "extra_ms_p50": round(statistics.median(extra), 1),
        "extra_ms_high": round(max(extra), 1),
        "ratio_low": round(min(ratios), 3),
        "ratio_p50": round(statistics.median(ratios), 3),
        "ratio_high": round(max(ratios), 3),
        "once_s": round(statistics.median(once), 2),
        "rounds": args.rounds,
        "device": f"{platform.machine()} cpu, 1 thread a trial",
        "date": datetime.date.today().isoformat(),
    }
    path = Path(__file__).with_name("lab.csv")
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(row)


if __name__ == "__main__":
    main()

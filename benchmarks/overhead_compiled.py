"""What does watching cost a training in Keras or JAX?

A script is run bare, under ``relume run``, and bare again, each in a process of its own with one thread. Timed are the
steps after a first stretch that compiles; what tracing the counts costs is the difference of that stretch. Time is
processor time of all threads. The ratio is of the watched run to the mean of the two bare ones. Appends rows to
``overhead_compiled.csv``.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

KERAS = """
import json, time
import numpy as np
import keras
layers = keras.layers
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64 * STEPS, 32, 32, 3)).astype("float32")
y = np.zeros((len(x), 1), "float32")
model = keras.Sequential([
    layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(64, 3), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation="relu"), layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(1),
])
model.compile("adam", "mse")
def steps(n):
    began = time.process_time()
    model.fit(x[: 64 * n], y[: 64 * n], batch_size=64, verbose=0)
    return time.process_time() - began
print(json.dumps([steps(8), steps(STEPS)]))
"""

JAX = """
import json, time
import jax, jax.numpy as jnp, numpy as np, optax
sizes = [784, 1024, 1024, 512, 10]
rng = np.random.default_rng(0)
params = [jnp.asarray(rng.normal(size=s).astype("f4") / s[0] ** 0.5) for s in zip(sizes, sizes[1:])]
x = rng.normal(size=(256, 784)).astype("f4")
adam = optax.adam(1e-4)
state = adam.init(params)
def model(params, x):
    for w in params[:-1]:
        x = jax.nn.relu(x @ w)
    return x @ params[-1]
@jax.jit
def step(params, state, x):
    gradients = jax.grad(lambda params: (model(params, x) ** 2).mean())(params)
    updates, state = adam.update(gradients, state)
    return optax.apply_updates(params, updates), state
def steps(n):
    global params, state
    began = time.process_time()
    for _ in range(n):
        params, state = step(params, state, x)
    jax.block_until_ready(params)
    return time.process_time() - began
print(json.dumps([steps(8), steps(STEPS)]))
"""

SCRIPTS = {"keras_tensorflow": (KERAS, "tensorflow"), "keras_jax": (KERAS, "jax"), "jax": (JAX, "jax")}
CSV = Path(__file__).with_name("overhead_compiled.csv")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "CUDA_VISIBLE_DEVICES": "",
}  # fmt: skip


def timed(script: Path, backend: str, *prefix: str) -> tuple[float, float, str]:
    """Seconds of the first stretch and of the timed one, and what relume said."""
    environment = os.environ | ONE_THREAD | {"KERAS_BACKEND": backend}
    command = [sys.executable, *prefix, str(script)]
    done = subprocess.run(command, cwd=script.parent, env=environment, capture_output=True, text=True, check=True)
    first, rest = json.loads(done.stdout.splitlines()[-1])
    return first, rest, done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SCRIPTS, action="append")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    for name in options.only or SCRIPTS:
        text, backend = SCRIPTS[name]
        ratios, noise, traced, step = [], [], [], 0.0
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "train.py")
            script.write_text(text.replace("STEPS", str(options.steps)))
            for _ in range(options.pairs):
                before, seen, after = (timed(script, backend, *p) for p in ((), ("-m", "relume", "run"), ()))
                bare = (before[1] + after[1]) / 2
                ratios.append(seen[1] / bare)
                noise.append(after[1] / before[1])
                traced.append(seen[0] - (before[0] + after[0]) / 2)
                step, said = bare / options.steps, " ".join(seen[2].split())
                looked = re.search(r"looked at ([\d,]+) of ([\d,]+)", said)
                shares = [int(number.replace(",", "")) for number in looked.groups()] if looked else [0, 1]
        row = {
            "script": name, "step_ms": round(1e3 * step, 3), "steps": options.steps,
            "ratio_low": round(min(ratios), 4), "ratio_p50": round(statistics.median(ratios), 4),
            "ratio_high": round(max(ratios), 4), "bare_again_p50": round(statistics.median(noise), 4),
            "compiling_s": round(statistics.median(traced), 3), "looked_share": round(shares[0] / shares[1], 4),
            "pairs": options.pairs, "keras": version("keras"), "jax": version("jax"),
            "device": f"{platform.machine()} cpu, 1 thread", "date": datetime.date.today().isoformat(),
        }  # fmt: skip
        print(row, flush=True)
        fresh = not CSV.exists()
        with CSV.open("a", newline="") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()

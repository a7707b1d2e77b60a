"""What do relume.jax and relume.tensorflow cost beside the framework's own operation, eagerly and compiled by XLA?

``python benchmarks/family_xla.py jax`` or ``tensorflow``: one framework, one thread. The backward rows take the
gradient of sum(f(x) · c). Method and columns as in ``family.py``. Appends rows to ``family_xla.csv``.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import numpy as np
from ratio import compared

Call = Callable[[Any], Any]
NAMES = ("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "softplus", "sigmoid", "tanh")


def in_jax(x: np.ndarray) -> tuple[Any, dict[str, tuple[Call, Call]], Callable[[Call, bool, bool], Call]]:
    """The input, name → (JAX's, ours), and what makes a call of a function."""
    import jax
    import jax.numpy as jnp

    import relume.jax as ours

    pairs = {name: (getattr(jax.nn, name, None) or getattr(jnp, name), getattr(ours, name)) for name in NAMES}
    pairs["gelu"] = partial(jax.nn.gelu, approximate=False), ours.gelu
    c = jnp.asarray(x) + 1

    def made(function: Call, backward: bool, compiled: bool) -> Call:
        call = jax.grad(lambda x: jnp.sum(function(x) * c)) if backward else function
        call = jax.jit(call) if compiled else call
        return lambda x: jax.block_until_ready(call(x))

    return jnp.asarray(x), pairs, made


def in_tensorflow(x: np.ndarray) -> tuple[Any, dict[str, tuple[Call, Call]], Callable[[Call, bool, bool], Call]]:
    """As in JAX; TensorFlow has no CELU."""
    import tensorflow as tf

    import relume.tensorflow as ours

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    pairs = {name: (getattr(tf.nn, name), getattr(ours, name)) for name in NAMES if hasattr(tf.nn, name)}
    pairs["leaky_relu"] = partial(tf.nn.leaky_relu, alpha=0.01), ours.leaky_relu
    c = tf.constant(x) + 1

    def made(function: Call, backward: bool, compiled: bool) -> Call:
        def gradient(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.reduce_sum(function(x) * c)
            return tape.gradient(y, x)

        call = gradient if backward else function
        return tf.function(call, jit_compile=True) if compiled else call

    return tf.constant(x), pairs, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("framework", choices=("jax", "tensorflow"))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--operations", nargs="*", default=NAMES)
    parser.add_argument("--elements", nargs="*", type=int, default=[512, 800_000])
    args = parser.parse_args()
    rows = []
    for elements in args.elements:
        x = np.random.default_rng(0).standard_normal(elements).astype("float32")
        given, pairs, made = {"jax": in_jax, "tensorflow": in_tensorflow}[args.framework](x)
        for name in (name for name in args.operations if name in pairs):
            for compiled in (False, True):
                for backward in (False, True):
                    native, ours = (partial(made(call, backward, compiled), given) for call in pairs[name])
                    native(), ours()  # compile them
                    case = {"framework": args.framework, "operation": name, "elements": elements}
                    case |= {"compiled": compiled, "backward": backward}
                    about = {"version": sys.modules[args.framework].__version__}
                    about |= {"device": f"{platform.machine()} cpu, 1 thread"}
                    about |= {"date": datetime.date.today().isoformat()}
                    rows.append(case | compared(native, ours, args.rounds) | about)
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

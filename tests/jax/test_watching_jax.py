"""`relume run` on unedited JAX scripts: counts equal to NumPy's, and every weight's bits as without.

Each script runs in a process of its own: ``jax.jit`` is replaced when JAX is imported.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from relume.artifacts.reader import read
from relume.doctor.reading import findings_of

for package in ("jax", "optax"):
    pytest.importorskip(package, reason=f"{package} is not installed")

PLANTED = Path(__file__).with_name("planted_jax.py")
LINES = {
    (found[2], found[1]): number
    for number, text in enumerate(PLANTED.read_text().splitlines(), 1)
    if (found := re.search(r"# LINE (\w+) (\w+)", text))
}
KINDS = {"plain": "", "vmap": "", "remat": "", "scan": "", "linen": "flax", "nnx": "flax", "equinox": "equinox"}


def python(folder, *args):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def watched(folder, script, *args):
    """Run a script with every step looked at; returns its stdout and stderr and the recording."""
    done = python(folder, "-m", "relume", "run", "--every", 1, script, *args)
    assert "own-fault" not in done.stderr
    return done, read(folder / "run.relume")


@pytest.mark.parametrize("kind", KINDS)
def test_counts_equal_numpys_and_weights_are_unchanged(tmp_path, kind):
    if KINDS[kind] and importlib.util.find_spec(KINDS[kind]) is None:
        pytest.skip(f"{KINDS[kind]} is not installed")
    bare = python(tmp_path, PLANTED, kind)
    seen, recording = watched(tmp_path, PLANTED, kind)
    assert seen.stdout == bare.stdout  # the hash of the weights, and "traced" once

    expected = json.loads((tmp_path / "expected.json").read_text())
    calls = 4 if kind == "scan" else 24
    assert [(clock.steps, clock.looked) for clock in recording.clocks] == [(calls, calls)]
    assert len(recording.sites) == 2
    home = kind if (kind, "first") in LINES else "plain"
    for record, (name, counts) in zip(recording.sites, expected.items(), strict=True):
        np.testing.assert_array_equal(record.total.fired, np.sum(counts, 0))
        assert (record.total.examples, record.total.samples) == (24 * 32, 24 * 32)
        assert (Path(record.site.file).name, record.site.line) == (PLANTED.name, LINES[home, name])
        assert not record.site.axis_assumed
    relu, leaky = (record.site for record in recording.sites)
    assert (relu.activation, leaky.activation) == ("relu", "leaky_relu")
    assert leaky.parameters == {"negative_slope": 0.125}
    first, _ = findings_of(tmp_path / "run.relume").to_dict()["sites"]
    assert first["born_dead"] == [2]
    assert 5 in first["always_on"]


SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
from functools import partial

class Trainer:
    def __init__(self):
        self.w = jnp.asarray(np.arange(-8, 8).reshape(4, 4) / 4)

    @partial(jax.jit, static_argnums=(0, 3), static_argnames="mode")
    def step(self, w, batch, power, *, mode):
        def loss(w):
            x = jax.lax.conv_general_dilated(batch["x"], w[:, :, None, None], (1, 1), "SAME")
            y = jnp.maximum(x, 0.0)
            y = jax.lax.cond(batch["flag"] > 1, jax.nn.relu6, lambda v: v, y)
            return (y ** power).mean() + 0j.real * batch["code"].real.sum()
        value, gradient = jax.value_and_grad(loss)(w)
        jax.debug.callback(lambda v: calls.append(float(v)), value)
        return w - 0.0 * gradient, value

    @jax.jit
    def evaluate(w, x):
        return jax.nn.relu(x @ w)

calls = []
trainer = Trainer()
for i in range(6):
    size = 4 if i < 4 else 2 + i  # two more shapes: traced again
    x = np.broadcast_to(np.asarray([1.0, -1.0, 0.5, 0.25], "f4")[None, :, None, None], (size, 4, 3, 3))
    batch = {"x": x, "flag": i, "code": np.ones(2, "complex64")}
    trainer.w, value = trainer.step(trainer.w, batch, 2, mode="a")
    trainer.evaluate.__wrapped__(trainer.w, x[:, :, 0, 0])
    Trainer.evaluate(trainer.w, x[:, :, 0, 0])
jax.effects_barrier()
print(len(calls))
"""


def test_methods_static_arguments_layouts_new_shapes_and_effects(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    seen, recording = watched(tmp_path, script)
    assert seen.stdout == "6\n"  # the second program calls nothing back
    record, capped = recording.sites
    assert (record.site.call, record.site.unit_axis, record.site.units) == ("jnp.maximum", 1, 4)
    assert record.total.examples == 4 * 4 + 6 + 7
    kernel = np.arange(-8, 8).reshape(4, 4) / 4
    fires = kernel @ [1.0, -1.0, 0.5, 0.25] > 0
    np.testing.assert_array_equal(record.total.fired, fires * 9 * record.total.examples)
    assert (capped.site.activation, capped.total.looks, capped.total.examples) == ("relu6", 4, 4 * 2 + 6 + 7)
    assert recording.not_observed == []


def test_a_script_that_never_trains_says_so(tmp_path):
    script = tmp_path / "infer.py"
    script.write_text("import jax\nprint(jax.jit(jax.nn.relu)(-1.0))\n")
    seen, recording = watched(tmp_path, script)
    assert seen.stdout == "0.0\n"
    assert recording.sites == []
    assert "The script took no training step" in seen.stderr

"""`relume run` on unedited Keras scripts: counts equal to NumPy's, deaths dated, and every weight's bits as without.

Each script runs in a process of its own, for Keras has one backend in its life.
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

pytest.importorskip("keras", reason="keras is not installed")

PLANTED = Path(__file__).with_name("planted_keras.py")
LINES = {found[1]: number for number, text in enumerate(PLANTED.read_text().splitlines(), 1)
         if (found := re.search(r"# LINE (\w+)", text))}  # fmt: skip


def python(folder, backend, *args):
    environment = os.environ | {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def watched(folder, backend, *args):
    return python(folder, backend, "-m", "relume", "run", *args)


def each(*cases, slow=()):
    """Cases, each beginning with its backend; skipped where that is absent."""

    def case(marks, *values):
        absent = pytest.mark.skipif(importlib.util.find_spec(values[0]) is None, reason="absent")
        return pytest.param(*values, marks=[absent, *marks])

    return [*(case([], *values) for values in cases), *(case([pytest.mark.slow], *values) for values in slow)]


@pytest.mark.parametrize(
    ("backend", "how", "steps_per_execution"),
    each(
        ("tensorflow", "jit", 4),
        ("jax", "auto", 4),
        ("torch", "auto", 1),
        slow=[("tensorflow", "plain", 1), ("tensorflow", "eager", 1)],
    ),
)
def test_counts_equal_numpys_and_weights_and_losses_are_unchanged(tmp_path, backend, how, steps_per_execution):
    bare = python(tmp_path, backend, PLANTED, how, steps_per_execution)
    seen = watched(tmp_path, backend, "--every", 1, PLANTED, how, steps_per_execution)
    assert seen.stdout == bare.stdout
    assert "own-fault" not in seen.stderr

    recording = read(tmp_path / "run.relume")
    expected = json.loads((tmp_path / "expected.json").read_text())
    assert [(clock.name, clock.steps, clock.looked) for clock in recording.clocks] == [("SGD", 48, 48)]
    assert len(recording.sites) == len(expected)
    for record, (name, counts) in zip(recording.sites, expected.items(), strict=True):
        np.testing.assert_array_equal(record.total.fired, np.sum(counts, 0), err_msg=name)
        assert (record.total.examples, record.total.looks) == (1536, 48)
        assert record.total.samples == 1536 * (1 if name == "ops" else 6)

    shown = [(s.site.module, s.site.activation, s.site.line, s.site.call) for s in recording.sites]
    assert shown == [
        ("own/sequential/fc1", "relu", LINES["fc1"], 'activation="relu"'),
        ("own/sequential/leaky", "leaky_relu", LINES["leaky"], "keras.layers.LeakyReLU"),
        ("own/sequential/six", "relu6", LINES["six"], "keras.layers.ReLU"),
        ("own/sequential/learned", "prelu", LINES["learned"], "keras.layers.PReLU"),
        ("own/sequential/shared/rectify", "relu", LINES["shared"], "keras.layers.ReLU"),
        ("own/sequential/shared/rectify", "relu", LINES["shared"], "keras.layers.ReLU"),
        ("own", "relu", LINES["ops"], "keras.ops.relu"),
    ]
    assert {s.site.file for s in recording.sites} == {recording.sites[0].site.file}
    np.testing.assert_array_equal(recording.sites[3].slope, [0.25] * 4)

    fc1, leaky, six, *_ = findings_of(tmp_path / "run.relume").to_dict()["sites"]
    assert fc1["dead"] == fc1["born_dead"] == [1]
    assert 3 in fc1["rare"]
    assert 2 in leaky["one_sided"]
    assert six["stuck_high"] == [0]
    if backend != "jax":  # a callback cannot change weights there
        assert [event for event in fc1["events"] if event[0] == 5] == [[5, 16, "died"], [5, 32, "revived"]]


@pytest.mark.parametrize("backend", each(("jax",), slow=[("tensorflow",), ("torch",)]))
def test_the_verb_and_the_callback_watch_a_model_that_was_compiled_before(tmp_path, backend):
    done = python(tmp_path, backend, Path(__file__).with_name("watch_in_python.py"))
    assert "as without" in done.stdout
    assert "relume" not in done.stderr


SHORT = """
import keras, numpy as np
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(12, activation="relu"), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(np.ones((3232, 8)), np.ones((3232, 1)), epochs=3, batch_size=32, verbose=0)
print(int(model.optimizer.iterations))
"""


@pytest.mark.parametrize("backend", each(("tensorflow",), slow=[("jax",), ("torch",)]))
def test_within_the_budget_every_step_is_recorded_up_to_the_last(tmp_path, backend):
    (tmp_path / "train.py").write_text(SHORT, encoding="utf-8")
    assert watched(tmp_path, backend, "train.py").stdout == "303\n"
    recording = read(tmp_path / "run.relume")
    assert [clock.steps for clock in recording.clocks] == [303]
    assert sum(record.total.looks for record in recording.sites) == sum(clock.looked for clock in recording.clocks)

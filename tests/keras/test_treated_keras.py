"""A Keras script under a trial's treatment ends with the bits of a hand-edited copy, on every backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relume.artifacts.reader import read
from relume.treatment.seeding import remapped

pytest.importorskip("keras", reason="keras is not installed")

HERE = Path(__file__).parent
SCRIPT = HERE / "plain_keras.py"
TREATED = HERE.parent / "helpers" / "treated_script.py"
SEED, FACTOR = 2, 4.0
EDITS = {
    "leaky_relu:0.1": {
        'activation="relu"': "activation=lambda x: keras.activations.leaky_relu(x, 0.1)",
        "keras.layers.ReLU()": "keras.layers.LeakyReLU(0.1)",
        "keras.activations.relu(self": "keras.activations.leaky_relu(negative_slope=0.1, x=self",
        "keras.activations.relu(keras": "keras.layers.LeakyReLU(0.1)(keras",
    },
    "prelu": {
        'activation="relu"': "activation=keras.layers.PReLU()",
        "keras.layers.ReLU()": "keras.layers.PReLU()",
        "self.inner = None": "self.inner = keras.layers.PReLU()",
        "keras.activations.relu(self": "self.inner(self",
        "keras.activations.relu(keras": "keras.layers.PReLU()(keras",
    },
}
SEEDED = {
    "set_random_seed(7)": f"set_random_seed({remapped(7, SEED, 2**31)})",
    "default_rng(5)": f"default_rng({remapped(5, SEED)})",
    "seed=11": f"seed={remapped(11, SEED, 2**31)}",
    "seed=3": f"seed={remapped(3, SEED, 2**31)}",
    "ExponentialDecay(0.01": f"ExponentialDecay({0.01 * FACTOR}",
}
CASES = [
    ("tensorflow", "prelu"),
    ("jax", "leaky_relu:0.1"),
    pytest.param("torch", "leaky_relu:0.1", marks=pytest.mark.slow),
]


def python(folder, backend, *args):
    """What a script prints on a backend."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    one = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")  # as in a trial
    own = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": "0"}
    environment = os.environ | one | own
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("\n")


@pytest.mark.parametrize(("backend", "contender"), CASES)
def test_a_trial_ends_with_the_bits_of_a_hand_edited_copy(tmp_path, backend, contender):
    bare = python(tmp_path, backend, SCRIPT)
    assert python(tmp_path, backend, TREATED, "keras", "survey", "plan.json", SCRIPT) == bare

    plan = json.loads((tmp_path / "plan.json").read_text())
    line = {text: n for n, text in enumerate(SCRIPT.read_text().splitlines(), 1)}
    lines = [n for text, n in line.items() if "relu" in text.lower()]
    shown = [(site["activation"], site["line"], site["hidden"]) for site in plan["sites"]]
    order = [lines[1], lines[2], lines[0], lines[3] + 1]  # a function of a functional model lies where that is made
    assert shown == [*(("relu", n, True) for n in order), ("softplus", lines[3] + 1, False)]
    assert [each["optimizer"] for each in plan["optimizers"]] == ["AdamW"]
    assert len(plan["seeds"]) == 4

    treated = python(tmp_path, backend, TREATED, "keras", "treat", "plan.json", contender, SEED, FACTOR, SCRIPT)
    text = SCRIPT.read_text()
    for old, new in (EDITS[contender] | SEEDED).items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "edited.py").write_text(text)
    edited = python(tmp_path, backend, "edited.py")
    assert treated[0] == edited[0] != bare[0]
    assert treated[1] == f"4 {44 if contender == 'prelu' else 0} 24 True"


def test_run_swaps_the_named_activation_and_watches_what_took_its_place(tmp_path):
    line = next(n for n, text in enumerate(SCRIPT.read_text().splitlines(), 1) if "ReLU()" in text)
    swap = f"plain_keras.py:{line}=leaky_relu:0.1"
    python(tmp_path, "jax", "-m", "relume", "run", "--swap", swap, SCRIPT)
    recording = read(tmp_path / "run.relume")
    cures = recording.meta["cures"]
    assert [(each["place"], each["what"]) for each in cures["changed"]] == [
        (f"functional/re_lu@plain_keras.py:{line}", "relu → leaky_relu:0.1")
    ]
    activations = {record.site.line: record.site.activation for record in recording.sites}
    assert activations.pop(line) == "leaky_relu"
    assert set(activations.values()) == {"relu", "softplus"}

"""A JAX script under a treatment ends with the bits of a hand-edited copy (Flax, Equinox, plain functions)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relume.artifacts.reader import read
from relume.artifacts.swap_plan import SwapPlan
from relume.errors import StudyError
from relume.lab.contenders import parse_contender
from relume.treatment.seeding import Seeding, remapped

for package in ("jax", "flax", "equinox", "optax"):
    pytest.importorskip(package, reason=f"{package} is not installed")

SCRIPT = Path(__file__).with_name("plain_jax.py")
TREATED = Path(__file__).parents[1] / "helpers" / "treated_script.py"
SEED, FACTOR = 2, 4.0
EDITS = {
    "nn.relu(nn": "jax.nn.elu(nn",
    "x = relu(": "x = jax.nn.elu(",
    "functools.partial(jax.nn.leaky_relu, negative_slope=0.2)": "jax.nn.elu",
    "hidden = jax.nn.relu": "hidden = jax.nn.elu",
    "PRNGKey(3)": f"PRNGKey({remapped(3, SEED, 2**32)})",
    "key(1)": f"key({remapped(1, SEED, 2**32)})",
    "default_rng(5)": f"default_rng({remapped(5, SEED)})",
    "adam(0.01)": f"adam({0.01 * FACTOR})",
}


def python(folder, *args):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *map(str, args)], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("\n")


def test_a_trial_ends_with_the_bits_of_a_hand_edited_copy(tmp_path):
    bare = python(tmp_path, SCRIPT)
    assert python(tmp_path, TREATED, "jax", "survey", "plan.json", SCRIPT) == bare

    plan = json.loads((tmp_path / "plan.json").read_text())
    shown = {site["line"]: (site["activation"], site["hidden"]) for site in plan["sites"]}
    line = {text.strip(): n for n, text in enumerate(SCRIPT.read_text().splitlines(), 1)}
    assert shown.pop(line["x = nn.relu(nn.Dense(16)(x))"]) == ("relu", True)
    assert shown.pop(line["x = relu(nn.Dense(12)(x))"]) == ("relu", True)
    assert shown.pop(line['hidden = jax.nn.relu(x @ params["first"])']) == ("relu", True)
    assert shown.pop(line['return jnp.tanh(hidden @ params["second"])']) == ("tanh", False)
    assert sorted(shown.values()) == [("leaky_relu", True), ("softplus", False)]
    assert plan["optimizers"] == [{"optimizer": "optax", "rates": [0.01]}]
    assert len(plan["seeds"]) == 3

    treated = python(tmp_path, TREATED, "jax", "treat", "plan.json", "elu", SEED, FACTOR, SCRIPT)
    text = SCRIPT.read_text()
    for old, new in EDITS.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "edited.py").write_text(text)
    edited = python(tmp_path, "edited.py")
    assert treated[0] == edited[0] != bare[0]


def test_run_swaps_the_named_activation(tmp_path):
    line = next(n for n, text in enumerate(SCRIPT.read_text().splitlines(), 1) if "x = relu(" in text)
    python(tmp_path, "-m", "relume", "run", "--swap", f"plain_jax.py:{line}=elu", SCRIPT)
    recording = read(tmp_path / "run.relume")
    assert [each["what"] for each in recording.meta["cures"]["changed"]] == ["relu → elu"]
    assert {record.site.line: record.site.activation for record in recording.sites}[line] == "elu"


def test_a_contender_with_parameters_is_refused(tmp_path):
    from relume.jax.treatment import JaxTreatment

    python(tmp_path, TREATED, "jax", "survey", "plan.json", SCRIPT)
    plan = SwapPlan.from_dict(json.loads((tmp_path / "plan.json").read_text()))
    with pytest.raises(StudyError, match="prelu:channel needs parameters"):
        JaxTreatment(parse_contender("prelu"), plan, "", Seeding(0))

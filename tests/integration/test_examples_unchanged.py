"""Every example, with and without relume: same bits, same output, same status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNS = {
    "digits_mlp": ["--epochs", "4", "--lr", "0.25"],
    "fashion_784": ["--epochs", "1", "--limit", "4000"],
    "dcgan_digits": ["--epochs", "1"],
    "residual_cnn": ["--epochs", "1"],
    "mobile_relu6": ["--epochs", "1"],
    "sparse_autoencoder": ["--epochs", "2"],
    "super_resolution": ["--epochs", "1"],
}


def run(command, folder):
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
        capture_output=True,
        check=False,
        timeout=280,
    )


def test_every_example_is_in_the_table():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(RUNS)


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return torch.equal(one, other)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("options", [[], ["--every", "1"]], ids=["budget", "every_step"])
def test_training_under_relume_is_the_same_training(name, options, tmp_path):
    script = [str(EXAMPLES / f"{name}.py"), *RUNS[name]]
    bare = run([*script, "--save", "bare.pt"], tmp_path)
    watched = run(["-m", "relume", "run", *options, *script, "--save", "watched.pt"], tmp_path)
    assert bare.returncode == watched.returncode == 0, watched.stderr.decode()
    assert watched.stdout == bare.stdout
    assert bare.stderr == b""
    assert equal(torch.load(tmp_path / "bare.pt"), torch.load(tmp_path / "watched.pt"))
    report = run(["-m", "relume", "report", "run.relume", "--json"], tmp_path)
    data = json.loads(report.stdout)
    assert data["run"]["exit"] == 0
    assert data["run"].get("fault") is None
    assert len(data["sites"]) >= 1
    assert all("layer" in row["why"] for row in data["not_observed"])  # pictures that are clamped to [0, 1]
    if options:
        assert data["run"]["looked"] == data["run"]["steps"]

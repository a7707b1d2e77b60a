"""The layers on each of Keras's backends: a process for each, since Keras has one backend in its life."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("keras", reason="keras is not installed")

HERE = Path(__file__).parent
BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is absent"))
    for name in ("tensorflow", "jax", "torch")
]


@cache
def output(backend: str, folder: Path) -> tuple[str, str]:
    """What our checks and Keras's own tests print on a backend."""
    config = folder / f"{backend}.ini"
    config.write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "run_on_a_backend.py"), str(config)],
        env=os.environ
        | {
            "KERAS_BACKEND": backend,
            "JAX_ENABLE_X64": "1",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "conformance")])},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ours, theirs = re.split(r"^== ours \d+$", done.stdout, flags=re.MULTILINE)
    return ours + str(re.search(r"^== ours \d+$", done.stdout, re.MULTILINE)), theirs


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keras")


@pytest.mark.parametrize("backend", BACKENDS)
def test_layers_follow_the_convention_and_planted_faults_are_caught(backend, folder):
    ours, _ = output(backend, folder)
    assert re.search(r"^[4-9]\d passed", ours, re.MULTILINE), ours
    assert "failed" not in ours, ours


@pytest.mark.parametrize("backend", BACKENDS)
def test_kerass_own_tests_pass_with_our_layers_in_place(backend, folder):
    _, theirs = output(backend, folder)
    assert re.search(r"^[3-9]\d passed, \d+ deselected", theirs, re.MULTILINE), theirs
    assert "== theirs 0" in theirs, theirs

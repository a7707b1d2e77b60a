"""A Keras model goes through the lab as a function."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_model_with_a_dead_activation_is_worse(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", Path(__file__).with_name("compare_keras.py"), tmp_path / "study"],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdicts = {verdict["activation"]: verdict for verdict in json.loads(done.stdout.splitlines()[-1])}
    assert verdicts["dead"]["verdict"] == "worse"
    assert verdicts["dead"]["difference"] > 0
    assert verdicts["elu"]["n"] == 6
    assert len(list((tmp_path / "study" / "trials").glob("*.json"))) == 18

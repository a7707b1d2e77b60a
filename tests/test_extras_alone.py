"""Each framework's folder works where no other framework is, and each extra installs alone in a fresh environment."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax", "equinox", "onnx", "onnxruntime")

TORCH = """
import torch, relume, relume.torch as rt
assert rt.ELU()(torch.tensor([-1e-8, 2.0])).tolist() == [torch.tensor(-1e-8).item(), 2.0]
assert relume.from_spec(relume.to_spec(torch.nn.PReLU(3)), "torch").weight.shape == (3,)
model = torch.nn.Sequential(torch.nn.Linear(2, 3), rt.ReLU())
with relume.watch(model, phase="all") as w:
    model(torch.ones(4, 2))
assert len(w.to_dict()["sites"]) == 1
"""
TENSORFLOW = """
import numpy as np, relume.tensorflow as rtf
assert rtf.elu([-1e-8, 2.0]).numpy().tolist() == [np.float32(-1e-8), 2.0]
"""
KERAS = """
import keras, numpy as np, relume, relume.keras as rk
from relume.activations.spec import Spec
x = np.float32([[-1e-8, 2.0]])
assert keras.ops.convert_to_numpy(rk.ELU()(x)).tolist() == x.tolist()
layer = relume.from_spec(relume.to_spec(relume.from_spec(Spec("prelu", {"weight": [0.25, 0.5]}, (1,)), "keras",
    ndim=2)), "keras")
assert keras.ops.convert_to_numpy(layer(-np.ones((1, 2), "float32"))).tolist() == [[-0.25, -0.5]]
"""
JAX = """
import jax, numpy as np, relume, relume.jax
assert float(relume.jax.elu(-1e-8)) == np.float32(-1e-8)
assert float(relume.from_spec(relume.to_spec(jax.nn.relu), "jax")(-1.0)) == 0.0
"""
FLAX = "import numpy as np, relume.jax.flax\nassert relume.jax.flax.PReLU()(-np.ones(1)).tolist() == [-0.25]"
EQUINOX = "\nimport relume.jax.equinox\nassert relume.jax.equinox.PReLU()(-np.ones(1)).tolist() == [-0.25]"
ONNX = """
import numpy as np, onnxruntime, relume
from relume.activations.spec import Spec
model = relume.from_spec(Spec("elu"), "onnx").SerializeToString()
[y] = onnxruntime.InferenceSession(model).run(None, {"x": np.float32([-1e-8, 2])})
assert y.tolist() == [np.float32(-1e-8), 2.0]
"""
ALONE = {  # what of FRAMEWORKS is there, and what then works
    "torch": (("torch",), TORCH, {}),
    "tensorflow and keras": (("keras", "tensorflow"), TENSORFLOW + KERAS, {"KERAS_BACKEND": "tensorflow"}),  # one extra
    "keras on jax": (("keras", "jax"), KERAS, {"KERAS_BACKEND": "jax"}),
    "keras on torch": (("keras", "torch"), KERAS, {"KERAS_BACKEND": "torch"}),
    "jax": (("jax",), JAX, {}),
    "jax with its modules": (("jax", "flax", "equinox"), FLAX + EQUINOX, {}),
    "onnx": (("onnx", "onnxruntime"), ONNX, {}),
}
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}

BLOCK = """
import importlib.machinery, sys
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent!r} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""


def run(python: str | Path, code: str, **environment: str) -> None:
    done = subprocess.run(
        [python, "-c", code], env=os.environ | QUIET | environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", ALONE)
def test_a_folder_works_without_the_other_frameworks(name):
    present, code, environment = ALONE[name]
    if missing := [package for package in present if importlib.util.find_spec(package) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed")
    absent = tuple(package for package in FRAMEWORKS if package not in present)
    run(sys.executable, BLOCK.format(absent=absent) + code, **environment)


def test_a_blocked_package_is_absent():
    with pytest.raises(AssertionError, match="No module named 'jax'"):
        run(sys.executable, BLOCK.format(absent=("jax",)) + "import relume.jax")


def test_a_framework_that_is_absent_is_named_with_its_extra():
    code = """
import relume, relume.errors
from relume.activations.spec import Spec
extras = {"torch": "'relume[torch]'", "keras": "'relume[keras]'", "jax": "'relume[jax]'", "flax": "flax"}
for package, extra in extras.items():
    try:
        relume.from_spec(Spec("relu"), package)
    except relume.errors.MissingExtra as error:
        assert f"Layers of {package} need" in str(error) and "No module named" in str(error), error
        assert f"pip install {extra}" in str(error) and error.slug == "missing-extra", error
    else:
        raise AssertionError(package)
"""
    run(sys.executable, BLOCK.format(absent=("torch", "keras", "jax", "flax")) + code)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "code"), [("torch", TORCH), ("keras", TENSORFLOW + KERAS), ("jax", JAX), ("onnx", ONNX)]
)
def test_a_single_extra_installs_in_a_fresh_environment(extra, code, tmp_path):
    """Half a minute to a minute each, from the index that pip is configured for."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    python = tmp_path / "environment" / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", tmp_path / "environment"],
        [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{source}[{extra}]"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    run(python, code)

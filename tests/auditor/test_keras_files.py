"""Files that Keras writes: deaths that were planted in a training are found in each of its three formats."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from relume.auditor import hdf5
from relume.auditor.audit import audit
from relume.errors import CheckpointError, MissingExtra

h5py = pytest.importorskip("h5py")
pytest.importorskip("keras")
pytest.importorskip("jax")

SCRIPT = """
import sys, keras, numpy as np
keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.Input((20,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(24),
    keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dense(5, activation="softmax"),
])
model.compile("adam", "sparse_categorical_crossentropy")
x = np.random.randn(64 * 50, 20).astype("float32")
y = x[:, :5].argmax(1)
model.fit(x, y, batch_size=64, epochs=1, verbose=0)
first, norm = model.layers[0], model.layers[2]
bias = np.array(first.bias); bias[[3, 8]] = -1e3; first.bias.assign(bias)
model.fit(x, y, batch_size=64, epochs=4, verbose=0)
gamma, beta = np.array(norm.gamma), np.array(norm.beta)
gamma[5], beta[5] = 0.0, -0.5; norm.gamma.assign(gamma); norm.beta.assign(beta)
for name in ("m.keras", "m.h5"):
    model.save(name)
model.save_weights("m.weights.h5")
"""
NAMES = ("m.keras", "m.h5", "m.weights.h5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("keras")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=made, env=environment, check=True, capture_output=True)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_planted_deaths_are_found_and_dated(folder, name):
    found = audit([folder / name])
    dead = {each.site.layer: each.dead for each in found.sites}
    assert dead["dense"] == (3, 8)
    feeds = "dense_1" if name != "m.weights.h5" else "batch_normalization"  # the layout of the model is in the others
    assert next(units for layer, units in dead.items() if layer.startswith(feeds)) == (5,)
    assert sum(len(units) for units in dead.values()) == 3
    first = next(each for each in found.sites if each.site.layer == "dense")
    steps = {unit: step for unit, step, what in first.events if what == "died"}
    assert found.run["steps"] == 250
    assert all(abs(step - 50) <= 20 for step in steps.values())
    assert set(steps) == {3, 8}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_off_is_refused(folder, name, tmp_path):
    whole = (folder / name).read_bytes()
    for share in (0.02, 0.5, 0.97):
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CheckpointError, match=rf"{name} (is damaged or truncated|is not a checkpoint)"):
            audit([tmp_path / name])


def test_links_out_of_the_file_are_not_followed(tmp_path, folder):
    path = tmp_path / "linked.h5"
    with h5py.File(path, "w") as file:
        file["model_weights/dense/dense/kernel"] = [[1.0, 2.0]]
        file["model_weights/other"] = h5py.ExternalLink(str(folder / "m.h5"), "/model_weights")
        file["model_weights/itself"] = h5py.SoftLink("/model_weights")
        file["model_weights/again"] = file["model_weights"]
    assert list(hdf5.read(path)) == ["dense/kernel"]


def test_an_archive_that_is_packed_is_read_too(folder, tmp_path):
    with zipfile.ZipFile(folder / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert [each.dead for each in audit([tmp_path / "m.keras"]).sites] == [
        each.dead for each in audit([folder / "m.keras"]).sites
    ]


def test_without_h5py_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"h5py.*pip install 'relume\[keras\]'"):
        audit([Path(folder) / "m.h5"])

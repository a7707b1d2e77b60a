"""What a Keras configuration says of the order of layers, and of what feeds a normalization."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from relume.auditor.audit import audit
from relume.auditor.keras_layout import layout

pytest.importorskip("h5py")
pytest.importorskip("keras")
pytest.importorskip("jax")

BRANCHES = """
import keras, numpy as np
from keras import layers
keras.utils.set_random_seed(0)
start = keras.Input((20,))
left, right = layers.Dense(24, name="left")(start), layers.Dense(24, name="right")(start)
first, second = layers.BatchNormalization(name="of_left"), layers.BatchNormalization(name="of_right")
x = layers.Add()([layers.ReLU()(first(left)), layers.ReLU()(second(right))])
inner = keras.Sequential([keras.Input((24,)), layers.Dense(24), layers.BatchNormalization(), layers.ReLU()], name="in")
x = layers.BatchNormalization(name="of_sum")(inner(x))
end = layers.Dense(1)(layers.Dense(24, activation="relu", name="last")(x))
model = keras.Model(start, end)
model.compile("adam", "mse")
x = np.random.randn(3200, 20).astype("float32")
y = x.sum(1, keepdims=True)
model.fit(x, y, batch_size=32, epochs=1, verbose=0)
for norm, unit in ((first, 3), (second, 5), (inner.layers[1], 7)):
    beta = np.array(norm.beta); beta[unit] = -50; norm.beta.assign(beta)
model.fit(x, y, batch_size=32, epochs=3, verbose=0)
model.save("m.keras")
model.save("m.h5")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("keras")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", BRANCHES], cwd=made, env=environment, check=True, capture_output=True)
    return made


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_dead_channels_of_equal_shapes_are_found_once_at_the_layer_that_feeds_them(folder, name):
    found = audit([folder / name])
    assert {judged.site.layer: judged.dead for judged in found.sites if judged.dead} == {
        "left": (3,),
        "right": (5,),
        next(judged.site.layer for judged in found.sites if judged.site.layer.startswith("in.dense")): (7,),
    }
    died = [step for judged in found.sites for _, step, _ in judged.events]
    assert len(died) == 3
    assert all(abs(step - 100) <= 20 for step in died)


def _sequential(*layers):
    entries = [{"class_name": kind, "config": {"name": kind.lower(), **more}} for kind, more in layers]
    return {"class_name": "Sequential", "config": {"name": "s", "layers": entries}}


def test_a_normalization_after_an_activation_belongs_to_no_layer():
    linear = _sequential(("Dense", {"activation": "linear"}), ("BatchNormalization", {}))
    assert layout(linear).follows == {"batchnormalization": "dense"}
    after = _sequential(("Dense", {"activation": "relu"}), ("BatchNormalization", {}))
    assert layout(after).follows == {}


def test_a_configuration_of_keras_2_is_read():
    def entry(kind, name, *fed_by, **more):
        nodes = [[[source, 0, 0, {}] for source in fed_by]] if fed_by else []
        return {"class_name": kind, "name": name, "config": {"name": name, **more}, "inbound_nodes": nodes}

    entries = [
        entry("InputLayer", "in"),
        entry("Dense", "a", "in", activation="linear"),
        entry("Dense", "b", "in", activation="linear"),
        entry("BatchNormalization", "of_a", "a"),
        entry("BatchNormalization", "of_b", "b"),
        entry("Add", "sum", "of_a", "of_b"),
        entry("BatchNormalization", "of_sum", "sum"),
    ]
    found = layout({"class_name": "Functional", "config": {"name": "f", "layers": entries}})
    assert found.order == ["in", "a", "b", "of_a", "of_b", "sum", "of_sum"]
    assert found.follows == {"of_a": "a", "of_b": "b"}

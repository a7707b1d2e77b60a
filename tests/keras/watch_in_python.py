"""``relume.watch(model)`` and the callback on one backend; run by ``test_watching_keras.py`` in a process."""

import sys
from pathlib import Path

import keras
import numpy as np

import relume
import relume.keras

rng = np.random.default_rng(0)
x = rng.normal(size=(256, 6)).astype("float32")
y = rng.normal(size=(256, 1)).astype("float32")


def made():
    keras.utils.set_random_seed(1)
    entry = keras.Input((6,))
    rectify = keras.layers.ReLU(name="rectify")
    first = rectify(keras.layers.Dense(8, name="fc1")(entry))
    second = rectify(keras.layers.Dense(8, name="fc2")(keras.layers.Dropout(0.2)(first)))
    model = keras.Model(entry, keras.layers.Dense(1, name="head")(second), name="net")
    bias = np.zeros(8, "float32")
    bias[4] = -50
    model.get_layer("fc2").bias.assign(bias)
    model.compile("adam", "mse")
    return model


def fit(model, **options):
    keras.utils.set_random_seed(2)
    return model.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0, **options).history["loss"]


def weights(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


bare, model = made(), made()
expected = [fit(bare), fit(bare), fit(bare), fit(bare)]

losses = [fit(model)]  # compiled before the watching
with relume.watch(model, every=1) as watch:
    losses.append(fit(model))
    other = made()
    fit(other)  # another model is not watched
seen = watch.to_dict()
callback = relume.keras.Watch("run.relume", every=1)
losses.append(fit(model, callbacks=[callback]))
losses.append(fit(model))  # and afterwards
assert losses == expected, (losses, expected)
assert all((a == b).all() for a, b in zip(weights(model), weights(bare), strict=True))

for found in (seen, watch.to_dict(), callback.findings.to_dict(), relume.api.findings_of(Path("run.relume")).to_dict()):
    assert found["run"]["steps"] == found["run"]["looked"] == 16, found["run"]
    assert [site["module"] for site in found["sites"]] == ["net/rectify", "net/rectify"], found["sites"]
    assert [site["layer"] for site in found["sites"]] == ["fc1", "fc2"]
    assert [site["born_dead"] for site in found["sites"]] == [[], [4]]
    assert all(site["total_examples"] == 512 for site in found["sites"])
print("as without", sys.argv)

"""`relume run` on TensorFlow scripts with loops of their own; each in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from relume.artifacts.reader import read

for package in ("tensorflow", "keras"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

ENVIRONMENT = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}

PLAIN = """
import json
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
inputs = rng.integers(-8, 9, size=(20, 16, 6)).astype("float32") / 8
w1 = tf.Variable(rng.integers(-4, 5, size=(6, 8)).astype("float32") / 8, name="w1")
b1 = tf.Variable(np.where(np.arange(8) == 2, -50, 0).astype("float32"), name="b1")
w2 = tf.Variable(rng.normal(size=(8, 1)).astype("float32"), name="w2")

def model(x):
    return tf.nn.relu(tf.matmul(x, w1) + b1) @ w2  # hidden

@tf.function
def steps(batches):
    loss = tf.constant(0.0)
    for i in tf.range(4):  # a loop that AutoGraph converts
        if tf.reduce_sum(batches[i]) > -1e9:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(batches[i]) ** 2)
            w2.assign_sub(0.01 * tape.gradient(loss, w2))
    return loss

@tf.function
def evaluate(x):
    return tf.reduce_sum(model(x))

for i in range(0, 20, 4):
    loss = steps(inputs[i : i + 4])
    evaluate(inputs[0])
print(float(loss), w2.numpy().tobytes().hex())
fired = (inputs @ w1.numpy() + b1.numpy() > 0).sum(1)
json.dump(fired.tolist(), open("expected.json", "w"))
"""

GAN = """
import numpy as np
import tensorflow as tf
import keras

keras.utils.set_random_seed(0)
keras.mixed_precision.set_global_policy("mixed_bfloat16")

class Gan(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([keras.layers.Dense(12, activation="relu"), keras.layers.Dense(4)], name="g")
        critic = [keras.layers.Dense(10), keras.layers.LeakyReLU(), keras.layers.Dense(1)]
        self.critic = keras.Sequential(critic, name="d")

    def compile(self, a, b):
        super().compile()
        self.optimizers = a, b

    def train_step(self, real):
        for i in range(2):
            noise = tf.random.normal((tf.shape(real)[0], 3))
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.critic(self.generator(noise)) - self.critic(real))
            found = tape.gradient(loss, self.critic.trainable_variables)
            self.optimizers[0].apply_gradients(zip(found, self.critic.trainable_variables))
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self.critic(self.generator(noise)))
        found = tape.gradient(loss, self.generator.trainable_variables)
        self.optimizers[1].apply_gradients(zip(found, self.generator.trainable_variables))
        return {"loss": loss}

gan = Gan()
gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.RMSprop(1e-3))
data = np.random.default_rng(0).normal(size=(160, 4)).astype("float32")
history = gan.fit(data, batch_size=16, epochs=2, verbose=0, shuffle=False)
print(history.history["loss"], [w.numpy().tobytes().hex()[:16] for w in gan.weights])
"""


def run(folder, text, *prefix):
    script = folder / "train.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, *prefix, str(script)],
        cwd=folder, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def compared(folder, text):
    """The recording of a script, every step looked at, that printed the same as without."""
    bare = run(folder, text)
    seen = run(folder, text, "-m", "relume", "run", "--every", "1")
    assert seen.stdout == bare.stdout
    assert "own-fault" not in seen.stderr
    return read(folder / "run.relume")


def test_a_loop_of_the_user_s_own_in_a_tf_function(tmp_path):
    recording = compared(tmp_path, PLAIN)
    (record,) = recording.sites
    assert [(c.kind, c.steps, c.looked) for c in recording.clocks] == [("backward", 20, 20)]
    np.testing.assert_array_equal(record.total.fired, np.sum(json.loads((tmp_path / "expected.json").read_text()), 0))
    line = 1 + next(i for i, text in enumerate(PLAIN.splitlines()) if "# hidden" in text)
    assert (record.site.call, record.site.file, record.site.line) == ("tf.nn.relu", "train.py", line)
    assert record.total.examples == 20 * 16
    assert len(recording.losses) > 0


def test_a_gan_counts_each_network_by_its_own_optimizer(tmp_path):
    recording = compared(tmp_path, GAN)
    assert {clock.name: clock.steps for clock in recording.clocks} == {"Adam": 40, "RMSprop": 20}
    optimizers = {s.site.module: recording.clocks[s.site.clock].name for s in recording.sites}
    assert optimizers == {"g/dense": "RMSprop", "d/leaky_re_lu": "Adam"}


FIT = """
import numpy as np
import keras
keras.utils.set_random_seed(0)
keras.mixed_precision.set_global_policy("mixed_float16")
model = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.LSTM(4), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-2, 4, 0.5)), "mse")
x = np.random.default_rng(0).normal(size=(64, 5, 3)).astype("float32")
print(model.fit(x, x[:, :1, 0], batch_size=16, epochs=2, verbose=0).history["loss"])
print(model.train_on_batch(x, x[:, :1, 0]), model.evaluate(x, x[:, :1, 0], verbose=0))
model.export("served", verbose=False)
print([w.numpy().tobytes().hex()[:16] for w in model.weights])
"""


def test_mixed_precision_schedules_recurrent_layers_and_export(tmp_path):
    recording = compared(tmp_path, FIT)
    (record,) = recording.sites
    assert [(c.name, c.steps) for c in recording.clocks] == [("Adam", 9)]
    assert (record.site.module, record.total.examples, record.total.samples) == ("sequential/dense", 192, 960)
    assert [what for what, _, _ in recording.not_observed] == ["LSTM"]
    np.testing.assert_allclose([rate for _, _, (rate,) in recording.rates[:2]], [1e-2 * 0.5**0.25, 1e-2 * 0.5**0.5])


SLOW = pytest.mark.slow


@pytest.mark.parametrize("method", ["_count", pytest.param("_settle", marks=SLOW), pytest.param("_tick", marks=SLOW)])
def test_an_error_of_relume_s_ends_the_watching_and_not_the_training(tmp_path, method):
    broken = """
import relume.tensorflow.watching.probe as probe
def fails(self, *args):
    raise KeyError("planted")
probe.TensorFlowProbe.METHOD = fails
"""
    done = run(tmp_path, broken.replace("METHOD", method) + FIT, "-m", "relume", "run")
    assert done.stdout.count("\n") >= 3
    assert done.stderr.count("[own-fault]") == 1

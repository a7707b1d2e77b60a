"""A Keras script with units that are known to be dead, on numbers that every backend computes exactly.

Weights and inputs are small multiples of 1/8 and the learning rate of what is counted is 0, so that counts can be
compared by ``==`` with those that ``expected.json`` holds, counted here by NumPy. Run by ``test_watching_keras.py``.
"""

import hashlib
import json
import sys

import keras
import numpy as np

how, steps_per_execution = sys.argv[1], int(sys.argv[2])
STEPS, BATCH, DIES, LIVES = 48, 32, 16, 32

keras.utils.set_random_seed(5)
rng = np.random.default_rng(5)
inputs = rng.integers(-8, 9, size=(STEPS * BATCH, 6, 4)).astype("float32") / 8
targets = rng.normal(size=(STEPS * BATCH, 1)).astype("float32")


class Shared(keras.layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.first = keras.layers.Dense(6, name="first")
        self.second = keras.layers.Dense(6, name="second")
        self.rectify = keras.layers.ReLU(name="rectify")  # LINE shared

    def call(self, x):
        hidden = self.rectify(self.first(x))
        return self.rectify(self.second(hidden))


class Own(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.net = keras.Sequential(
            [
                keras.layers.Dense(8, activation="relu", name="fc1"),  # LINE fc1
                keras.layers.Dense(8, name="fc2"),
                keras.layers.LeakyReLU(negative_slope=0.125, name="leaky"),  # LINE leaky
                keras.layers.Dense(4, name="fc3"),
                keras.layers.ReLU(max_value=6.0, name="six"),  # LINE six
                keras.layers.PReLU(shared_axes=[1], name="learned"),  # LINE learned
                Shared(name="shared"),
                keras.layers.Flatten(),
            ]
        )
        self.head = keras.layers.Dense(1, name="head")
        self.dropout = keras.layers.Dropout(0.25)

    def call(self, x, training=None):
        features = self.net(x, training=training)
        fired = keras.ops.relu(features)  # LINE ops
        return self.head(self.dropout(fired, training=training))


model = Own(name="own")
model(inputs[:1])
for layer in [*model.net.layers, *model.net.get_layer("shared").__dict__.values()]:
    if isinstance(layer, keras.layers.Dense):
        shape = layer.kernel.shape
        layer.kernel.assign(rng.integers(-4, 5, size=shape).astype("float32") / 8)
        layer.bias.assign(rng.integers(-2, 3, size=shape[1:]).astype("float32") / 8)


def plant(name, **units):
    """Set biases of units by their numbers: ``u3=-50``."""
    layer = model.net.get_layer(name)
    bias = keras.ops.convert_to_numpy(layer.bias).copy()
    for unit, value in units.items():
        bias[int(unit[1:])] = value
    layer.bias.assign(bias)


def dense(x, path, bias=None):
    found = {name.rsplit(path + "/", 1)[1]: value for name, value in weights.items() if f"{path}/" in name}
    return x @ found["kernel"] + (found["bias"] if bias is None else bias)


def forward(fc1_bias=None):
    """The pre-activations of each site, by NumPy."""
    fc1 = dense(inputs, "fc1", fc1_bias)
    fc2 = dense(np.maximum(fc1, 0), "fc2")
    fc3 = dense(np.where(fc2 > 0, fc2, 0.125 * fc2), "fc3")
    six = np.clip(fc3, 0, 6)
    first = dense(six, "first")
    second = dense(np.maximum(first, 0), "second")
    ops = np.maximum(second, 0).reshape(len(inputs), -1)
    return {"fc1": fc1, "leaky": fc2, "six": fc3, "learned": six, "first": first, "second": second, "ops": ops}


def now():
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}


weights = now()
rare = weights["own/sequential/fc1/bias"][3] - np.quantile(dense(inputs, "fc1")[..., 3], 0.993)
plant("fc1", u1=-50.0, u3=np.floor(64 * rare) / 64)  # dead, rare
plant("fc2", u2=-50.0)  # one-sided
for site, layer in {
    "six": model.net.get_layer("fc3"),
    "first": model.net.get_layer("shared").first,
    "second": model.net.get_layer("shared").second,
}.items():  # each unit fires about half of the time
    weights = now()
    middle = np.quantile(forward()[site], 0.45, (0, 1))
    layer.bias.assign(keras.ops.convert_to_numpy(layer.bias) - np.floor(8 * middle) / 8)
    if site == "six":
        plant("fc3", u0=50.0)  # stuck at 6
model.net.trainable = False
model.net.get_layer("learned").alpha.assign(np.full((1, 4), 0.25, "float32"))


class Planting(keras.callbacks.Callback):
    """Unit 5 of fc1 dies at one step and lives again at another; on JAX a callback cannot change weights."""

    step = 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.step == DIES:
            plant("fc1", u5=-50.0)
        if self.step == LIVES:
            plant("fc1", u5=0.0)
        self.step += steps_per_execution


weights = now()
model.compile(
    keras.optimizers.SGD(0.001),
    "mse",
    jit_compile={"jit": True, "plain": False, "eager": False, "auto": "auto"}[how],
    run_eagerly=how == "eager",
    steps_per_execution=steps_per_execution,
)
planting = [] if keras.backend.backend() == "jax" else [Planting()]
history = model.fit(
    inputs, targets, batch_size=BATCH, shuffle=False, verbose=0, callbacks=planting,
    validation_data=(inputs[:64], targets[:64]),
)  # fmt: skip
final = b"".join(np.asarray(keras.ops.convert_to_numpy(w)).tobytes() for w in model.weights)
print("weights", hashlib.sha256(final).hexdigest(), history.history["loss"])


# ---- the same by NumPy ---------------------------------------------------------------------------------------------

step = np.repeat(np.arange(STEPS), BATCH)[:, None]
bias = np.broadcast_to(weights["own/sequential/fc1/bias"], (len(inputs), 1, 8)).copy()
if planting:
    bias[..., 5] = np.select([step >= LIVES, step >= DIES], [0.0, -50.0], bias[..., 5])
with open("expected.json", "w") as file:
    fired = {name: (x > 0).reshape(STEPS, -1, x.shape[-1]).sum(1) for name, x in forward(bias).items()}
    json.dump({name: counts.tolist() for name, counts in fired.items()}, file)

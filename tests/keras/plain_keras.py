"""A Keras script as its author writes it; run by ``test_treated_keras.py`` unedited, and as hand-edited copies."""

import hashlib

import keras
import numpy as np

keras.utils.set_random_seed(7)
rng = np.random.default_rng(5)
inputs = rng.normal(size=(256, 6)).astype("float32")
targets = np.abs(inputs).sum(1, keepdims=True)


class Block(keras.layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.first = keras.layers.Dense(units)
        self.second = keras.layers.Dense(units, kernel_initializer=keras.initializers.HeNormal(seed=11))
        self.inner = None

    def call(self, x):
        return keras.ops.tanh(self.second(keras.activations.relu(self.first(x))))


image = keras.Input((6,))
x = keras.layers.Dense(16, activation="relu")(image)
x = keras.layers.Dropout(0.2, seed=3)(x)
x = keras.layers.ReLU()(keras.layers.Dense(12)(x))
x = Block(8)(x)
x = keras.activations.relu(keras.layers.Dense(8)(x))
model = keras.Model(image, keras.layers.Dense(1, activation="softplus")(x))

rate = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
model.compile(keras.optimizers.AdamW(rate, weight_decay=0.01), "mse")
model.fit(inputs, targets, epochs=3, batch_size=32, verbose=0)
found = sorted(hashlib.sha256(v.numpy().tobytes() if hasattr(v, "numpy") else b"").hexdigest() for v in model.weights)
print(model.count_params(), hashlib.sha256("".join(found).encode()).hexdigest())

"""A Keras model compared by ``relume.compare``; prints the verdicts as JSON. Run by test_compare_keras.py."""

import json
import sys

import keras
import numpy as np

import relume

draws = np.random.default_rng(0)
X = draws.normal(size=(128, 8)).astype("float32")
Y = np.maximum(X @ draws.normal(size=(8, 4)).astype("float32"), 0).sum(1, keepdims=True)


def dead(x):
    return 0.0 * x


def train(activation, seed, lr_factor, log):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.layers.Dense(16), keras.layers.Activation(activation), keras.layers.Dense(1)], name="net"
    )
    model.compile(keras.optimizers.SGD(0.02 * lr_factor), "mse")
    history = model.fit(X, Y, batch_size=32, epochs=3, verbose=0)
    for epoch, loss in enumerate(history.history["loss"]):
        log(epoch, loss=loss)


found = relume.compare(train, activations=["relu", "elu", dead], seeds=6, lr_factors=[1.0], study=sys.argv[1])
print(json.dumps(found.to_dict()["verdicts"]))

"""Moves twenty layers torch → spec → Keras → spec → torch → spec → ONNX, on the backend that KERAS_BACKEND names.

Prints one JSON row for each layer: its name, the layouts, and the greatest differences from the first output.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import numpy as np
import torch
from one_node import run_model
from torch import nn

import relume
import relume.torch as ours


def slopes(layer: nn.PReLU) -> nn.PReLU:
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.05, 0.95, layer.weight.numel()).reshape(layer.weight.shape))
    return layer


LAYERS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.ReLU(), (2, 3, 4, 5)),
    (nn.LeakyReLU(0.2), (2, 3, 4, 5)),
    (nn.LeakyReLU(), (7,)),
    (nn.ReLU6(), (2, 9)),
    (nn.ELU(0.5), (2, 3, 4)),
    (nn.CELU(2.0), (2, 3, 4)),
    (nn.SELU(), (2, 3, 4)),
    (nn.RReLU(0.1, 0.5).eval(), (2, 3, 4, 4)),
    (nn.GELU(approximate="tanh"), (2, 5)),
    (nn.SiLU(), (2, 5)),
    (slopes(nn.PReLU()), (2, 3, 4, 5)),
    (slopes(nn.PReLU(4)), (2, 4, 4, 4)),
    (slopes(nn.PReLU(4)), (4, 4)),
    (slopes(nn.PReLU(3)), (2, 3, 5)),
    (slopes(nn.PReLU(3)), (2, 3, 4, 5, 6)),
    (slopes(ours.PReLU(4, axis=-1)), (4, 4, 4, 4)),
    (slopes(ours.PReLU(4, axis=2)), (2, 4, 4, 4)),
    (slopes(ours.PReLU((4, 4, 4), axis=(1, 2, 3))), (4, 4, 4, 4)),
    (slopes(ours.PReLU((3, 4), axis=(1, 3))), (2, 3, 5, 4)),
    (slopes(ours.PReLU((5, 3), axis=(1, 2))), (2, 5, 3)),
    (ours.ELU(), (2, 3)),
    (ours.RReLU(0.25, 0.5).eval(), (3, 3, 3)),
]


def call_torch(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return layer.eval()(torch.from_numpy(x.copy())).numpy()


def call_keras(layer: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(layer(x)))


def last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1) if x.ndim > 1 else x


def moved(layer: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
    x = (np.random.default_rng(0).normal(size=shape) * 4).astype(np.float32)
    expected, ndim = call_torch(layer, x), len(shape)
    spec = relume.to_spec(layer)
    there = relume.from_spec(spec, "keras", ndim=ndim)
    turned = relume.from_spec(spec.with_rank(ndim).channels_last(), "keras")
    back = relume.from_spec(relume.to_spec(there), "torch")
    turned_back = relume.from_spec(relume.to_spec(turned).channels_first(), "torch")
    function = relume.from_spec(relume.to_spec(back), "jax")
    again = relume.from_spec(relume.to_spec(function), "torch")
    results = {
        "keras": call_keras(there, x),
        "torch": call_torch(back, x),
        "jax": np.asarray(function(x)),
        "torch again": call_torch(again, x),
        "onnx": run_model(relume.from_spec(relume.to_spec(again), "onnx", ndim=ndim), x),
    }
    if not (spec.activation == "prelu" and 0 in spec.axes):
        results["keras, channels last"] = np.moveaxis(call_keras(turned, last(x)), -1, 1) if ndim > 1 else expected
        results["torch, from channels last"] = call_torch(turned_back, x)
    weights = [np.asarray(relume.to_spec(one).parameters.get("weight", 0)) for one in (layer, back, again, turned_back)]
    return {
        "layer": repr(layer),
        "shape": shape,
        "off": {name: float(np.abs(y - expected).max()) for name, y in results.items()},
        "weights": bool(all(np.array_equal(weights[0], w) for w in weights[1:])),
    }


if __name__ == "__main__":
    print(json.dumps([moved(layer, shape) for layer, shape in LAYERS]))
    sys.stdout.flush()

"""The family for Keras 3, on TensorFlow, JAX and PyTorch: layers here, functions in :mod:`relume.keras.functional`.

Example:
    >>> import keras, relume.keras
    >>> model = keras.Sequential([keras.layers.Dense(4), relume.keras.RReLU(seed=0)])
    >>> tuple(model(keras.ops.ones((2, 3))).shape)
    (2, 4)
"""

from __future__ import annotations

import importlib
from typing import Any

from relume.keras.family import LAYERS

__all__ = [*LAYERS]


def __getattr__(name: str) -> Any:
    if name in LAYERS:
        return LAYERS[name]
    if name == "Watch":  # the callback needs relume's verbs, which layers need not load
        return importlib.import_module("relume.integrations.keras").WatchCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

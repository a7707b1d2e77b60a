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

from relume.keras.layers import CELU, ELU, SELU, LeakyReLU, PReLU, ReLU, ReLU6, RReLU

__all__ = ["CELU", "ELU", "SELU", "LeakyReLU", "PReLU", "RReLU", "ReLU", "ReLU6"]


def __getattr__(name: str) -> Any:
    """``Watch``, the callback: it stands on relume's verbs, which layers need not load."""
    if name == "Watch":
        return importlib.import_module("relume.integrations.keras").WatchCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""relume.numpy in the battery."""

from __future__ import annotations

from typing import Any

import numpy as np

import relume.numpy as rn


class NumPy:
    """``relume.numpy``."""

    name = "numpy"
    dtypes = ("float16", "bfloat16", "float32", "float64")
    lays = dtypes
    inputs = None
    flushes = False
    inference = False

    def value(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return getattr(rn, activation)(x, **parameters)

    def gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return rn.slope(activation, x, **parameters)

    def drawn(self, x: np.ndarray, dtype: str, lower: float, upper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        slopes = np.random.default_rng(seed).uniform(lower, upper, x.shape)
        value = rn.rrelu(x, lower, upper, training=True, rng=seed)
        return value, rn.slope("rrelu", x, lower=lower, upper=upper, slopes=slopes)


ADAPTERS = [NumPy()]

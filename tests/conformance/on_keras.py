"""relume.keras in the battery, on each of Keras's backends in a process of its own."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import workers

if importlib.util.find_spec("keras") is None:
    raise ImportError("keras is not installed")

BACKENDS = tuple(name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name) is not None)


def worker(backend: str) -> workers.Worker:
    """Keras on ``backend``; on JAX with float64."""
    return workers.worker("serve_keras.py", KERAS_BACKEND=backend, JAX_ENABLE_X64="1")


class Keras:
    """``relume.keras.functional``. A question is answered with value and gradient, so they are kept for the next."""

    dtypes = ("float16", "bfloat16", "float32", "float64")
    lays = ("bfloat16", "float64")
    inference = False
    inputs = ("sweep",)  # the functions of the backend are in the battery themselves

    def __init__(self, backend: str) -> None:
        self.name, self.backend = f"keras-{backend}", backend
        self.flushes = backend != "torch"
        self._kept: dict[Any, Any] = {}

    def _part(self, part: str, activation: str, x: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
        texts = tuple((k, np.asarray(v).tobytes(), np.shape(v)) for k, v in parameters.items())
        key = activation, x.dtype.name, x.shape, x.tobytes(), texts
        if key not in self._kept:
            self._kept[key] = worker(self.backend).ask("evaluate", activation, x, parameters)
        return self._kept[key][part]

    def value(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return self._part("value", activation, x, parameters)

    def gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return self._part("gradient", activation, x, parameters)

    def weight_gradient(self, x: np.ndarray, dtype: str, *, weight: np.ndarray, axis: Any) -> np.ndarray:
        return worker(self.backend).ask("weight_gradient", x, weight, axis)

    def drawn(self, x: np.ndarray, dtype: str, lower: float, upper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return worker(self.backend).ask("drawn", x, lower, upper, seed)


ADAPTERS = [Keras(backend) for backend in BACKENDS]

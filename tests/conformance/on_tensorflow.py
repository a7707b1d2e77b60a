"""relume.tensorflow in the battery: eager, in forward mode, and compiled by XLA."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import workers

if importlib.util.find_spec("tensorflow") is None:
    raise ImportError("tensorflow is not installed")


class TensorFlow:
    """``relume.tensorflow``. A question is answered with value and gradient, so they are kept for the next."""

    dtypes = ("float16", "bfloat16", "float32", "float64")
    lays = dtypes
    flushes = True
    inference = False

    def __init__(self, name: str, compiled: bool, inputs: tuple[str, ...] | None) -> None:
        self.name, self.compiled, self.inputs = name, compiled, inputs
        self._kept: dict[Any, Any] = {}

    @property
    def _worker(self) -> workers.Worker:
        return workers.worker("serve_tensorflow.py")

    def _part(self, part: str, activation: str, x: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
        texts = tuple((k, np.asarray(v).tobytes(), np.shape(v)) for k, v in parameters.items())
        key = activation, x.dtype.name, x.shape, x.tobytes(), texts
        if key not in self._kept:
            self._kept[key] = self._worker.ask("evaluate", activation, self.compiled, x, parameters)
        return self._kept[key][part]

    def value(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return self._part("value", activation, x, parameters)

    def gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return self._part("gradient", activation, x, parameters)

    def weight_gradient(self, x: np.ndarray, dtype: str, *, weight: np.ndarray, axis: Any) -> np.ndarray:
        return self._worker.ask("weight_gradient", x, weight, axis)

    def drawn(self, x: np.ndarray, dtype: str, lower: float, upper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return self._worker.ask("drawn", x, lower, upper, seed)


class WithForwardMode(TensorFlow):
    """Forward mode is slow in TensorFlow, so it has fewer inputs."""

    def forward_gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return self._worker.ask("forward", activation, x, parameters)


ADAPTERS = [
    TensorFlow("tensorflow", False, None),
    WithForwardMode("tensorflow-forward", False, ("sweep",)),
    TensorFlow("tensorflow-xla", True, ("sweep",)),
]

"""relume.onnx in the battery, run by ONNX Runtime: values; inference has no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from one_node import run_definition


class Onnx:
    """``relume.onnx`` models in ONNX Runtime."""

    name = "onnx"
    dtypes = ("float16", "float32", "float64")  # ONNX Runtime on CPU feeds no bfloat16 from NumPy
    lays = dtypes
    inputs = None
    flushes = False
    inference = True

    def value(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return run_definition(activation, x, parameters)


ADAPTERS = [Onnx()]

"""Which functions of TensorFlow are activations, and where in the user's code and in a graph they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.util import tf_stack

from relume.activations import ACTIVATIONS

_LAYERS = {"MatMul", "BatchMatMulV2", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "Einsum"}


def functions() -> Iterator[tuple[str, Any, str, str]]:
    """(activation, module, attribute, as it is written) of TensorFlow's own functions, under each of their names."""
    for name, activation in ACTIVATIONS.items():
        for alias in (name, *activation.aliases) if activation.elementwise else ():
            for home, written in ((tf.nn, "tf.nn"), (tf.math, "tf.math"), (tf, "tf")):
                if hasattr(home, alias):
                    yield name, home, alias, f"{written}.{alias}"


def frames() -> Iterator[tuple[str, int, str]]:
    """(file, line, function) of the frames from the inside out, as the code was before AutoGraph."""
    return ((frame.filename, frame.lineno, frame.name) for frame in reversed(tf_stack.extract_stack()))


def weight_of(x: Any) -> str:
    """The name of the layer's weight before a symbolic tensor, "" if none is found near it."""
    if not isinstance(x, tf.Tensor) or not hasattr(x, "op") or tf.executing_eagerly():
        return ""
    operation = x.op
    for _ in range(20):
        if operation.type in _LAYERS:
            weight = operation.inputs[1].op
            while weight.type in {"ReadVariableOp", "Identity", "Cast", "Reshape"}:
                weight = weight.inputs[0].op
            return str(weight.name)
        if not operation.inputs:
            return ""
        operation = operation.inputs[0].op
    return ""

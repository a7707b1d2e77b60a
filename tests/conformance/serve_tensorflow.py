"""relume.tensorflow, for the battery: the child of ``on_tensorflow.py``."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes  # noqa: F401  # lets bfloat16 arrays be unpickled
import numpy as np
import tensorflow as tf
import workers

import relume.tensorflow as rtf


@cache
def function_of(activation: str, static: tuple[tuple[str, Any], ...]) -> Any:
    def function(x: Any, arrays: dict[str, Any]) -> Any:
        return getattr(rtf, activation)(x, **dict(static), **arrays)

    return function


@cache
def both_of(activation: str, compiled: bool, static: tuple[tuple[str, Any], ...]) -> Any:
    """(x, arrays) → value and gradient."""
    function = function_of(activation, static)

    def both(x: Any, arrays: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x, arrays)
        return value, tape.gradient(value, x)

    return tf.function(both, jit_compile=True, autograph=False) if compiled else both


def evaluate(activation: str, compiled: bool, x: np.ndarray, parameters: dict[str, Any]) -> dict[str, np.ndarray]:
    static, arrays = sorted_out(x, parameters)
    value, gradient = both_of(activation, compiled, static)(tf.constant(x), arrays)
    return {"value": value.numpy(), "gradient": gradient.numpy()}


def forward(activation: str, x: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
    def function(y: Any) -> Any:
        return getattr(rtf, activation)(y, **fixed)

    fixed = {k: v.astype(x.dtype) if isinstance(v, np.ndarray) else v for k, v in parameters.items()}
    if "weight" in fixed:  # in eager mode an infinite x is multiplied with the 0 that is the tangent of the slopes
        function = tf.function(function, autograph=False)
    tensor = tf.constant(x)
    with tf.autodiff.ForwardAccumulator(tensor, tf.ones_like(tensor)) as accumulator:
        return accumulator.jvp(function(tensor)).numpy()


def sorted_out(x: np.ndarray, parameters: dict[str, Any]) -> tuple[tuple[tuple[str, Any], ...], dict[str, Any]]:
    """Numbers, which are fixed when a function is traced, and arrays."""
    arrays = {k: tf.constant(v, x.dtype) for k, v in parameters.items() if isinstance(v, np.ndarray)}
    return tuple((k, v) for k, v in parameters.items() if k not in arrays), arrays


def weight_gradient(x: np.ndarray, weight: np.ndarray, axis: Any) -> np.ndarray:
    weight = tf.Variable(weight)
    with tf.GradientTape() as tape:
        value = rtf.prelu(x, weight, axis)
    return tape.gradient(value, weight).numpy()


def drawn(x: np.ndarray, lower: float, upper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = rtf.rrelu(x, lower, upper, True, seed=(seed, 0))
    return value.numpy(), tape.gradient(value, x).numpy()


if __name__ == "__main__":
    workers.serve(globals())

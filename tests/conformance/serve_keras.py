"""relume.keras.functional, for the battery: the child of ``on_keras.py``, on the backend of its environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import ml_dtypes  # noqa: F401  # lets bfloat16 arrays be unpickled
import numpy as np
import workers

import relume.keras.functional as rk


def differentiated(
    function: Callable[[Any], Any], x: np.ndarray, compiled: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient for incoming ones, in the backend's own reverse mode; ``compiled``: on JAX as one program."""
    if rk.BACKEND == "tensorflow":
        import tensorflow as tf

        tensor = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        gradient = tape.gradient(value, tensor)
    elif rk.BACKEND == "jax":
        import jax
        import jax.numpy as jnp

        def both(tensor: Any) -> Any:
            value, backward = jax.vjp(function, tensor)
            return value, backward(jnp.ones_like(value))[0]

        value, gradient = (jax.jit(both) if compiled else both)(jnp.asarray(x))
    else:
        import torch

        eight = x.dtype.name == "float8_e4m3fn"  # which goes from NumPy to PyTorch by its bits alone
        tensor = (
            torch.from_numpy(x.view("uint8")).view(torch.float8_e4m3fn) if eight else keras.ops.convert_to_tensor(x)
        )
        tensor = (
            tensor.requires_grad_() if tensor.is_floating_point() and not eight else tensor
        )  # others are to be refused
        value = function(tensor)
        value.sum().backward()
        value, gradient = value.detach(), tensor.grad
    return numbers(value, x), numbers(gradient, x)


def numbers(tensor: Any, x: np.ndarray) -> np.ndarray:
    """As an array; NumPy has no bfloat16, so the dtype is compared first."""
    assert keras.backend.standardize_dtype(tensor.dtype) == x.dtype.name
    return keras.ops.convert_to_numpy(tensor).astype(x.dtype)


def evaluate(activation: str, x: np.ndarray, parameters: dict[str, Any]) -> dict[str, np.ndarray]:
    value, gradient = differentiated(lambda tensor: getattr(rk, activation)(tensor, **parameters), x, compiled=True)
    return {"value": value, "gradient": gradient}


def weight_gradient(x: np.ndarray, weight: np.ndarray, axis: Any) -> np.ndarray:
    return differentiated(lambda slopes: rk.prelu(x, slopes, axis), weight, compiled=True)[1]


def drawn(x: np.ndarray, lower: float, upper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return differentiated(lambda tensor: rk.rrelu(tensor, lower, upper, training=True, seed=seed), x)


if __name__ == "__main__":
    workers.serve(globals())

"""relume.jax in the battery: one operation at a time, and compiled by XLA."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import relume.jax as rj


def function_of(activation: str, static: tuple[tuple[str, Any], ...]) -> Callable[..., jax.Array]:
    def function(x: jax.Array, arrays: dict[str, Any]) -> jax.Array:
        return getattr(rj, activation)(x, **dict(static), **arrays)

    return function


def value_of(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return function


def gradient_of(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return jax.grad(lambda x, arrays: function(x, arrays).sum(dtype=x.dtype))


def forward_gradient_of(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return lambda x, arrays: jax.jvp(lambda v: function(v, arrays), (x,), (jnp.ones_like(x),))[1]


class Jax:
    """``relume.jax``, as it is or under ``jax.jit``."""

    flushes = True
    inference = False

    def __init__(
        self,
        name: str,
        wrap: Callable[[Any], Any],
        dtypes: tuple[str, ...],
        inputs: tuple[str, ...],
        lays: tuple[str, ...] = (),
    ) -> None:
        self.name, self.dtypes, self.inputs, self.lays = name, dtypes, inputs, lays
        self._made = cache(lambda part, activation, static: wrap(part(function_of(activation, static))))

    def forget(self) -> None:
        """Make every function anew, as where a fault was planted."""
        self._made.cache_clear()
        jax.clear_caches()

    def _call(self, part: Any, activation: str, x: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
        arrays = {k: v for k, v in parameters.items() if isinstance(v, np.ndarray)}
        static = tuple((k, v) for k, v in parameters.items() if k not in arrays)
        with jax.enable_x64(True):
            return np.asarray(self._made(part, activation, static)(jnp.asarray(x), arrays))

    def value(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return self._call(value_of, activation, x, parameters)

    def gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return self._call(gradient_of, activation, x, parameters)

    def forward_gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        return self._call(forward_gradient_of, activation, x, parameters)

    def weight_gradient(self, x: np.ndarray, dtype: str, *, weight: np.ndarray, axis: Any) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(jax.grad(lambda w: rj.prelu(x, w, axis).sum())(jnp.asarray(weight)))

    def drawn(self, x: np.ndarray, dtype: str, lower: float, upper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        def draw(v: jax.Array) -> jax.Array:
            return rj.rrelu(v, lower, upper, training=True, key=jax.random.key(seed))

        with jax.enable_x64(True):
            value, backward = jax.vjp(draw, jnp.asarray(x))
            return np.asarray(value), np.asarray(backward(jnp.ones_like(value))[0])


# A JAX array is contiguous, so layouts are not asked for. Where nothing is compiled as a whole each operation is, for
# each shape and dtype: so there in float32 alone, and PReLU's axes in tests/jax.
ADAPTERS = [
    Jax("jax", lambda function: function, ("float32",), ("sweep", "one", "empty", "zero_dimensional")),
    Jax("jax-jit", jax.jit, ("float16", "bfloat16", "float32", "float64"), ("sweep", "one"), ("bfloat16", "float64")),
]

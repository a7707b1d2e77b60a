"""The family in TensorFlow: one entry an activation, its function of ``relume.tensorflow``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from relume.activations import ACTIVATIONS
from relume.activations._edge import function_of
from relume.tensorflow import functional


def _made(name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    """A function computed by ``compute(x, **parameters)``."""

    def function(x: Any, **parameters: Any) -> Any:
        return compute(functional._tensor(name, x), **ACTIVATIONS[name].check(**parameters))

    return function_of(ACTIVATIONS[name], function, functional.__name__)


def _squared(x: Any) -> Any:
    return x * x


def _softplus(x: Any, beta: Any) -> Any:
    z = x * beta
    fits = z != float("inf")  # it may be inf although x is not
    return tf.where(fits, tf.nn.softplus(tf.where(fits, z, tf.zeros_like(z))) / beta, x)


FAMILY: dict[str, Callable[..., Any]] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "prelu": functional.prelu,
    "rrelu": functional.rrelu,
    "relu6": functional.relu6,
    "elu": functional.elu,
    "celu": functional.celu,
    "selu": functional.selu,
    "relu_squared": _made("relu_squared", lambda x: _squared(functional.relu(x))),
    "leaky_squared": _made("leaky_squared", lambda x, negative_slope: _squared(functional._leaky(x, negative_slope))),
    "gelu": _made("gelu", lambda x, approximate: tf.nn.gelu(x, approximate=approximate == "tanh")),
    "silu": _made("silu", tf.nn.silu),
    "mish": _made("mish", lambda x: x * tf.math.tanh(tf.nn.softplus(x))),
    "hardswish": _made("hardswish", lambda x: x * (tf.nn.relu6(x + 3) / 6)),
    "softplus": _made("softplus", _softplus),
    "sigmoid": _made("sigmoid", tf.math.sigmoid),
    "hardsigmoid": _made("hardsigmoid", lambda x: tf.nn.relu6(x + 3) / 6),
    "tanh": _made("tanh", tf.math.tanh),
    "softmax": functional.softmax,
}

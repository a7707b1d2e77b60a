"""The family in Keras: one entry an activation. The public names and the specs are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from relume.activations import ACTIVATIONS
from relume.keras import functional, layers


@dataclass(frozen=True)
class KerasActivation:
    """How Keras has one activation.

    Attributes:
        function: of ``relume.keras.functional``.
        layer: of ``relume.keras``.
        native: the function's name in ``keras.activations``, "" where Keras has none.
    """

    function: Callable[..., Any]
    layer: type[keras.layers.Layer]
    native: str = ""


def _made(name: str, native: str = "") -> KerasActivation:
    return KerasActivation(functional.made(name), layers.made(ACTIVATIONS[name]), native)


FAMILY: dict[str, KerasActivation] = {
    "relu": KerasActivation(functional.relu, layers.ReLU, "relu"),
    "leaky_relu": KerasActivation(functional.made("leaky_relu"), layers.LeakyReLU, "leaky_relu"),
    "prelu": KerasActivation(functional.prelu, layers.PReLU),
    "rrelu": KerasActivation(functional.rrelu, layers.RReLU),
    "relu6": _made("relu6", "relu6"),
    "elu": KerasActivation(functional.made("elu"), layers.ELU, "elu"),
    "celu": _made("celu", "celu"),
    "selu": _made("selu", "selu"),
    "relu_squared": _made("relu_squared"),
    "leaky_squared": _made("leaky_squared"),
    "gelu": _made("gelu", "gelu"),
    "silu": _made("silu", "silu"),
    "mish": _made("mish", "mish"),
    "hardswish": _made("hardswish", "hard_silu"),
    "softplus": _made("softplus", "softplus"),
    "sigmoid": _made("sigmoid", "sigmoid"),
    "hardsigmoid": _made("hardsigmoid", "hard_sigmoid"),
    "tanh": _made("tanh", "tanh"),
}
"""Softmax is ``keras.layers.Softmax`` as it is."""

LAYERS = {member.layer.__name__: member.layer for member in FAMILY.values()}

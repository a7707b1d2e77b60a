"""What an activation is: one file each, NumPy only.

A newcomer adds one file with its ``ACTIVATION`` and its module to ``_MODULES``; ``relume list``, ``relume
explain``, ``relume plot``, the functions of ``relume.numpy`` and the tests take it from here.
"""

from __future__ import annotations

from relume.activations import (
    celu,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    leaky_squared,
    mish,
    prelu,
    relu,
    relu6,
    relu_squared,
    rrelu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from relume.activations._namespace import NUMPY
from relume.activations.definition import FLAT_SLOPE, Activation, Kink, Parameter, Source
from relume.errors import unknown_name

_MODULES = (
    *(relu, leaky_relu, prelu, rrelu, relu6, elu, celu, selu, relu_squared, leaky_squared),
    *(gelu, silu, mish, hardswish, softplus, sigmoid, hardsigmoid, tanh, softmax),
)

ACTIVATIONS: dict[str, Activation] = {module.ACTIVATION.name: module.ACTIVATION for module in _MODULES}
"""Every activation by its name: the rectifiers first, then those that they are compared with."""

__all__ = ["ACTIVATIONS", "FLAT_SLOPE", "NUMPY", "Activation", "Kink", "Parameter", "Source", "get"]


def get(name: str) -> Activation:
    """Find an activation by name; case, ``-``, ``_`` and spaces do not matter, and aliases count.

    Raises: UnknownName: lists the nearest and all names.

    Example:
        >>> get("LeakyReLU").name, get("swish").name
        ('leaky_relu', 'silu')
    """
    spelled = {
        _squeeze(known): activation
        for activation in ACTIVATIONS.values()
        for known in (activation.name, *activation.aliases)
    }
    try:
        return spelled[_squeeze(name)]
    except KeyError:
        raise unknown_name("activation", name, ACTIVATIONS) from None


def _squeeze(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")

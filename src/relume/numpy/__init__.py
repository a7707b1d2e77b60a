"""The family on NumPy arrays: the reference against which every other framework's ops are tested.

Example:
    >>> import relume.numpy as rn
    >>> rn.elu([-1.0, 0.0, 2.0]).round(4).tolist()
    [-0.6321, 0.0, 2.0]
    >>> rn.slope("elu", [-1.0, 0.0, 2.0]).round(4).tolist()
    [0.3679, 1.0, 1.0]
"""

from relume.numpy.functional import (
    celu,
    elu,
    gelu,
    leaky_relu,
    prelu,
    relu,
    relu6,
    rrelu,
    selu,
    sigmoid,
    silu,
    slope,
    softmax,
    tanh,
)

__all__ = [
    "celu",
    "elu",
    "gelu",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "slope",
    "softmax",
    "tanh",
]

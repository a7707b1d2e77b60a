"""The family on TensorFlow tensors, without Keras: eager, ``tf.function``, XLA.

Example:
    >>> import relume.tensorflow as rtf
    >>> rtf.elu([-1.0, 0.0, 2.0]).numpy().round(2).tolist()
    [-0.6299999952316284, 0.0, 2.0]
"""

from relume.tensorflow.functional import (
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
    "softmax",
    "tanh",
]

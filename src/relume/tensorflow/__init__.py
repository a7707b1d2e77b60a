"""The family on TensorFlow tensors, without Keras: eager, ``tf.function``, XLA.

Example:
    >>> import relume.tensorflow as rtf
    >>> rtf.elu([-1.0, 0.0, 2.0]).numpy().round(2).tolist()
    [-0.6299999952316284, 0.0, 2.0]
"""

from __future__ import annotations

from typing import Any

from relume.tensorflow.family import FAMILY

__all__ = [*FAMILY]


def __getattr__(name: str) -> Any:
    if name in FAMILY:
        return FAMILY[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

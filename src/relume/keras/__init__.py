"""The family for Keras 3, on TensorFlow, JAX and PyTorch: layers here, functions in :mod:`relume.keras.functional`.

Example:
    >>> import keras, relume.keras
    >>> model = keras.Sequential([keras.layers.Dense(4), relume.keras.RReLU(seed=0)])
    >>> tuple(model(keras.ops.ones((2, 3))).shape)
    (2, 4)
"""

from relume.keras.layers import CELU, ELU, SELU, LeakyReLU, PReLU, ReLU, ReLU6, RReLU

__all__ = ["CELU", "ELU", "SELU", "LeakyReLU", "PReLU", "RReLU", "ReLU", "ReLU6"]

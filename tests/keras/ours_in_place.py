"""A pytest plugin: our classes and functions in the place of Keras's, before Keras's own tests are imported."""

from __future__ import annotations

import keras.src.activations as activations
from keras.src.layers.activations import elu, leaky_relu, prelu, relu

import relume.keras
from relume.keras import functional

relu.ReLU = relume.keras.ReLU
leaky_relu.LeakyReLU = relume.keras.LeakyReLU
prelu.PReLU = relume.keras.PReLU
elu.ELU = relume.keras.ELU
for name in ("relu", "leaky_relu", "relu6", "elu", "celu", "selu"):
    setattr(activations, name, getattr(functional, name))

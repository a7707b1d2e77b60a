"""Keras's activation layers and ours as specs, and back."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import keras
import numpy as np

from relume.activations import ACTIVATIONS
from relume.activations.spec import Spec
from relume.errors import SpecError
from relume.keras import layers
from relume.keras.family import FAMILY


def to_spec(layer: Any) -> Spec | None:
    """Describe a layer; None: it is no activation layer, or a subclass that computes something else."""
    if isinstance(layer, FunctionType):
        return _function(layer)
    computes = next((kind for kind in type(layer).__mro__ if "call" in vars(kind)), None)
    if computes is None or not computes.__module__.startswith(("keras.", "relume.")):
        return None
    kinds = keras.layers
    if isinstance(layer, kinds.PReLU):
        return _prelu(layer)
    if isinstance(layer, kinds.ReLU):
        return _relu(layer)
    if isinstance(layer, kinds.Softmax):
        return _softmax(layer)
    if isinstance(layer, kinds.Activation):
        return _function(layer.activation)
    for name, member in FAMILY.items():
        if isinstance(layer, getattr(kinds, member.layer.__name__, member.layer)):
            return Spec(name, {p.name: _plain(getattr(layer, p.name)) for p in ACTIVATIONS[name].parameters})
    return None


def _plain(parameter: Any) -> Any:
    return parameter if isinstance(parameter, str) else float(parameter)


def from_spec(spec: Spec, package: str) -> Any:
    """relume's layer that computes the same, PReLU built and with its slopes.

    Raises: SpecError: Keras has no equal, or PReLU needs ``ndim``.
    """
    name, parameters = spec.activation, dict(spec.parameters)
    if name == "prelu":
        return _made_prelu(spec)
    if name == "leaky_relu" and parameters["negative_slope"] < 0:
        raise SpecError(
            f"Keras's LeakyReLU takes no negative slope, but this one has {parameters['negative_slope']}.",
            slug="no-equal",
        )
    if name == "softmax":
        return keras.layers.Softmax(spec.axes[0] if spec.axes else -1)
    return FAMILY[name].layer(**parameters)


def _prelu(layer: Any) -> Spec:
    if not layer.built:
        raise SpecError(
            f"The PReLU {layer.name!r} has no slopes until it is built. Call it, or its model, once.",
            slug="layer-not-built",
        )
    alpha = np.asarray(keras.ops.convert_to_numpy(layer.alpha))
    axes = tuple(axis + 1 for axis, size in enumerate(alpha.shape) if size > 1)
    return Spec("prelu", {"weight": alpha.squeeze()}, axes, alpha.ndim + 1)


def _made_prelu(spec: Spec) -> Any:
    ndim = spec.rank("Keras's PReLU has a slope for each axis but the batch's")
    weight = np.asarray(spec.parameters["weight"])
    if 0 in spec.axes:
        raise SpecError(
            "This PReLU has slopes along axis 0, the batch; Keras's has none there.",
            slug="no-equal",
        )
    laid = [1] * ndim
    for axis, size in zip(spec.axes, weight.shape, strict=True):
        laid[axis] = size
    layer = layers.PReLU(shared_axes=[axis for axis in range(1, ndim) if axis not in spec.axes])
    layer.build((None, *(laid[axis] if axis in spec.axes else None for axis in range(1, ndim))))
    layer.alpha.assign(weight.reshape(laid[1:]))
    return layer


def _relu(layer: Any) -> Spec:
    if layer.threshold == 0 and layer.max_value is None:
        slope = float(layer.negative_slope)
        return Spec("leaky_relu", {"negative_slope": slope}) if slope else Spec("relu")
    if layer.threshold == 0 and layer.max_value == 6 and layer.negative_slope == 0:
        return Spec("relu6")
    raise SpecError(
        f"keras.layers.ReLU(max_value={layer.max_value}, negative_slope={layer.negative_slope}, "
        f"threshold={layer.threshold}) is not a ReLU, LeakyReLU or ReLU6.",
        slug="no-equal",
    )


def _softmax(layer: Any) -> Spec:
    if not isinstance(layer.axis, int):
        raise SpecError(
            f"keras.layers.Softmax over the axes {layer.axis} has no equivalent: softmax sums along one axis.",
            slug="no-equal",
        )
    return Spec("softmax", axes=(layer.axis,))


def _function(function: Any) -> Spec | None:
    if function is keras.activations.softmax:
        return Spec("softmax", axes=(-1,))
    for name, member in FAMILY.items():
        if function is member.function or (member.native and function is getattr(keras.activations, member.native)):
            own = {p.name: p.defaults.get("keras.activations", p.default) for p in ACTIVATIONS[name].parameters}
            return Spec(name, own)
    return None

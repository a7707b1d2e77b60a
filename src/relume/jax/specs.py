"""JAX's activations as specs, and back: functions, and the modules of Flax and Equinox where these are loaded."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relume import activations
from relume.activations import ACTIVATIONS
from relume.activations.spec import Spec
from relume.errors import SpecError
from relume.jax import functional
from relume.jax.family import FAMILY

MODULES = ("relume.jax.flax", "relume.jax.equinox")


@partial(jax.tree_util.register_dataclass, data_fields=["weight"], meta_fields=["activation", "fixed"])
@dataclass(frozen=True)
class ActivationFunction:
    """A function of ``relume.jax`` with its parameters: a pytree whose one leaf is PReLU's slopes.

    Attributes:
        activation: its name.
        fixed: the other parameters, as pairs.
        weight: the slopes, None for all but PReLU.
    """

    activation: str
    fixed: tuple[tuple[str, Any], ...] = ()
    weight: Any = None

    def __call__(self, x: Any, **keywords: Any) -> jax.Array:
        """Its value; ``keywords`` as ``training`` and ``key`` of RReLU."""
        learned = {} if self.weight is None else {"weight": self.weight}
        return getattr(functional, self.activation)(x, **dict(self.fixed), **learned, **keywords)


def to_spec(layer: Any) -> Spec | None:
    """Describe a function of ``jax.nn`` or ``relume.jax``, a function made by :func:`from_spec`, or a module.

    Equinox's own PReLU with slopes of two or more axes is taken to be for examples of that many.
    """
    if isinstance(layer, ActivationFunction):
        return _of_made(layer)
    if type(layer).__module__ in MODULES:
        return _of_module(layer, activations.get(type(layer).__name__).name)
    if "flax" in sys.modules and isinstance(layer, sys.modules["flax"].nnx.PReLU):
        return Spec("prelu", {"weight": np.asarray(layer.negative_slope[...])})
    if "flax.linen" in sys.modules and isinstance(layer, sys.modules["flax.linen"].PReLU):
        bound = layer.scope is not None  # else it has no slope yet, only where it starts
        return Spec("prelu", {"weight": np.asarray(_slope_of(layer) if bound else layer.negative_slope_init)})
    if "equinox" in sys.modules and isinstance(layer, sys.modules["equinox"].nn.PReLU):
        return _of_equinox(layer)
    return _of_function(layer)


def from_spec(spec: Spec, package: str) -> Any:
    """The function, or the module of Flax or Equinox, that computes the same.

    Raises: SpecError: the libraries' modules are those of the family; the others are functions.
    """
    if package == "jax":
        return _made_function(spec)
    activation = ACTIVATIONS[spec.activation]
    if not activation.elementwise:
        raise SpecError(
            f"{package} has no module for {activation.name}: it is a function. Use from_spec(spec, 'jax').",
            slug="no-equal",
        )
    if package == "flax":
        from relume.jax import flax as modules
    else:
        from relume.jax import equinox as modules  # type: ignore[no-redef]
    kind = getattr(modules, activation.title)
    if spec.activation != "prelu":
        return kind(**spec.parameters)
    weight = jnp.asarray(spec.parameters["weight"])
    axes = _of_one_example(spec.axes) if package == "equinox" else spec.axes
    layer = kind(weight.shape, axis=axes or -1)
    if package == "flax":
        layer.weight[...] = weight
        return layer
    return sys.modules["equinox"].tree_at(lambda module: module.weight, layer, weight)


def _made_function(spec: Spec) -> ActivationFunction:
    parameters = dict(spec.parameters)
    weight = jnp.asarray(parameters.pop("weight")) if spec.activation == "prelu" else None
    if spec.activation == "softmax":
        parameters["axis"] = spec.axes[0] if spec.axes else -1
    if spec.activation == "prelu":
        parameters["axis"] = spec.axes or -1
    return ActivationFunction(spec.activation, tuple(parameters.items()), weight)


def _slope_of(layer: Any) -> Any:
    return layer.variables["params"]["negative_slope"]


def _of_made(layer: ActivationFunction) -> Spec:
    parameters = dict(layer.fixed)
    axis = parameters.pop("axis", ())
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if layer.weight is not None:
        parameters["weight"] = np.asarray(layer.weight)
        axes = axes if parameters["weight"].ndim else ()
    return Spec(layer.activation, parameters, axes)


def _of_module(layer: Any, name: str) -> Spec:
    if name == "prelu":
        flax = type(layer).__module__ == "relume.jax.flax"
        weight = np.asarray(layer.weight[...] if flax else layer.weight)
        axes = (layer.axis,) if isinstance(layer.axis, int) else tuple(layer.axis)
        if weight.ndim == 0:
            axes = ()
        return Spec(name, {"weight": weight}, axes if flax else _of_a_batch(axes))
    return Spec(name, {p.name: getattr(layer, p.name) for p in ACTIVATIONS[name].parameters})


def _of_equinox(layer: Any) -> Spec:
    weight = np.asarray(layer.negative_slope)
    if weight.ndim < 2:  # broadcasts along the last axis, however many there are
        return Spec("prelu", {"weight": weight}, () if weight.size == 1 else (-1,))
    axes = tuple(axis + 1 for axis, size in enumerate(weight.shape) if size > 1)
    return Spec("prelu", {"weight": weight.squeeze()}, axes, weight.ndim + 1)


def _of_a_batch(axes: tuple[int, ...]) -> tuple[int, ...]:
    """Equinox's layers take one example: a spec counts the batch's axis too."""
    return tuple(axis + 1 if axis >= 0 else axis for axis in axes)


def _of_one_example(axes: tuple[int, ...]) -> tuple[int, ...]:
    if 0 in axes:
        raise SpecError("This PReLU has slopes along axis 0, the batch; Equinox modules see no batch.", slug="no-equal")
    return tuple(axis - 1 if axis > 0 else axis for axis in axes)


def _of_function(layer: Any) -> Spec | None:
    """The spec of a function of JAX or relume, or of a partial with numbers for its parameters."""
    function = layer.func if isinstance(layer, partial) and not layer.args else layer
    for name, member in FAMILY.items():
        is_native = any(function is native for native in member.natives)
        if function is not member.function and not is_native:
            continue
        axes = (-1,) if name == "softmax" else ()
        if not is_native and not isinstance(layer, partial):
            return Spec(name, axes=axes)
        known = {
            p.name: p.defaults.get("jax", p.default) if is_native else p.default for p in ACTIVATIONS[name].parameters
        }
        return Spec(name, known | _given(layer, name), axes)
    return None


def _given(layer: Any, name: str) -> dict[str, Any]:
    """The parameters that a partial holds, by the definition's names and kinds."""
    if not isinstance(layer, partial):
        return {}
    found = dict(layer.keywords)
    if isinstance(found.get("approximate"), bool):
        found["approximate"] = "tanh" if found["approximate"] else "none"
    return found

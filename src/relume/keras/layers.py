"""The family as Keras layers, for every backend of Keras that :mod:`relume.keras.functional` has.

Names, arguments, defaults, weights and configurations are those of ``keras.layers`` where it has the layer, and ours
are subclasses of these. ``PReLU.from_config(old.get_config())`` and weights that were saved with Keras's layers go on
in ours; ``keras.models.clone_model`` with a ``clone_function`` does it for a whole model (Keras does not let
``custom_objects`` take the place of its own layers). Inputs are cast as every Keras layer casts them: to the compute
dtype of its policy.
"""

from __future__ import annotations

from typing import Any

import keras

from relume.activations import ACTIVATIONS, Activation
from relume.activations._edge import axis_of, bound
from relume.errors import ParameterError, ShapeError
from relume.keras import functional

registered = keras.saving.register_keras_serializable(package="relume")


class _Elementwise(keras.layers.Layer):
    """A layer without weights that keeps the shape."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@registered
class ReLU(keras.layers.ReLU):
    """``max(0, x)``, with Keras's generalizations. See :func:`relume.keras.functional.relu`.

    Args:
        max_value: where it stops; None: nowhere.
        negative_slope: slope below ``threshold``.
        threshold: above it the layer is the identity.
        **kwargs: of every layer, such as ``name`` and ``dtype``.

    Raises: ValueError: one of them is below 0 or no finite number.
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(max_value, negative_slope, threshold, **kwargs)
        functional._non_negative(max_value=max_value, negative_slope=negative_slope, threshold=threshold)

    def call(self, inputs: Any) -> Any:
        return functional.relu(inputs, self.negative_slope, self.max_value, self.threshold)


@registered
class LeakyReLU(keras.layers.LeakyReLU):
    """``x if x > 0 else negative_slope * x``. See :mod:`relume.activations.leaky_relu`.

    Args:
        negative_slope: slope below 0; as Keras's layer it starts at 0.3, and is not below 0.
        **kwargs: of every layer; also ``alpha``, the old name of ``negative_slope``.
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        super().__init__(negative_slope, **kwargs)
        ACTIVATIONS["leaky_relu"].check(negative_slope=self.negative_slope)

    def call(self, inputs: Any) -> Any:
        return functional.leaky_relu(inputs, self.negative_slope)


@registered
class PReLU(keras.layers.PReLU):
    """``x if x > 0 else alpha * x``, alpha learned. See :mod:`relume.activations.prelu`.

    The weight is ``alpha``, of shape ``input_shape[1:]`` with 1 on the shared axes, as Keras's layer has it.

    Args:
        alpha_initializer: of the slopes: as in Keras 0, so that a fresh layer is ReLU; PyTorch starts at 0.25.
        alpha_regularizer: of the slopes.
        alpha_constraint: of the slopes.
        shared_axes: the axes along which one slope is shared, counted with the batch axis as 0, or from the back.
            Keras's own layer takes −1 for the last but one.
        **kwargs: of every layer, such as ``name`` and ``dtype``.

    Raises:
        ParameterError: a shared axis that is no integer, or is the batch axis.
        ShapeError: when it is built: the input has no such axis, or an axis that is not shared has no known size.
    """

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(alpha_initializer, alpha_regularizer, alpha_constraint, shared_axes, **kwargs)
        for axis in self.shared_axes or ():
            if not isinstance(axis, int) or isinstance(axis, bool) or axis == 0:
                raise ParameterError(
                    f"PReLU: shared_axes = {shared_axes!r}. Expected integers other than 0: the batch axis never has "
                    "slopes of its own, and 1 is the one after it.",
                    slug="shared-axes",
                )

    def build(self, input_shape: Any) -> None:
        shared = {self._place(axis, input_shape) for axis in self.shared_axes or ()}
        own = {axis: size for axis, size in enumerate(input_shape) if axis > 0 and axis not in shared}
        for axis, size in own.items():
            if size is None:
                raise ShapeError(
                    f"PReLU: axis {axis} of the input, of shape {tuple(input_shape)}, has no known size, so its slopes "
                    "cannot be made. Give the size, or share the axis with shared_axes.",
                    slug="size-unknown",
                )
        self.alpha = self.add_weight(
            shape=[own.get(axis, 1) for axis in range(1, len(input_shape))],
            name="alpha",
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape), axes=own)

    def call(self, inputs: Any) -> Any:
        return functional.prelu(inputs, self.alpha, tuple(range(1, len(inputs.shape))))

    def _place(self, axis: int, shape: Any) -> int:
        place = axis_of(axis, tuple(shape))
        if place == 0:
            raise ShapeError(
                f"PReLU: shared_axes = {self.shared_axes}: {axis} is the batch axis of shape {tuple(shape)}. "
                f"Give axes from 1 to {len(shape) - 1}.",
                slug="axis-out-of-range",
            )
        return place


@registered
class RReLU(_Elementwise):
    """``x if x > 0 else s * x``: s drawn in training, the mean of the bounds otherwise.

    See :mod:`relume.activations.rrelu`. Keras has no such layer.

    Args:
        lower: least slope.
        upper: greatest slope.
        seed: an integer, for slopes that a new run repeats.
        **kwargs: of every layer, such as ``name`` and ``dtype``.

    Raises: ParameterError: ``lower`` above ``upper``, or a bound that is no finite number.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        ACTIVATIONS["rrelu"].check(lower=lower, upper=upper)
        self.lower, self.upper, self.seed = lower, upper, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return functional.rrelu(inputs, self.lower, self.upper, bool(training), self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"lower": self.lower, "upper": self.upper, "seed": self.seed}


@registered
class ELU(keras.layers.ELU):
    """``x if x > 0 else alpha * (exp(x) - 1)``. See :mod:`relume.activations.elu`.

    Args:
        alpha: finite, ≥ 0.
        **kwargs: of every layer, such as ``name`` and ``dtype``.
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(alpha, **kwargs)
        ACTIVATIONS["elu"].check(alpha=alpha)

    def call(self, inputs: Any) -> Any:
        return functional.elu(inputs, self.alpha)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"alpha": self.alpha}


def made(activation: Activation) -> type[keras.layers.Layer]:
    """A layer of an activation that Keras has none of, with the definition's parameters."""
    defaults = activation.defaults()

    def __init__(self: Any, *given: Any, **named: Any) -> None:
        own = bound(activation, given, {name: named.pop(name) for name in [*named] if name in defaults})
        super(kind, self).__init__(**named)
        for name, number in activation.check(**own).items():
            setattr(self, name, number)

    def call(self: Any, inputs: Any) -> Any:
        return getattr(functional, activation.name)(inputs, **{name: getattr(self, name) for name in defaults})

    def get_config(self: Any) -> dict[str, Any]:
        return super(kind, self).get_config() | {name: getattr(self, name) for name in defaults}

    doc = f"``{activation.formula}``. See :mod:`relume.activations.{activation.name}`.\n\n    Args:\n"
    doc += "".join(f"        {p.name}: {p.meaning}, in {p.interval}.\n" for p in activation.parameters)
    doc += "        **kwargs: of every layer, such as ``name`` and ``dtype``.\n"
    own = {"__init__": __init__, "call": call, "get_config": get_config, "__doc__": doc, "__module__": __name__}
    kind = registered(type(activation.title, (_Elementwise,), own))
    return kind


def __getattr__(name: str) -> Any:
    from relume.keras.family import LAYERS

    if name in LAYERS:
        return LAYERS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

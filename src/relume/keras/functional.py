"""The family as Keras functions, on the backend that Keras runs on: TensorFlow, JAX or PyTorch.

Names, signatures and defaults are those of ``keras.activations`` where it has the function. All take a tensor, an
array or a ``KerasTensor`` (then they become a serializable operation of the functional model) of any shape, and return
one of its shape and dtype. The numbers are computed by ``relume.tensorflow``, ``relume.jax`` or ``relume.torch``: the
same everywhere, where Keras's own differ from backend to backend (``deviations.toml``). Integer, bool, complex and
8-bit floating tensors are a DtypeError (``relu`` and ``relu6`` keep integers), a parameter outside its bounds a
ParameterError.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras

from relume.activations import ACTIVATIONS
from relume.activations._edge import axes_of, function_of, require_dtype
from relume.errors import MissingExtra, ParameterError

BACKEND = keras.backend.backend()

if BACKEND == "tensorflow":
    from relume.tensorflow import functional as native
elif BACKEND == "jax":
    from relume.jax import functional as native  # type: ignore[no-redef]  # one of the three
elif BACKEND == "torch":
    from relume.torch import functional as native  # type: ignore[no-redef]  # one of the three
else:
    raise MissingExtra(
        f"relume.keras runs on Keras's backends tensorflow, jax and torch; got {BACKEND}. "
        "Set KERAS_BACKEND to one of these before Keras is imported.",
        slug="keras-backend",
    )


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """``max(0, x)``; Keras's generalization of it where the other parameters are given.

    ``max_value`` from there up, ``x`` above ``threshold``, else ``negative_slope * (x - threshold)``. At a kink the
    slope is the one below it at ``threshold``, and 0 at ``max_value``.

    Raises: ParameterError: a parameter that is no finite number, or is below 0.

    Example:
        >>> keras.ops.convert_to_numpy(relu([-10.0, -5.0, 0.0, 5.0, 10.0], max_value=6.0)).tolist()
        [0.0, 0.0, 0.0, 5.0, 6.0]
    """
    parameters = {"negative_slope": negative_slope, "max_value": max_value, "threshold": threshold}
    _non_negative(**parameters)
    return _called("relu", _relu, x, **parameters)


def prelu(x: Any, weight: Any, axis: int | Sequence[int] = -1) -> Any:
    """``x if x > 0 else weight * x``. See :mod:`relume.activations.prelu`.

    Args:
        x: floating tensor, shape (N, …, C) where ``axis`` is −1.
        weight: the slopes: a number, tensor or variable; one slope, or one axis for each of ``axis``. They are
            converted to the dtype of ``x``.
        axis: the axis that the slopes run along, or a tuple of them.

    Raises: ShapeError: ``weight`` does not fit ``x``, or ``x`` has no such axis.

    Example:
        >>> keras.ops.convert_to_numpy(prelu([[-1.0, -1.0], [-1.0, -1.0]], [0.5, 0.25], axis=0)).tolist()
        [[-0.5, -0.5], [-0.25, -0.25]]
    """
    axis = axis if isinstance(axis, int) else axes_of(axis)
    return _called("prelu", _prelu, x, weight, axis=axis)


def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, seed: Any = None) -> Any:
    """``x if x > 0 else s * x``, with s the mean of the bounds, or drawn in training.

    See :mod:`relume.activations.rrelu`.

    Args:
        x: floating tensor, any shape.
        lower: least slope.
        upper: greatest slope.
        training: draw one slope per element from U(lower, upper), for x > 0 too: the draws do not depend on the data.
        seed: as for ``keras.random.uniform``: an integer gives the same slopes at each call, a
            ``keras.random.SeedGenerator`` new ones, None Keras's global generator.

    Example:
        >>> keras.ops.convert_to_numpy(rrelu([-1.0, 1.0], 0.25, 0.75)).tolist()
        [-0.5, 1.0]
    """
    ACTIVATIONS["rrelu"].check(lower=lower, upper=upper)
    if training:
        return _called("rrelu", _rrelu, x, lower=lower, upper=upper, training=True, seed=seed)
    return _called("rrelu", native.rrelu, x, lower=lower, upper=upper)


@keras.saving.register_keras_serializable(package="relume")
class Function(keras.Operation):
    """One of these functions as a node of a functional model.

    Args:
        function: its name.
        parameters: its keyword arguments.
        name: of the node.
    """

    def __init__(self, function: str, parameters: dict[str, Any] | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.function, self.parameters = function, dict(parameters or {})

    def call(self, x: Any, *slopes: Any) -> Any:
        return getattr(sys.modules[__name__], self.function)(x, *slopes, **self.parameters)

    def compute_output_spec(self, x: Any, *slopes: Any) -> Any:
        return keras.KerasTensor(x.shape, dtype=x.dtype)

    def get_config(self) -> dict[str, Any]:
        parameters = keras.saving.serialize_keras_object(self.parameters)
        return {"function": self.function, "parameters": parameters, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Function:
        return cls(**config | {"parameters": keras.saving.deserialize_keras_object(config["parameters"])})


def _called(name: str, function: Any, x: Any, *slopes: Any, **parameters: Any) -> Any:
    """``function`` on tensors of the backend; of a KerasTensor the dtype and the parameters are checked at once."""
    activation = ACTIVATIONS[name]
    own = {parameter.name for parameter in activation.parameters}
    activation.check(**{k: v for k, v in parameters.items() if k in own})
    if isinstance(x, keras.KerasTensor):
        _require(activation, x)
        return Function(name, parameters)(x, *slopes)
    x = keras.ops.convert_to_tensor(x)
    _require(activation, x)
    if name == "rrelu":
        parameters.pop("training", None)
    return function(x, *slopes, **parameters)


def _require(activation: Any, x: Any) -> None:
    require_dtype(activation, keras.backend.standardize_dtype(x.dtype), tuple(x.shape), 'keras.ops.cast(x, "float32")')


def _relu(x: Any, negative_slope: float, max_value: float | None, threshold: float) -> Any:
    integers = keras.backend.standardize_dtype(x.dtype).startswith(("int", "uint"))
    if integers and (negative_slope or threshold):  # no meaning on integers
        require_dtype(ACTIVATIONS["leaky_relu"], keras.backend.standardize_dtype(x.dtype), tuple(x.shape), "a cast")
    if max_value == 6 and not negative_slope and not threshold:
        return native.relu6(x)
    if threshold:
        lower = 0.0 if not negative_slope else negative_slope * (x - threshold)
        y = keras.ops.where(x <= threshold, lower, x)
    else:
        y = native.leaky_relu(x, negative_slope) if negative_slope else native.relu(x)
    if max_value is None:
        return y
    return keras.ops.where(y >= max_value, keras.ops.full_like(y, max_value), y)


def _prelu(x: Any, weight: Any, axis: int | tuple[int, ...]) -> Any:
    return native.prelu(x, keras.ops.convert_to_tensor(weight, dtype=x.dtype), axis)


def _rrelu(x: Any, lower: float, upper: float, seed: Any) -> Any:
    dtype = keras.backend.standardize_dtype(x.dtype)
    wide = dtype if dtype == "float64" else "float32"  # the halves have too few numbers between the bounds
    slopes = keras.random.uniform(keras.ops.shape(x), lower, upper, dtype=wide, seed=seed)
    slopes = keras.ops.stop_gradient(keras.ops.cast(slopes, dtype))
    return native.prelu(x, slopes, tuple(range(len(x.shape))))


def _non_negative(**parameters: Any) -> None:
    """Keras refuses values below 0; nan and inf are refused here too."""
    for name, given in parameters.items():
        if given is None and name == "max_value":
            continue
        if not isinstance(given, Real) or not 0 <= float(given) < float("inf"):
            raise ParameterError(
                f"ReLU: {name} = {given!r}. Expected a finite number that is at least 0.",
                slug="parameter-out-of-bounds",
            )


def made(name: str) -> Any:
    """A function that its backend computes with the definition's parameters, and the defaults of Keras's function."""
    return function_of(
        ACTIVATIONS[name],
        lambda x, **parameters: _called(name, getattr(native, name), x, **parameters),
        __name__,
        framework="keras.activations",
    )


def __getattr__(name: str) -> Any:
    from relume.keras.family import FAMILY

    if name in FAMILY:
        return FAMILY[name].function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The layers on one backend of Keras: run by ``test_backends.py`` in a process of its own for each.

A check takes the layers as an argument, so that the planted faults below can be given to it.
"""

from __future__ import annotations

import doctest
import inspect
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from serve_keras import differentiated

import relume.keras
import relume.keras.functional as functional
from relume.errors import DtypeError, ParameterError, RelumeError, ShapeError

OURS = SimpleNamespace(**{name: getattr(relume.keras, name) for name in relume.keras.__all__})
NAMES = sorted(relume.keras.__all__)
RNG = np.random.default_rng(11)


def array(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def dtype_of(tensor: Any) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


# ---- checks --------------------------------------------------------------------------------------------------------


def check_shared_axes(layers: Any) -> None:
    """Sizes that coincide, axes from both ends, no two slopes alike; values, slopes, and the gradient of the slopes."""
    for shared, shape in {
        None: (4, 4, 4),
        1: (1, 4, 4),
        (1, 2): (1, 1, 4),
        (2, 3): (4, 1, 1),
        (-1,): (4, 4, 1),
        (-2,): (4, 1, 4),
        (1, -1): (1, 4, 1),
        (-3, -2): (1, 1, 4),
        (1, 2, 3): (1, 1, 1),
    }.items():
        layer = layers.PReLU(shared_axes=shared)
        x = RNG.normal(size=(2, 4, 4, 4)).astype("float32")
        layer.build(x.shape)
        assert tuple(layer.alpha.shape) == shape, shared
        alpha = RNG.uniform(0.1, 0.9, size=shape).astype("float32")
        layer.alpha.assign(alpha)
        value, slope = differentiated(layer, x)
        np.testing.assert_allclose(value, np.where(x > 0, x, alpha * x), rtol=1e-6)
        np.testing.assert_allclose(slope, np.where(x > 0, 1, np.broadcast_to(alpha, x.shape)), rtol=1e-6)


def check_random_slopes(layers: Any) -> None:
    """Drawn in training, by one sample for value and gradient and whatever the data; their mean at evaluation."""
    x = np.full((40, 50), -1, "float32")
    layer = layers.RReLU(0.2, 0.6, seed=3)
    first, slope = differentiated(lambda t: layer(t, training=True), x)
    np.testing.assert_array_equal(-first, slope)
    assert -first.max() >= 0.2
    assert -first.min() <= 0.6
    assert abs(slope.mean() - 0.4) < 0.02
    assert len(np.unique(first)) > 1900
    assert not np.array_equal(first, array(layer(x, training=True)))
    twin = layers.RReLU(0.2, 0.6, seed=3)
    np.testing.assert_array_equal(array(twin(x, training=True)), first)
    mixed = array(layers.RReLU(0.2, 0.6, seed=3)(np.where(np.arange(50) % 2, x, 1), training=True))
    np.testing.assert_array_equal(mixed[:, 1::2], first[:, 1::2])
    np.testing.assert_array_equal(mixed[:, ::2], 1)
    for evaluated in (layer(x), layer(x, training=False)):
        np.testing.assert_allclose(array(evaluated), -0.4, rtol=1e-6)


def check_kinks(layers: Any) -> None:
    """The slope at 0, and at 6: PyTorch's, on every backend; NaN gives NaN, and the stated slope (0 in TensorFlow)."""
    unknown = 0 if keras.backend.backend() == "tensorflow" else 1
    at = np.array([0.0, -0.0, 6.0, np.nan], "float32")
    prelu = layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1])
    scaled, scale = 1.7580993, 1.050701
    for layer, slopes in (
        (layers.ReLU(), (0, 0, 1, unknown)),
        (layers.ReLU6(), (0, 0, 0, unknown)),
        (layers.ReLU(6.0), (0, 0, 0, unknown)),
        (layers.LeakyReLU(), (0.3, 0.3, 1, 0.3)),
        (prelu, (0.25, 0.25, 1, 0.25)),
        (layers.ELU(2.0), (2, 2, 1, 1)),
        (layers.CELU(2.0), (1, 1, 1, 1)),
        (layers.SELU(), (scaled, scaled, scale, scale)),
    ):
        value, slope = differentiated(layer, at[None])
        np.testing.assert_allclose(slope[0], slopes, rtol=1e-6, err_msg=layer.name)
        assert np.signbit(value[0][:2]).tolist() == [False, True], layer.name
        assert np.isnan(value[0, 3])


def check_small_inputs(layers: Any) -> None:
    """expm1 and not exp(x) − 1."""
    x = -np.logspace(-12, -1, 23, dtype="float32")
    for layer, factor in ((layers.ELU(2.0), 2.0), (layers.CELU(2.0), 1.0), (layers.SELU(), 1.7580993)):
        by = x.astype("float64") / (2 if layer.name.startswith("celu") else 1)
        expected = factor * np.expm1(by) * (2 if layer.name.startswith("celu") else 1)
        np.testing.assert_allclose(array(layer(x)), expected, rtol=6e-7)


def check_dtypes(layers: Any) -> None:
    """A float64 policy computes in float64; otherwise Keras's own casting; mixed precision."""
    x = np.array([[-1 / 3, 2.0]])
    for name in NAMES:
        layer = getattr(layers, name)(dtype="float64")
        assert dtype_of(layer(x)) == "float64", name
        assert dtype_of(getattr(layers, name)()(x)) == "float32", name
        assert dtype_of(getattr(layers, name)(dtype="mixed_bfloat16")(x)) == "bfloat16", name
    np.testing.assert_array_equal(array(layers.LeakyReLU(0.1, dtype="float64")(x)), [[0.1 * x[0, 0], 2.0]])
    prelu = layers.PReLU(dtype="mixed_float16")
    assert dtype_of(prelu(x)) == "float16"
    assert dtype_of(prelu.alpha) == "float32"


CHECKS = (check_shared_axes, check_random_slopes, check_kinks, check_small_inputs, check_dtypes)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ours_pass(check):
    check(OURS)


# ---- planted faults ------------------------------------------------------------------------------------------------


class OffByOne(relume.keras.PReLU):
    """Keras's own reading of negative axes."""

    def _place(self, axis, shape):
        return super()._place(axis - 1 if axis < 0 else axis, shape)


class LastAxis(relume.keras.PReLU):
    """The slopes are laid along the wrong axes."""

    def call(self, inputs):
        return functional.prelu(inputs, keras.ops.transpose(self.alpha), tuple(range(1, len(inputs.shape))))


class AlwaysRandom(relume.keras.RReLU):
    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


class NeverRandom(relume.keras.RReLU):
    def call(self, inputs, training=False):
        return super().call(inputs, training=False)


class TwoSamples(relume.keras.RReLU):
    """The gradient's slopes are not the value's."""

    def call(self, inputs, training=False):
        value, other = super().call(inputs, training=training), super().call(inputs, training=training)
        return keras.ops.stop_gradient(value) + other - keras.ops.stop_gradient(other)


class SlopeTwo(relume.keras.CELU):
    """As Keras on TensorFlow: both branches pass their gradient at 0."""

    def call(self, inputs):
        below = self.alpha * keras.ops.expm1(-keras.ops.relu(-inputs) / self.alpha)
        twice = keras.ops.where(inputs == 0, inputs, keras.ops.zeros_like(inputs))
        return keras.ops.where(inputs > 0, inputs, below) + twice


class ExpMinusOne(relume.keras.ELU):
    def call(self, inputs):
        return keras.ops.where(inputs > 0, inputs, self.alpha * (keras.ops.exp(inputs) - 1))


class Narrow(relume.keras.LeakyReLU):
    """Casts float64 down."""

    def call(self, inputs):
        return keras.ops.cast(super().call(keras.ops.cast(inputs, "float32")), inputs.dtype)


class KinkOne(relume.keras.ReLU6):
    """Slope 1 at 6."""

    def call(self, inputs):
        return keras.ops.where(inputs > 6, 6.0, super(relume.keras.ReLU6, self).call(inputs))


class KerasPReLU(keras.layers.PReLU):
    """Keras's own, slope 0 at 0."""


FAULTS = (
    (check_shared_axes, "PReLU", OffByOne),
    (check_shared_axes, "PReLU", LastAxis),
    (check_shared_axes, "PReLU", KerasPReLU),
    (check_random_slopes, "RReLU", AlwaysRandom),
    (check_random_slopes, "RReLU", NeverRandom),
    (check_random_slopes, "RReLU", TwoSamples),
    (check_kinks, "CELU", SlopeTwo),
    (check_kinks, "PReLU", KerasPReLU),
    (check_small_inputs, "ELU", ExpMinusOne),
    (check_dtypes, "LeakyReLU", Narrow),
)


@pytest.mark.parametrize(("check", "name", "fault"), FAULTS, ids=lambda part: getattr(part, "__name__", part))
def test_a_planted_fault_is_caught(check, name, fault):
    faulty = SimpleNamespace(**vars(OURS) | {name: fault})
    with pytest.raises(AssertionError):
        check(faulty)


# ---- a user's model ------------------------------------------------------------------------------------------------


def model_of_all(**policy: Any) -> keras.Model:
    """Every layer once, and every function as a node."""
    inputs = keras.Input((3, 5))
    x = keras.layers.Dense(4, **policy)(inputs)
    for layer in (
        OURS.ReLU(max_value=9.0, negative_slope=0.1, threshold=0.5, **policy),
        OURS.LeakyReLU(0.7, **policy),
        OURS.PReLU("ones", "l1", "non_neg", shared_axes=[-2], **policy),
        OURS.RReLU(0.5, 0.7, seed=1, **policy),
        OURS.ReLU6(**policy),
        OURS.ELU(0.5, **policy),
        OURS.CELU(0.5, **policy),
        OURS.SELU(**policy),
    ):
        x = keras.layers.Dense(4, **policy)(layer(x))
    for name in ("relu", "leaky_relu", "relu6", "elu", "celu", "selu", "rrelu"):
        x = getattr(functional, name)(x)
    x = functional.prelu(x, np.array([0.1, 0.2, 0.3], "float32"), axis=1)
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(x))


@pytest.mark.parametrize("policy", [{}, {"dtype": "mixed_bfloat16"}], ids=["float32", "mixed"])
def test_a_model_trains_saves_and_loads(policy, tmp_path):
    keras.utils.set_random_seed(0)
    model = model_of_all(**policy)
    compiled = {} if functional.BACKEND == "torch" else {"jit_compile": functional.BACKEND == "jax" or not policy}
    model.compile(keras.optimizers.Adam(0.01), "mse", **compiled)
    x, y = RNG.normal(size=(64, 3, 5)).astype("float32"), RNG.normal(size=(64, 3, 1)).astype("float32")
    losses = model.fit(x, y, batch_size=16, epochs=2, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    prelu = next(layer for layer in model.layers if isinstance(layer, OURS.PReLU))
    assert prelu.alpha.shape == (1, 4)
    assert np.all(array(prelu.alpha) != 1), "the slopes have not learned"
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    again = next(layer for layer in loaded.layers if isinstance(layer, OURS.RReLU))
    assert (again.lower, again.upper, again.seed) == (0.5, 0.7, 1)


def test_files_and_weights_of_kerass_layers_load_into_ours(tmp_path):
    theirs = (
        keras.layers.ReLU(6.0),
        keras.layers.LeakyReLU(),
        keras.layers.PReLU("uniform", shared_axes=[1]),
        keras.layers.ELU(0.5),
    )
    model = keras.Sequential([keras.Input((3, 5)), *theirs])
    model.save(tmp_path / "old.keras")
    model.save_weights(tmp_path / "old.weights.h5")

    def ours(layer: Any) -> Any:
        kind = getattr(relume.keras, type(layer).__name__, type(layer))
        return kind.from_config(layer.get_config())

    rebuilt = keras.models.clone_model(keras.models.load_model(tmp_path / "old.keras"), clone_function=ours)
    rebuilt.load_weights(tmp_path / "old.weights.h5")
    assert [type(layer).__module__ for layer in rebuilt.layers] == ["relume.keras.layers"] * 4
    x = RNG.normal(size=(4, 3, 5)).astype("float32") * 4
    np.testing.assert_allclose(array(rebuilt(x)), array(model(x)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(array(rebuilt.layers[2].alpha), array(model.layers[2].alpha))


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(keras.layers, name)])
def test_arguments_and_defaults_equal_kerass(name):
    own, theirs = (inspect.signature(getattr(where, name).__init__) for where in (relume.keras, keras.layers))
    assert [(p.name, p.default) for p in own.parameters.values()] == [
        (p.name, p.default) for p in theirs.parameters.values()
    ]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "relu6", "elu", "celu", "selu"])
def test_functions_have_kerass_arguments_and_defaults(name):
    own, theirs = (inspect.signature(getattr(where, name)) for where in (functional, keras.activations))
    assert [(p.name, p.default) for p in own.parameters.values()] == [
        (p.name, p.default) for p in theirs.parameters.values()
    ]


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: OURS.LeakyReLU(float("nan")), ParameterError, r"negative_slope = nan .*\[parameter-out-of-bounds\]"),
        (lambda: OURS.LeakyReLU(-1.0), ValueError, "cannot be None or negative"),
        (lambda: OURS.ReLU(threshold=float("inf")), ParameterError, "threshold = inf"),
        (lambda: OURS.ELU(-1.0), ParameterError, "alpha = -1.0"),
        (lambda: OURS.CELU(0.0), ParameterError, "alpha = 0.0"),
        (lambda: OURS.RReLU(0.5, 0.1), ParameterError, "lower = 0.5 is greater than upper = 0.1"),
        (lambda: OURS.PReLU(shared_axes=[0]), ParameterError, r"batch axis .*\[shared-axes\]"),
        (lambda: OURS.PReLU(shared_axes=[7]).build((2, 3, 4)), ShapeError, r"axis = 7.*\(2, 3, 4\)"),
        (lambda: OURS.PReLU(shared_axes=[-3]).build((2, 3, 4)), ShapeError, "batch axis"),
        (lambda: OURS.PReLU().build((None, None, 4)), ShapeError, r"no known size.*\[size-unknown\]"),
        (
            lambda: functional.prelu(np.ones((2, 3), "float32"), [1.0, 2.0]),
            ShapeError,
            r"\(2,\) does not fit .*\(2, 3\)",
        ),
        (lambda: functional.celu(np.ones(2, "float32"), 0.0), ParameterError, "alpha = 0.0"),
        (lambda: functional.relu(np.ones(2, "float32"), negative_slope=-1.0), ParameterError, "negative_slope = -1.0"),
        (lambda: functional.elu(keras.KerasTensor((2,), "int32")), DtypeError, "got int32"),
    ],
)
def test_bad_input_is_refused_at_construction_or_call(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
def test_other_dtypes_are_refused_except_integers_in_relu(dtype):
    x = np.array([-1, 2]).astype(dtype)
    for name in ("leaky_relu", "elu", "celu", "selu", "rrelu"):
        with pytest.raises(DtypeError, match=f"got {dtype}"):
            getattr(functional, name)(x)
    if dtype == "int32":
        assert array(functional.relu(x)).tolist() == [0, 2]
        assert dtype_of(functional.relu6(x)) == "int32"
    else:
        with pytest.raises(RelumeError, match=f"got {dtype}"):
            functional.relu(x)


def test_relu_with_a_threshold_equals_kerass_away_from_the_kinks():
    x = np.linspace(-4, 9, 57, dtype="float32")
    for keywords in (
        {"threshold": 1.1},
        {"negative_slope": 0.3, "threshold": 1.1},
        {"negative_slope": 0.3, "max_value": 5.1, "threshold": 1.1},
        {"max_value": 6.0},
        {"negative_slope": 0.3, "max_value": 6.0},
    ):
        own, slope = differentiated(lambda t, k=keywords: functional.relu(t, **k), x)
        theirs, their_slope = differentiated(lambda t, k=keywords: keras.activations.relu(t, **k), x)
        np.testing.assert_allclose(own, theirs, rtol=1e-6, atol=1e-6)
        off = ~np.isin(x, (0, 6))
        np.testing.assert_allclose(slope[off], their_slope[off], rtol=1e-6)
    assert array(functional.relu(np.array([-np.inf], "float32"), threshold=1.0)).tolist() == [0.0]
    assert array(functional.relu(np.array([7.0], "float32"), max_value=np.float32(5))).tolist() == [5.0]


@pytest.mark.parametrize("module", [relume.keras, functional], ids=lambda module: module.__name__)
def test_examples_in_the_docstrings_work(module):
    result = doctest.testmod(module)
    assert (result.attempted > 0, result.failed) == (True, 0)

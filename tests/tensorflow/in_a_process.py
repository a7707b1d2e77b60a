"""relume.tensorflow beyond the battery; run by ``test_functional.py`` in a process of its own.

A check takes the functions as an argument, so that the planted faults below can be given to it.
"""

from __future__ import annotations

import doctest
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

BROUGHT_BY_TENSORFLOW = set(sys.modules)

import relume.tensorflow as rtf  # noqa: E402  # what it imports besides is a test
from relume.errors import DtypeError, ParameterError, ShapeError  # noqa: E402

LOADED = set(sys.modules) - BROUGHT_BY_TENSORFLOW
OURS = SimpleNamespace(**{name: getattr(rtf, name) for name in rtf.__all__})
X = np.array([-3.0, -1.0, -0.0, 0.0, 1.0, 6.0, 7.0, np.nan], "float32")


def derivatives(function: Any, x: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and second derivative in reverse mode, and the first in forward mode."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        first = inner.gradient(y, x)
    second = outer.gradient(first, x)
    assert second is not None, "the second derivative is not connected"
    with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
        y = function(x)
    return first.numpy(), second.numpy(), accumulator.jvp(y).numpy()


def check_second_derivatives(f: Any) -> None:
    """0 for straight lines, and at 0; α exp(x) under it. Eagerly, in a function, and through one from outside."""
    e = np.exp(X[:2])
    for function, expected in (
        (f.relu, (0, 0)),
        (f.relu6, (0, 0)),
        (lambda x: f.leaky_relu(x, 0.1), (0, 0)),
        (lambda x: f.prelu(x, tf.fill((8,), 0.1)), (0, 0)),
        (lambda x: f.elu(x, 2.0), 2 * e),
        (lambda x: f.celu(x, 2.0), np.exp(X[:2] / 2) / 2),
        (lambda x: f.celu(x, 0.7), np.exp(X[:2] / 0.7) / 0.7),
        (f.selu, 1.7580993 * e),
    ):
        x = tf.constant(X)
        first, second, forward = derivatives(function, x)
        np.testing.assert_allclose(second, [*expected, 0, 0, 0, 0, 0, 0], rtol=1e-5)
        np.testing.assert_allclose(forward[:7], first[:7], rtol=1e-6)
        traced = tf.function(function, autograph=False)
        np.testing.assert_allclose(derivatives(traced, x), (first, second, np.append(forward[:7], first[7])), rtol=1e-5)


def check_kinks(f: Any) -> None:
    for function, expected in (
        (f.relu, (0, 0, 1, 1, 1, 0)),
        (f.relu6, (0, 0, 1, 0, 0, 0)),
        (lambda x: f.leaky_relu(x, 0.1), (0.1, 0.1, 1, 1, 1, 0.1)),
        (lambda x: f.elu(x, 2.0), (2, 2, 1, 1, 1, 1)),
        (lambda x: f.celu(x, 2.0), (1, 1, 1, 1, 1, 1)),
    ):
        first, _, _ = derivatives(function, tf.constant(X))
        np.testing.assert_allclose(first[2:], expected, rtol=1e-6)


def check_small(f: Any) -> None:
    for length in (1, 16):
        x = tf.fill((length,), -1e-8)
        for function in (f.elu, f.celu, lambda x: f.selu(x) / 1.7580993):
            np.testing.assert_allclose(function(x).numpy(), -1e-8, rtol=1e-6)


def check_length(f: Any) -> None:
    """The same at each place, whatever the length: also the sign of zero."""
    numbers = np.array([-0.0, 0.0, np.nan, -np.inf, -1e-8, 7.0], "float32")
    for function in (f.leaky_relu, f.elu, f.celu, f.selu):
        ones = np.array([function(tf.constant(number)).numpy() for number in numbers])
        many = function(tf.constant(np.repeat(numbers, 17))).numpy().reshape(6, 17)
        np.testing.assert_allclose(many, np.repeat(ones[:, None], 17, 1), rtol=6e-7, atol=0)
        assert (np.signbit(many) == np.signbit(ones)[:, None])[~np.isnan(many)].all()
        assert np.signbit(ones[:2]).tolist() == [True, False]


def check_axes(f: Any) -> None:
    x = -tf.ones((4, 4, 4))
    weight = np.array([0.1, 0.2, 0.3, 0.4], "float32")
    for axis, place in ((0, 0), (1, 1), (2, 2), (-1, 2)):
        np.testing.assert_array_equal(np.moveaxis(f.prelu(x, weight, axis).numpy(), place, -1)[0, 1], -weight)
    pairs = np.arange(16, dtype="float32").reshape(4, 4)
    np.testing.assert_array_equal(f.prelu(x, pairs, (0, 2)).numpy()[:, 3], -pairs)


def check_random(f: Any) -> None:
    x = -tf.ones(2000)
    generator = tf.random.Generator.from_seed(1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f.rrelu(x, 0.2, 0.4, True, generator=generator)
    np.testing.assert_array_equal(tape.gradient(y, x).numpy(), -y.numpy())
    assert len(np.unique(y)) > 1900
    assert not np.array_equal(f.rrelu(x, 0.2, 0.4, True, generator=generator), y)
    np.testing.assert_array_equal(f.rrelu(x, 0.2, 0.4, True, generator=tf.random.Generator.from_seed(1)), y)
    tf.random.set_seed(3)
    first = f.rrelu(x, 0.2, 0.4, True)
    assert not np.array_equal(f.rrelu(x, 0.2, 0.4, True), first)
    np.testing.assert_allclose(f.rrelu(x, 0.2, 0.4).numpy(), -0.3, rtol=1e-6)


CHECKS = (check_second_derivatives, check_kinks, check_small, check_length, check_axes, check_random)
FAULTS = (
    (check_second_derivatives, "relu", lambda x: tf.where(x > 0, x, 0)),  # not connected
    (check_second_derivatives, "elu", lambda x, a=1.0: tf.where(x > 0, x, a * tf.math.expm1(tf.minimum(x, 0)))),  # at 0
    (check_kinks, "relu6", lambda x: tf.clip_by_value(x, 0, 6)),
    (check_kinks, "leaky_relu", lambda x, s=0.01: tf.where(x >= 0, x, s * x)),
    (check_kinks, "celu", lambda x, a=1.0: tf.maximum(x, 0) + a * tf.math.expm1(tf.minimum(x, 0) / a)),
    (check_small, "elu", tf.nn.elu),
    (check_small, "selu", tf.nn.selu),
    (check_length, "leaky_relu", lambda x, s=0.01: tf.nn.relu(x) - s * tf.nn.relu(-x)),
    (check_axes, "prelu", lambda x, w, axis=-1: rtf.prelu(x, w)),
    (check_random, "rrelu", lambda x, lo, up, training=True, **_: rtf.rrelu(x, lo, up, True)),
    (check_random, "rrelu", lambda x, lo, up, training=False, **_: rtf.rrelu(x, lo, up, training, seed=(1, 2))),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ours_pass(check):
    check(OURS)


@pytest.mark.parametrize(("check", "name", "fault"), FAULTS)
def test_a_planted_fault_is_caught(check, name, fault):
    with pytest.raises(AssertionError):
        check(SimpleNamespace(**vars(OURS) | {name: fault}))


def test_under_xla_the_derivatives_equal_those_of_eager_mode():
    for function in (rtf.relu, rtf.relu6, rtf.leaky_relu, lambda x: rtf.elu(x, 2.0), rtf.selu):
        eager = derivatives(function, tf.constant(X))

        @tf.function(jit_compile=True, autograph=False)
        def compiled(x, function=function):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = function(x)
                first = inner.gradient(y, x)
            with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
                y = function(x)
            return first, outer.gradient(first, x), accumulator.jvp(y)

        np.testing.assert_allclose([part.numpy() for part in compiled(tf.constant(X))], eager, rtol=1e-6)


def test_sizes_that_are_not_known_yet_are_met_when_it_runs(tmp_path):
    weight = tf.Variable([0.5, 0.25, 0.125])

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
        def __call__(self, x):
            return rtf.prelu(rtf.celu(x, 0.7), weight) + rtf.rrelu(x, 0.1, 0.1, True)

    model = Model()
    model.weight = weight
    x = tf.constant(-np.ones((2, 2, 3), "float32"))
    expected = model(x).numpy()
    tf.saved_model.save(model, str(tmp_path / "saved"))
    np.testing.assert_array_equal(tf.saved_model.load(str(tmp_path / "saved"))(x).numpy(), expected)
    unknown = tf.function(lambda x: rtf.prelu(x, weight), input_signature=[tf.TensorSpec(None)], autograph=False)
    with pytest.raises(ShapeError, match=r"unknown rank.*\[rank-unknown\]"):
        unknown(x)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: rtf.prelu(tf.ones((2, 3)), tf.ones(2)), ShapeError, r"\(2,\) does not fit x of shape \(2, 3\)"),
        (lambda: rtf.prelu(tf.ones((2, 3)), tf.ones(2), axis=2), ShapeError, r"axis = 2.*\[axis-out-of-range\]"),
        (lambda: rtf.prelu(tf.ones((2, 3)), tf.ones((3, 2)), axis=(1, 0)), ShapeError, r"rising order.*\[axis-order\]"),
        (lambda: rtf.prelu(tf.ones(3), tf.ones(3, tf.float64)), DtypeError, r"float64.*float32.*\[two-dtypes\]"),
        (lambda: rtf.prelu(tf.ones(3), float("nan")), ParameterError, "weight = nan"),
        (lambda: rtf.rrelu(tf.ones(3), 0.5, 0.1), ParameterError, "lower = 0.5 is greater"),
        (
            lambda: rtf.rrelu(tf.ones(3), training=True, seed=(1, 2), generator=tf.random.get_global_generator()),
            ParameterError,
            "generator-and-seed",
        ),
        (lambda: rtf.leaky_relu(tf.ones(3), float("inf")), ParameterError, "negative_slope = inf"),
        (lambda: rtf.celu(tf.ones(3), 0.0), ParameterError, "alpha = 0.0"),
        (lambda: rtf.softmax(tf.ones((2, 3)), axis=2), ShapeError, "axis = 2"),
        (lambda: rtf.gelu(tf.ones(3), approximate="yes"), ParameterError, "approximate"),
        (lambda: rtf.elu(tf.cast(tf.ones(3), tf.dtypes.experimental.float8_e5m2)), DtypeError, "float8_e5m2"),
        (lambda: rtf.relu(tf.constant([True])), DtypeError, "got bool"),
        (lambda: rtf.selu(tf.constant([1j])), DtypeError, "got complex128"),
    ],
)
def test_bad_input_is_refused_with_the_value_given(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_relu_keeps_integers_and_the_other_dtypes_behave_as_in_tensorflow():
    x = tf.constant([-1, 7])
    assert rtf.relu(x).numpy().tolist() == [0, 7]
    assert rtf.relu6(x).numpy().tolist() == [0, 6]
    y = tf.constant([[-1.0, 0.5]])
    for own, theirs in (
        (rtf.gelu(y), tf.nn.gelu(y)),
        (rtf.gelu(y, approximate="tanh"), tf.nn.gelu(y, approximate=True)),
        (rtf.silu(y), tf.nn.silu(y)),
        (rtf.sigmoid(y), tf.sigmoid(y)),
        (rtf.tanh(y), tf.tanh(y)),
        (rtf.softmax(y), tf.nn.softmax(y)),
    ):
        np.testing.assert_array_equal(own, theirs)
    assert rtf.softmax(tf.constant(3.0)).numpy() == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "function",
    [
        rtf.relu,
        rtf.relu6,
        rtf.leaky_relu,
        lambda x: rtf.leaky_relu(x, 10.0),
        lambda x: rtf.leaky_relu(x, -10.0),
        lambda x: rtf.prelu(x, [0.1, 0.2, 0.3, 0.4, 0.5]),
        rtf.elu,
        lambda x: rtf.celu(x, 0.7),
        rtf.selu,
    ],
)
def test_tensorflows_gradient_checker_finds_both_orders_right(function, dtype):
    x = tf.constant([[-0.9, -0.7, -0.5, -0.3, -0.1], [0.1, 6.3, 0.5, 0.7, 6.9]], dtype)

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x)

    for checked in (function, slope):
        theoretical, numerical = tf.test.compute_gradient(checked, [x], delta=1 / 1024)
        np.testing.assert_allclose(theoretical[0], numerical[0], atol=3e-3 if dtype == "float32" else 1e-5)
    assert slope(tf.zeros((0, 5), dtype)).shape == (0, 5)


def test_gradient_of_slopes_in_half_precision_is_summed_in_float32():
    weight = tf.Variable(tf.constant(0.25, tf.float16))
    x = tf.fill((20_000,), tf.constant(-1.0, tf.float16))
    with tf.GradientTape() as tape:
        y = rtf.prelu(x, weight)
    assert tape.gradient(y, weight).numpy() == np.float16(-20_000)


def test_it_brings_no_other_framework_along():
    roots = {name.partition(".")[0] for name in LOADED}
    assert not roots & {"keras", "jax", "torch", "onnx"}


def test_examples_in_the_docstrings_work():
    result = doctest.testmod(sys.modules["relume.tensorflow.functional"])
    assert (result.attempted > 0, result.failed) == (True, 0)

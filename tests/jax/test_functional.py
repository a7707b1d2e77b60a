"""The functions for JAX: the convention at the special points, in every mode, and the checks at the edge.

Accuracy over the whole range is the business of ``tests/conformance/``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relume.jax as ours
from relume.activations import ACTIVATIONS
from relume.errors import DtypeError, ParameterError, ShapeError
from relume.numpy import functional as oracle

INF, NAN = np.inf, np.nan
POINTS = np.array([-INF, -100.0, -20.0, -1.5, -0.0, 0.0, 0.5, 3.0, 6.0, 7.0, INF, NAN], np.float32)
ELEMENTWISE = [name for name in ACTIVATIONS if name != "softmax"]
BENT = ("elu", "celu", "selu")


def slopes(f, x):
    """Reverse mode, forward mode, and both compiled: all have to be one."""

    def forward(v):
        return jax.jvp(f, (v,), (jnp.ones_like(v),))[1]

    reverse = jax.vmap(jax.grad(f))
    return [reverse(x), forward(x), jax.jit(reverse)(x), jax.jit(forward)(x), jax.vmap(forward)(x)]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_at_the_special_points_equal_the_definition_eager_and_compiled(name):
    f, expected = getattr(ours, name), getattr(oracle, name)(POINTS)
    for got in (f(POINTS), jax.jit(f)(POINTS), jax.vmap(f)(POINTS)):
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-37)
        assert np.array_equal(np.signbit(got[:-1]), np.signbit(expected[:-1])), "the sign of zero"


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slopes_follow_the_convention_in_forward_and_reverse_mode_eager_and_compiled(name):
    expected = oracle.slope(name, POINTS)
    absolute = 3e-7 if name in ("sigmoid", "tanh") else 1e-37  # natively from the output, in every framework
    for got in slopes(getattr(ours, name), jnp.asarray(POINTS)):
        np.testing.assert_allclose(got, expected, rtol=3e-6, atol=absolute)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_no_second_derivative_is_infinite_or_nan_on_numbers(name):
    got = jax.vmap(jax.grad(jax.grad(getattr(ours, name))))(jnp.asarray(POINTS[:-1]))
    assert np.isfinite(got).all()
    if name in ("relu", "relu6", "leaky_relu", "prelu", "rrelu"):
        assert not got.any()
    if name in BENT:
        assert not got[4:].any(), "0 at the kink, as PyTorch"
        np.testing.assert_allclose(got[1:4], oracle.slope(name, POINTS[1:4]), rtol=3e-6, atol=1e-37)


def test_elu_keeps_the_slope_that_jax_loses():
    assert jax.grad(jax.nn.elu)(-20.0) == 0
    assert jax.grad(ours.elu)(-20.0) == pytest.approx(np.exp(-20.0), rel=3e-7)


@pytest.mark.parametrize("alpha", [0.3, 49.0, 1.7])
def test_celu_has_slope_one_at_zero_for_every_alpha_and_a_gradient_in_alpha(alpha):
    assert jax.grad(ours.celu)(0.0, alpha) == 1
    for x in (-3.0, -1e-3, 2.0):
        u = min(x / alpha, 0.0)
        assert jax.grad(ours.celu, 1)(x, alpha) == pytest.approx(np.expm1(u) - u * np.exp(u), rel=1e-4, abs=1e-7)
    assert jax.jvp(jax.jit(ours.celu), (-INF, alpha), (1.0, 1.0)) == (-alpha, -1.0)


def test_subnormals_pass_through_activations_that_copy_their_input():
    tiny = np.array([1e-40, -1e-40], np.float32)
    for f in (ours.relu, ours.relu6):
        assert f(tiny).tolist() == [tiny[0], 0.0]
        assert jax.jit(f)(tiny).tolist() == [tiny[0], 0.0]
    assert jax.vmap(jax.grad(ours.leaky_relu))(jnp.asarray(tiny)).tolist() == [1.0, np.float32(0.01)]


def test_functions_run_in_a_scan_and_a_loop():
    def step(carry, _):
        return ours.celu(ours.leaky_relu(carry - 1.0, 0.5), 2.0), carry

    def last(x):
        return jax.lax.scan(step, x, None, length=4)[0]

    h = 1e-3
    quotient = float(last(0.5 + h) - last(0.5 - h)) / (2 * h)
    assert float(jax.jit(jax.grad(last))(0.5)) == pytest.approx(quotient, rel=1e-2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", [*ELEMENTWISE, "softmax"])
def test_shape_and_dtype_are_kept_even_for_empty_arrays(name, dtype):
    f = getattr(ours, name)
    for shape in ((), (2, 0, 3), (2, 3, 4)):
        x = jnp.ones(shape, dtype)
        assert (f(x).shape, f(x).dtype) == (shape, x.dtype)
        gradient = jax.grad(lambda v, f=f: f(v).sum())(x)
        assert (gradient.shape, gradient.dtype) == (shape, x.dtype)


# ---- PReLU ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
def test_prelu_uses_its_axis_even_if_all_sizes_are_the_same(axis):
    x = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)
    weight = np.array([0.1, 0.2, 0.4], np.float32)
    laid = np.expand_dims(weight, tuple(i for i in range(4) if i != axis % 4))
    expected = np.where(x > 0, x, laid * x)
    np.testing.assert_array_equal(ours.prelu(x, weight, axis), expected)
    got = jax.grad(lambda w: ours.prelu(x, w, axis).sum())(jnp.asarray(weight))
    per_unit = np.where(x > 0, 0, x).sum(tuple(i for i in range(4) if i != axis % 4))
    np.testing.assert_allclose(got, per_unit, rtol=1e-5)


def test_prelu_takes_shared_per_unit_and_laid_out_slopes():
    x = jnp.full((2, 3, 4, 5), -1.0)
    assert ours.prelu(x, 0.5).tolist() == (-0.5 * np.ones(x.shape)).tolist()
    weight = np.arange(60, dtype=np.float32).reshape(3, 4, 5) / 64
    for given, axis in ((weight, (1, 2, 3)), (weight, (-3, -2, -1)), (weight[None], 0), (weight, 1)):
        np.testing.assert_array_equal(ours.prelu(x, given, axis), np.broadcast_to(-weight, x.shape))
    np.testing.assert_array_equal(ours.prelu(x, weight[:, 0, 0], 1)[0, :, 0, 0], -weight[:, 0, 0])


def test_prelu_works_per_example_under_vmap():
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    weight = jnp.array([0.1, 0.2, 0.4])
    per_example = jax.vmap(jax.grad(lambda w, v: ours.prelu(v, w).sum()), (None, 0))(weight, x)
    np.testing.assert_array_equal(per_example, np.where(x > 0, 0, x))


@pytest.mark.parametrize(
    ("weight", "axis", "match"),
    [
        ((4,), 1, r"weight of shape \(4,\) does not fit x of shape \(2, 3, 5\)"),
        ((3,), 3, r"axis = 3: x of shape \(2, 3, 5\) has no such axis"),
        ((3, 4), (1, 2), r"weight of shape \(3, 4\) does not fit x of shape \(2, 3, 5\)"),
        ((5, 3, 2), 1, r"weight of shape \(5, 3, 2\) does not fit"),
    ],
)
def test_prelu_names_both_shapes_if_they_do_not_fit(weight, axis, match):
    for f in (ours.prelu, jax.jit(ours.prelu, static_argnums=2)):
        with pytest.raises(ShapeError, match=match):
            f(jnp.ones((2, 3, 5)), jnp.ones(weight), axis)


def test_prelu_keeps_the_dtype_of_its_input_and_sums_its_gradient_in_float32():
    x = jnp.full((70_000,), -1.0, jnp.float16)
    assert ours.prelu(x, jnp.float32(0.25)).dtype == jnp.float16
    assert jax.grad(lambda w: ours.prelu(x, w).astype(jnp.float32).sum())(jnp.float32(0.25)) == -70_000


# ---- RReLU ---------------------------------------------------------------------------------------------------------


def test_rrelu_draws_within_its_bounds_and_its_gradient_uses_the_same_sample():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(50, 40)), jnp.float32)
    key = jax.random.key(3)

    def f(v):
        return ours.rrelu(v, 0.1, 0.3, training=True, key=key)

    y, gradient = f(x), jax.grad(lambda v: f(v).sum())(x)
    below = np.asarray(x) <= 0
    np.testing.assert_array_equal(np.asarray(y)[~below], np.asarray(x)[~below])
    assert (np.asarray(gradient)[~below] == 1).all()
    np.testing.assert_allclose(np.asarray(y / x)[below], np.asarray(gradient)[below], rtol=1e-6)
    drawn = np.asarray(gradient)[below]
    assert drawn.min() >= 0.1
    assert drawn.max() <= 0.3
    assert len(set(drawn.tolist())) > 0.99 * drawn.size
    np.testing.assert_array_equal(y, jax.jit(f)(x))


def test_rrelu_draws_for_every_element_of_either_sign():
    key, x = jax.random.key(0), np.random.default_rng(4).normal(size=100).astype(np.float32)
    all_below = ours.rrelu(-np.ones(100, np.float32), training=True, key=key)
    got = ours.rrelu(x, training=True, key=key)
    np.testing.assert_allclose(got, np.where(x > 0, x, -x * all_below), rtol=1e-6)


def test_rrelu_at_evaluation_is_its_mean_and_needs_no_key():
    assert ours.rrelu(-2.0, 0.25, 0.75) == -1.0
    with pytest.raises(ParameterError, match=r"no key.*\[no-key\]"):
        ours.rrelu(-2.0, training=True)


# ---- the edge ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "float8_e4m3fn"])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_inputs_that_are_not_floating_point_are_refused_except_integers_in_relu(name, dtype):
    x = jnp.zeros((2, 3), dtype)
    if dtype == "int32" and name in ("relu", "relu6"):
        got = getattr(ours, name)(jnp.array([-3, 2, 9], dtype))
        assert (got.dtype, got.tolist()) == (x.dtype, [0, 2, 9 if name == "relu" else 6])
        return
    with pytest.raises(DtypeError, match=rf"got {dtype} of shape \(2, 3\)"):
        getattr(ours, name)(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ours.leaky_relu(x, NAN),
        lambda x: ours.prelu(x, INF),
        lambda x: ours.elu(x, -1.0),
        lambda x: ours.celu(x, 0.0),
        lambda x: ours.rrelu(x, 0.5, 0.25),
        lambda x: ours.rrelu(x, NAN, 0.5),
        lambda x: ours.gelu(x, "fast"),
    ],
)
def test_a_parameter_out_of_its_bounds_is_refused_eager_and_compiled(call):
    for f in (call, jax.jit(call)):
        with pytest.raises(ParameterError, match="parameter-out-of-bounds"):
            f(jnp.ones(3))


def test_softmax_equals_jaxs_along_every_axis_and_refuses_invalid_axes():
    x = np.random.default_rng(5).normal(size=(2, 3, 4)).astype(np.float32)
    for axis in (-3, -1, 0, 2):
        np.testing.assert_array_equal(ours.softmax(x, axis), jax.nn.softmax(x, axis))
    assert ours.softmax(3.0) == 1.0
    with pytest.raises(ShapeError, match="axis-out-of-range"):
        ours.softmax(x, 3)


@pytest.mark.parametrize("compiled", [False, True])
def test_softplus_is_x_if_beta_x_overflows(compiled):
    f = lambda x: ours.softplus(x, beta=2.0)  # noqa: E731
    value, slope = (jax.jit(f), jax.jit(jax.grad(f))) if compiled else (f, jax.grad(f))
    assert float(value(jnp.float32(2e38))) == float(np.float32(2e38))
    assert float(slope(jnp.float32(2e38))) == 1.0
    assert float(value(jnp.float32(-2e38))) == float(slope(jnp.float32(-2e38))) == 0.0

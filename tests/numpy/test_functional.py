"""relume.numpy: the family on arrays, and what it refuses."""

from __future__ import annotations

import math
import re

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import relume.numpy as rn
import relume.torch.functional
from relume.activations import ACTIVATIONS, NUMPY
from relume.errors import DtypeError, ParameterError, ShapeError, UnknownName

NAMES = list(ACTIVATIONS)
SHAPED = [
    np.linspace(-3, 7, 24).reshape(2, 3, 4),
    np.linspace(-3, 7, 24).reshape(2, 3, 4)[:, ::-1, ::2],
    np.asfortranarray(np.linspace(-3, 7, 12).reshape(3, 4)),
    np.zeros((2, 0, 3)),
    np.zeros(0),
    np.array(-1.5),
]


def slope_of(name, x, **keywords):
    extra = {"tangent": np.ones_like(x)} if name == "softmax" else {}
    return rn.slope(name, x, **extra, **keywords)


def test_only_the_activations_are_public_functions():
    assert sorted(rn.__all__) == sorted([*NAMES, "slope"])
    assert all(callable(getattr(rn, name)) for name in rn.__all__)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_dtype_and_shape_are_kept_and_input_is_not_touched(name, dtype):
    for shaped in SHAPED:
        x = shaped.astype(dtype, order="K")
        before = x.copy()
        for result in (getattr(rn, name)(x), slope_of(name, x)):
            assert isinstance(result, np.ndarray)
            assert (result.dtype, result.shape) == (x.dtype, x.shape)
            assert not np.shares_memory(result, x)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_gives_nan_out_without_a_warning(name):
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], np.float32)
    values, slopes = getattr(rn, name)(x), slope_of(name, x)
    assert np.isnan(values[0])
    assert np.isnan(slopes[0]) == (ACTIVATIONS[name].slope_at_nan == "nan")


def test_zero_slope_at_minus_infinity_is_nan_without_a_warning_as_in_torch():
    x = np.array([-np.inf])
    assert np.isnan(rn.leaky_relu(x, 0.0)).all()
    assert np.isnan(rn.prelu(x, 0.0)).all()
    assert np.isnan(rn.rrelu(x, 0.0, 0.0)).all()
    assert torch.isnan(F.leaky_relu(torch.tensor(x), 0.0)).all()
    assert rn.relu(x).tolist() == [0.0]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("prelu", "softmax")])
def test_float16_is_rounded_once_as_torch_does(name):
    x = np.linspace(-8, 8, 2001).astype(np.float16)
    expected = getattr(relume.torch.functional, name)(torch.tensor(x).float()).half().numpy()
    difference = np.abs(getattr(rn, name)(x).astype(np.float64) - expected)
    cancelled = 4 * np.finfo(np.float32).eps * np.abs(x) if name == "gelu" else 0
    room = np.spacing(np.abs(expected)).astype(np.float64) + cancelled
    assert (difference <= room).all()
    assert (difference == 0).mean() > (0.9 if name == "gelu" else 0.99)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_exponentials_are_within_two_ulp_of_the_exact_ones(name, dtype):
    x = -np.logspace(-12, 2, 20001).astype(dtype)
    x = x[x != 0]
    wide = x.astype(np.longdouble)
    for part, got in (("value", getattr(rn, name)(x)), ("slope", rn.slope(name, x))):
        assert got.dtype == dtype
        exact = getattr(ACTIVATIONS[name], part)(wide, NUMPY)
        finfo = ml_dtypes.finfo(dtype)
        ulp = np.maximum(np.exp2(np.floor(np.log2(np.abs(exact)))) * finfo.eps, finfo.smallest_subnormal)
        assert (np.abs(got.astype(np.longdouble) - exact) <= 2 * ulp).all()


def test_lists_and_numbers_are_accepted():
    assert rn.relu([-1.0, 2.0]).tolist() == [0.0, 2.0]
    assert rn.elu(1.5).tolist() == 1.5


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64])
def test_relu_and_relu6_keep_integers(dtype):
    x = np.array([0, 5, 9], dtype) if np.issubdtype(dtype, np.unsignedinteger) else np.array([-3, 5, 9], dtype)
    for function, expected in ((rn.relu, [0, 5, 9]), (rn.relu6, [0, 5, 6])):
        assert function(x).dtype == dtype
        assert function(x).tolist() == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("x", [np.array([1, 2]), np.array([True]), np.array([1j]), np.array(["a"]), np.array([None])])
def test_other_dtypes_are_refused(name, x):
    if name in ("relu", "relu6") and x.dtype.kind == "i":
        return
    with pytest.raises(DtypeError, match=rf"got {re.escape(x.dtype.name)} of shape \({x.size},\).*\[dtype\]"):
        getattr(rn, name)(x)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: rn.leaky_relu(x, math.nan), "negative_slope = nan"),
        (lambda x: rn.prelu(x, [0.1, math.nan]), "weight"),
        (lambda x: rn.prelu(x, True), "weight"),
        (lambda x: rn.celu(x, 0.0), r"alpha = 0.0 is not in \(0"),
        (lambda x: rn.elu(x, math.inf), "alpha = inf"),
        (lambda x: rn.rrelu(x, 0.5, 0.1), "lower = 0.5 is greater than upper = 0.1"),
        (lambda x: rn.rrelu(x, 0.5, 0.1, training=True), "lower = 0.5 is greater than upper = 0.1"),
        (lambda x: rn.gelu(x, "erf"), "approximate = 'erf'"),
        (lambda x: rn.slope("celu", x, alpha=0.0), "alpha = 0.0"),
        (lambda x: rn.slope("relu", x, alpha=1.0), "ReLU has no parameter 'alpha'"),
        (lambda x: rn.slope("softmax", x), "tangent"),
        (lambda x: rn.slope("softmax", x, dim=0), "Softmax has no parameter 'dim'"),
    ],
)
def test_parameters_outside_their_bounds_are_refused(call, text):
    with pytest.raises(ParameterError, match=text):
        call(np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((4, 3), 1), ((2, 3, 3), 1), ((2, 3, 3), 2), ((2, 3, 3, 3), -1), ((3,), 0), ((0, 3), 1)],
)
def test_prelu_uses_its_axis_even_if_sizes_coincide(shape, axis):
    x = -np.ones(shape)
    weight = np.array([0.1, 0.2, 0.3])
    expected = -np.moveaxis(np.broadcast_to(weight, np.moveaxis(x, axis, -1).shape), -1, axis)
    np.testing.assert_array_equal(rn.prelu(x, weight, axis=axis), expected)
    np.testing.assert_array_equal(rn.slope("prelu", x, weight=weight, axis=axis), -expected)


def test_prelu_equals_torchs_on_images():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 3, 4, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    expected = F.prelu(torch.tensor(x), torch.tensor(weight)).numpy()
    np.testing.assert_array_equal(rn.prelu(x, weight), expected)


def test_prelu_takes_one_slope_per_position_and_unit_as_keras_does():
    x, weight = -np.ones((2, 4, 5, 3)), np.arange(60.0).reshape(4, 5, 3)
    np.testing.assert_array_equal(rn.prelu(x, weight), -np.broadcast_to(weight, x.shape))
    np.testing.assert_array_equal(rn.prelu(-np.ones((2, 3, 4)), np.ones((3, 1)) * 2), np.full((2, 3, 4), -2.0))


@pytest.mark.parametrize("weight", [0.5, [0.5], [[[[[0.5]]]]], np.float64(0.5)])
def test_prelu_takes_one_slope_for_any_shape(weight):
    for shape in ((), (3,), (2, 3), (0, 3)):
        result = rn.prelu(-np.ones(shape, np.float32), weight)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, np.full(shape, -0.5, np.float32))


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "axis", "text"),
    [
        (
            (2, 4),
            (3,),
            1,
            r"weight of shape \(3,\) does not fit x of shape \(2, 4\).*each of the 4 units of axis 1",
        ),
        ((2, 3), (4, 1, 3), 1, r"weight of shape \(4, 1, 3\) does not fit x of shape \(2, 3\)"),
        ((2, 1, 3), (4, 3), 1, r"weight of shape \(4, 3\) does not fit x of shape \(2, 1, 3\)"),
        ((2, 3, 4), (5, 4), 1, r"weight of shape \(5, 4\) does not fit x of shape \(2, 3, 4\)"),
        ((3,), (3,), 1, r"axis = 1: x of shape \(3,\) has no such axis. Give one from -1 to 0"),
        ((2, 3), (3,), -3, r"axis = -3: x of shape \(2, 3\)"),
    ],
)
def test_prelu_refuses_weights_that_do_not_fit(x_shape, weight_shape, axis, text):
    with pytest.raises(ShapeError, match=text):
        rn.prelu(np.ones(x_shape), np.ones(weight_shape), axis=axis)


def test_rrelu_in_evaluation_has_the_mean_slope():
    x = np.array([-4.0, 0.0, 4.0])
    np.testing.assert_array_equal(rn.rrelu(x, 0.1, 0.3), F.rrelu(torch.tensor(x), 0.1, 0.3).numpy())


def test_rrelu_in_training_draws_one_slope_per_element_between_the_bounds():
    x = -np.ones(100_000)
    slopes = -rn.rrelu(x, training=True, rng=np.random.default_rng(3))
    assert 1 / 8 <= slopes.min() < 0.1251
    assert 0.3332 < slopes.max() <= 1 / 3
    assert slopes.mean() == pytest.approx(11 / 48, abs=1e-3)
    assert np.unique(slopes).size == x.size


def test_rrelu_draws_do_not_depend_on_the_data_and_repeat_with_the_seed():
    first, second = np.random.default_rng(5), np.random.default_rng(5)
    a = rn.rrelu(np.array([-1.0, -1.0, -1.0]), training=True, rng=first)
    b = rn.rrelu(np.array([1.0, -1.0, 1.0]), training=True, rng=second)
    assert a[1] == b[1]
    assert first.random() == second.random()
    np.testing.assert_array_equal(
        rn.rrelu(-np.ones(4), training=True, rng=7), rn.rrelu(-np.ones(4), training=True, rng=7)
    )


def test_rrelu_slope_accepts_the_drawn_slopes():
    x, slopes = np.array([-1.0, 1.0], np.float32), np.array([0.3, 0.2])
    result = rn.slope("rrelu", x, slopes=slopes)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [0.3, 1.0], rtol=1e-6)
    with pytest.raises(ShapeError, match=r"slopes has shape \(3,\), x has \(2,\)"):
        rn.slope("rrelu", x, slopes=np.ones(3))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_equals_torchs(axis):
    x = np.array([[1e4, 0.0, -1e4], [np.nan, 0.0, 1.0], [-np.inf, -np.inf, -np.inf]], np.float32)
    np.testing.assert_allclose(rn.softmax(x, axis), F.softmax(torch.tensor(x), axis), rtol=1e-6)


def test_softmax_of_a_number_is_one_and_a_missing_axis_is_refused():
    assert rn.softmax(np.float32(3)).tolist() == 1.0
    assert rn.slope("softmax", np.array(3.0), tangent=2.0).tolist() == 0.0
    with pytest.raises(ShapeError, match=r"axis = 2: x of shape \(2, 3\)"):
        rn.softmax(np.ones((2, 3)), axis=2)
    with pytest.raises(ShapeError, match=r"tangent has shape \(2,\)"):
        rn.slope("softmax", np.ones(3), tangent=np.ones(2))


def test_slope_forgives_spelling_and_refuses_unknown_names():
    assert rn.slope("LeakyReLU", [-1.0]).tolist() == [0.01]
    with pytest.raises(UnknownName, match=r"no activation 'eluu'\. Did you mean 'elu'"):
        rn.slope("eluu", [-1.0])


def test_erf_is_the_c_librarys_to_the_last_bit():
    x = np.concatenate([np.linspace(-6, 6, 10_001), [np.inf, -np.inf, np.nan, 5e-324, -0.0]])
    np.testing.assert_array_equal(NUMPY.erf(x), [math.erf(number) for number in x])
    assert NUMPY.erf(np.float32(0.5)).dtype == np.float32
    assert NUMPY.erf(np.zeros((0, 2))).shape == (0, 2)

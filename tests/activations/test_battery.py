"""One battery over every activation: values and slopes against PyTorch, edges, gains, dtypes and shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st

from relume.activations import ACTIVATIONS, FLAT_SLOPE, NUMPY, selu
from relume.activations._gain import measured_gain

PARAMETERS = {
    "leaky_relu": [{"negative_slope": s} for s in (0.01, 0.2, 0.0, -0.5, 2.0)],
    "prelu": [{"weight": w} for w in (0.25, 0.0, -1.0)],
    "rrelu": [{}, {"lower": 0.1, "upper": 0.9}, {"lower": 0.0, "upper": 0.0}],
    "elu": [{"alpha": a} for a in (1.0, 2.0, 0.5, 0.0)],
    "celu": [{"alpha": a} for a in (1.0, 2.0, 0.5)],
    "gelu": [{"approximate": "none"}, {"approximate": "tanh"}],
    "leaky_squared": [{"negative_slope": s} for s in (0.5, 0.0, -0.5, 2.0)],
    "softplus": [{"beta": b} for b in (1.0, 2.0, 0.5)],
}
CASES = [
    pytest.param(a, p, id="-".join([a.name, *map(str, p.values())]))
    for a in ACTIVATIONS.values()
    if a.elementwise
    for p in PARAMETERS.get(a.name, [{}])
]
TORCH = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "prelu": lambda x, weight=0.25: F.prelu(x, torch.tensor(weight, dtype=x.dtype)),
    "rrelu": F.rrelu,
    "relu6": F.relu6,
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu_squared": lambda x: F.relu(x).square(),
    "leaky_squared": lambda x, negative_slope=0.5: F.leaky_relu(x, negative_slope).square(),
    "mish": F.mish,
    "hardswish": F.hardswish,
    "softplus": F.softplus,
    "hardsigmoid": F.hardsigmoid,
}
DTYPES = [np.float32, np.float64]
ULPS = 4
"""Between ours and PyTorch's; two libraries of exp and tanh differ by 1 or 2."""
CANCELS = {"gelu"}
"""1 + erf(x) loses digits below 0, in PyTorch too: the error is counted in ulps of x."""
SQUARES = {"relu_squared", "leaky_squared"}
"""Even functions above 0: −0 becomes +0, numbers overflow, and the slope at 0 is 0."""
LIMITS = {"gelu", "silu", "mish"}
"""At ±inf our slope is the limit, PyTorch's is nan."""


def points(dtype):
    tiny, subnormal = np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal
    small = [subnormal, tiny, 1e-30, 1e-12, 1e-8, 1e-4, 1e-2]
    large = [0.3, 1.0, 2.5, 5.999, 6.0, 6.001, 9.0, 20.0, 88.0, 100.0, 1e4, 1e30]
    found = [0.0, *small, *large]
    return np.array([*(-np.array(found[::-1])), *found], dtype=dtype)


def ours(function, x, parameters):
    with np.errstate(all="ignore"):
        return np.asarray(function(x, NUMPY, **parameters))


def theirs(activation, x, parameters):
    """Value and slope by PyTorch, one element at a time: its vector code differs at inf and nan."""
    values, slopes = [], []
    for number in x:
        one = torch.tensor([number], requires_grad=True)
        out = TORCH[activation.name](one, **parameters)
        out.backward(torch.ones_like(out))
        values.append(out.item())
        slopes.append(one.grad.item())
    return np.array(values, x.dtype), np.array(slopes, x.dtype)


def assert_close(got, expected, scale, context):
    assert got.dtype == expected.dtype
    finfo = np.finfo(got.dtype)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    with np.errstate(all="ignore"):
        room = ULPS * finfo.eps * np.maximum(np.abs(expected), scale) + finfo.tiny
        good = same | (np.abs(got - expected) <= room)
    assert good.all(), [(c, g, e) for c, g, e, ok in zip(context, got, expected, good, strict=True) if not ok]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_value_at_ordinary_points_equals_torchs(activation, parameters, dtype):
    x = points(dtype)
    expected, _ = theirs(activation, x, parameters)
    scale = np.abs(x) if activation.name in CANCELS else 0
    assert_close(ours(activation.value, x, parameters), expected, scale, x)


@pytest.mark.parametrize(("activation", "parameters"), CASES)
@given(number=st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(number=2e38)  # twice it overflows
def test_value_of_any_number_equals_torchs(activation, parameters, number):
    x = np.array([number], np.float32)
    expected, _ = theirs(activation, x, parameters)
    scale = np.abs(x) if activation.name in CANCELS else 0
    assert_close(ours(activation.value, x, parameters), expected, scale, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_value_at_inf_and_nan_equals_torchs(activation, parameters, dtype):
    x = np.array([-np.inf, np.inf, np.nan], dtype)
    expected, _ = theirs(activation, x, parameters)
    assert_close(ours(activation.value, x, parameters), expected, 0, x)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "prelu", "rrelu", "relu6", "elu", "celu", "selu", "tanh"])
def test_value_of_negative_zero_keeps_its_sign(name):
    for n in (1, 16, 33):
        assert np.signbit(ACTIVATIONS[name].value(np.full(n, -0.0, np.float32), NUMPY)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_slope_is_torchs_reverse_mode_also_at_the_kinks(activation, parameters, dtype):
    x = points(dtype)
    if activation.name in LIMITS:
        x = x[np.abs(x) < 1e9]  # PyTorch's tanh form squares x: nan at 1e30 in float32
    else:
        x = np.concatenate([x, np.array([-np.inf, np.inf], dtype)])
    _, expected = theirs(activation, x, parameters)
    if activation.name == "hardsigmoid":  # PyTorch's 1/6 is float32's in float64 too
        expected[expected == np.float32(1 / 6)] = dtype(1 / 6)
    # PyTorch's 1 − y² and y (1 − y) are good to an ulp of 1, not of the slope; gelu and silu multiply that
    near = np.minimum(np.abs(x), 10) if activation.name in LIMITS else 0
    scale = 0 if activation.rectifier else 1 + near * near
    assert_close(ours(activation.slope, x, parameters), expected, scale, x)


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_slope_at_infinity_is_the_limit(name):
    assert ACTIVATIONS[name].slope(np.array([-np.inf, np.inf]), NUMPY).tolist() == [0, 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_slope_at_nan_is_the_stated_one_and_equals_torchs_for_one_element(activation, parameters, dtype):
    names = {"SCALE": selu.SCALE, "nan": np.nan} | activation.check(**parameters)
    stated = np.array([eval(activation.slope_at_nan, {}, names)], dtype)
    x = np.array([np.nan], dtype)
    np.testing.assert_array_equal(ours(activation.slope, x, parameters), stated)
    np.testing.assert_array_equal(theirs(activation, x, parameters)[1], stated)


@pytest.mark.parametrize("name", ["leaky_relu", "rrelu", "relu6", "elu", "celu", "selu", "relu"])
def test_slope_at_infinity_is_a_limit(name):
    activation = ACTIVATIONS[name]
    far = activation.slope(np.array([-1e4, 1e4]), NUMPY)
    assert activation.slope(np.array([-np.inf, np.inf]), NUMPY).tolist() == far.tolist()


@pytest.mark.parametrize(("activation", "parameters"), CASES)
@given(x=st.floats(-30, 30))
def test_slope_off_the_kinks_is_the_finite_difference(activation, parameters, x):
    h = 1e-5
    kinks = [float(k.at) for k in activation.kinks]
    if any(abs(x - kink) <= h for kink in kinks):
        return
    around = activation.value(np.array([x - h, x + h]), NUMPY, **parameters)
    slope = activation.slope(np.array([x]), NUMPY, **parameters)[0]
    assert abs((around[1] - around[0]) / (2 * h) - slope) < 1e-8 * max(1, abs(slope))


@pytest.mark.parametrize("part", ["value", "slope"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_dtype_and_shape_are_kept(activation, parameters, dtype, part):
    full = np.linspace(-3, 7, 24, dtype=dtype).reshape(2, 3, 4)
    for x in (
        full,
        full[:, ::2, 1::2],
        full.T,
        full[:0],
        full[0, 0, 0:1].reshape(()),
        np.zeros((3, 0), dtype),
    ):
        result = np.asarray(getattr(activation, part)(x, NUMPY, **parameters))
        assert result.dtype == dtype
        assert result.shape == x.shape
        expected = getattr(activation, part)(np.ascontiguousarray(x).reshape(-1), NUMPY, **parameters)
        np.testing.assert_array_equal(result.reshape(-1), expected)


@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_no_warning_at_extremes(activation, parameters):
    """Warnings are errors here. 0 · inf is left out: nan is what the definition says, and NumPy says so."""
    for dtype in (np.float32, np.float64):
        huge = np.sqrt(np.finfo(dtype).max) / 8 if activation.name in SQUARES else np.finfo(dtype).max / 8
        x = np.array([np.nan, np.inf, -huge, huge, 1e3, -1e3], dtype)
        activation.value(x, NUMPY, **parameters)
        far = -huge if activation.name in SQUARES else -np.inf  # where the slope is 0 · inf too
        activation.slope(np.append(x, far).astype(dtype), NUMPY, **parameters)


@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_flat_edges_hold_just_beyond_and_not_just_inside(activation, parameters):
    settled = activation.check(**parameters)
    below, above = activation.flat(**settled)
    for edge, outward in ((below, -1), (above, 1)):
        if edge is None:
            continue
        beyond = edge + outward * np.concatenate([[1e-9], np.linspace(1e-6, 60, 5001)])
        inside = np.array([edge - outward * 1e-6])
        assert (np.abs(activation.slope(beyond, NUMPY, **settled)) < FLAT_SLOPE).all()
        assert (np.abs(activation.slope(inside, NUMPY, **settled)) >= FLAT_SLOPE).all()


@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_fires_above_is_the_edge_below_which_the_slope_is_the_weaker(activation, parameters):
    settled = activation.check(**parameters)
    edge = activation.fires_above(**settled)
    if activation.rectifier:
        assert edge == 0
        steep = activation.slope(np.array([edge + 1e-9]), NUMPY, **settled)[0]
        assert steep == 2e-9 if activation.name in SQUARES else steep >= 1
    elif activation.dies(**settled):
        x = edge - np.linspace(1e-9, 60, 5001)
        assert (np.abs(activation.slope(x, NUMPY, **settled)) < FLAT_SLOPE).all()
        assert abs(activation.slope(np.array([edge + 1e-6]), NUMPY, **settled)[0]) >= FLAT_SLOPE
    else:
        assert edge == -math.inf


@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_dies_exactly_where_the_slope_far_below_is_zero_for_good(activation, parameters):
    settled = activation.check(**parameters)
    slopes = activation.slope(np.array([-1e-6, -1.0, -20.0]), NUMPY, **settled)
    if activation.rectifier:
        assert activation.dies(**settled) == bool((slopes == 0).all())
    else:
        assert activation.dies(**settled) == (activation.name not in {"sigmoid", "tanh", "softplus"})


@pytest.mark.parametrize(("activation", "parameters"), CASES)
def test_gain_keeps_the_second_moment(activation, parameters):
    z = np.random.default_rng(0).standard_normal(1_000_000)
    settled = activation.check(**parameters)
    keywords = dict(settled)
    if activation.random:
        keywords["slopes"] = np.random.default_rng(1).uniform(settled["lower"], settled["upper"], z.shape)
    measured = 1 / math.sqrt(np.mean(activation.value(z, NUMPY, **keywords) ** 2))
    assert activation.gain(**settled) == pytest.approx(measured, rel=5e-3)


def test_gain_by_quadrature_is_exact_where_the_answer_is_known():
    assert measured_gain(lambda z: np.maximum(z, 0)) == pytest.approx(math.sqrt(2), rel=1e-13)
    assert measured_gain(lambda z: z**3) == pytest.approx(1 / math.sqrt(15), rel=1e-13)
    assert ACTIVATIONS["selu"].gain() == pytest.approx(1, rel=1e-13)


def test_gain_equals_the_one_that_torch_measured():
    for name, extra in (("relu", None), ("leaky_relu", 0.2)):
        given = {} if extra is None else {"negative_slope": extra}
        assert ACTIVATIONS[name].gain(**given) == pytest.approx(torch.nn.init.calculate_gain(name, extra))


@pytest.mark.parametrize(("name", "figure"), [("selu", 0.75), ("tanh", 5 / 3), ("sigmoid", 1.0)])
def test_gain_note_gives_torchs_figure_if_it_differs(name, figure):
    note = ACTIVATIONS[name].gain_note
    assert torch.nn.init.calculate_gain(name) == pytest.approx(figure)
    assert {"selu": "0.75", "tanh": "5/3", "sigmoid": "gives 1 "}[name] in note


def test_rrelu_slopes_drawn_in_training_are_used_below_zero_only():
    x, slopes = np.array([-2.0, 0.0, 2.0]), np.array([0.2, 0.3, 0.4])
    assert ACTIVATIONS["rrelu"].value(x, NUMPY, slopes=slopes).tolist() == [-0.4, 0.0, 2.0]
    assert ACTIVATIONS["rrelu"].slope(x, NUMPY, slopes=slopes).tolist() == [0.2, 0.3, 1.0]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_value_and_product_with_its_jacobian_are_torchs(axis):
    rng = np.random.default_rng(0)
    x, tangent = rng.normal(size=(2, 5, 6)) * 20
    one = torch.tensor(x, requires_grad=True)
    out = F.softmax(one, axis)
    (product,) = torch.autograd.grad(out, one, torch.tensor(tangent))
    softmax = ACTIVATIONS["softmax"]
    np.testing.assert_allclose(softmax.value(x, NUMPY, axis=axis), out.detach(), rtol=1e-14)
    np.testing.assert_allclose(softmax.slope(x, NUMPY, tangent=tangent, axis=axis), product, rtol=1e-9, atol=1e-13)

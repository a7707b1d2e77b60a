"""The oracle against mpmath and the textbook's formulas, which share no code with it."""

from __future__ import annotations

import cases
import mpmath
import numpy as np
import oracle
import pytest

mp = mpmath.mp.clone()
mp.dps = 400
SCALE, ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")
ROUNDED = {"selu": 54}
"""Its constants are the paper's, rounded to float64: half an ulp. All else is exact to 2⁻⁵⁷."""

TEXTBOOK = {
    "relu": lambda x: max(x, 0),
    "leaky_relu": lambda x, negative_slope: x if x > 0 else negative_slope * x,
    "prelu": lambda x, weight: x if x > 0 else float(weight) * x,
    "rrelu": lambda x, lower=1 / 8, upper=1 / 3: x if x > 0 else (lower + upper) / 2 * x,
    "relu6": lambda x: min(max(x, 0), 6),
    "elu": lambda x, alpha: x if x > 0 else alpha * (mp.exp(x) - 1),
    "celu": lambda x, alpha: x if x > 0 else alpha * (mp.exp(x / alpha) - 1),
    "selu": lambda x: SCALE * (x if x > 0 else ALPHA * (mp.exp(x) - 1)),
    "relu_squared": lambda x: max(x, 0) ** 2,
    "leaky_squared": lambda x, negative_slope: (x if x > 0 else negative_slope * x) ** 2,
}
SLOPES = {
    "relu": lambda x: int(x > 0),
    "leaky_relu": lambda x, negative_slope: 1 if x > 0 else negative_slope,
    "prelu": lambda x, weight: 1 if x > 0 else float(weight),
    "rrelu": lambda x, lower=1 / 8, upper=1 / 3: 1 if x > 0 else (lower + upper) / 2,
    "relu6": lambda x: int(0 < x < 6),
    "elu": lambda x, alpha: 1 if x > 0 else alpha * mp.exp(x),
    "celu": lambda x, alpha: 1 if x > 0 else mp.exp(x / alpha),
    "selu": lambda x: SCALE * (1 if x > 0 else ALPHA * mp.exp(x)),
    "relu_squared": lambda x: 2 * max(x, 0),
    "leaky_squared": lambda x, negative_slope: 2 * x * (1 if x > 0 else mp.mpf(negative_slope) ** 2),
}


@pytest.mark.parametrize(("activation", "parameters"), cases.CASES)
def test_oracle_is_the_textbooks_formula_in_more_digits_than_float64_has(activation, parameters):
    x = cases.sweep("float64")
    x = x[np.isfinite(x)]
    for part, formulas in (("value", TEXTBOOK), ("slope", SLOPES)):
        got = oracle.exact(part, activation, x, parameters)
        for number, result in zip(x, got, strict=True):
            right = mp.mpf(formulas[activation](mp.mpf(float(number)), **parameters))
            shift = -1200 if abs(result) > 1e300 else 0  # squares of float64's greatest are beyond it
            result, right = np.ldexp(result, shift), mp.ldexp(right, shift)
            high = np.float64(result)
            off = abs(mp.mpf(float(high)) + mp.mpf(float(result - high)) - right)
            assert off <= abs(right) * mp.mpf(2) ** -ROUNDED.get(activation, 57) + mp.mpf(2) ** -1075, (part, number)


def test_ulps_counts_the_last_place_and_distinguishes_signs_of_zero_and_infinities():
    one = np.array([1.0], np.float32)
    up = np.nextafter(one, np.float32(2))
    assert oracle.ulps(up, one.astype(oracle.Wide), "float32").tolist() == [1.0]
    below = np.nextafter(one, np.float32(0))
    assert oracle.ulps(below, one.astype(oracle.Wide), "float32").tolist() == [0.5]
    subnormal = np.array([1e-45], np.float32)
    assert oracle.ulps(0 * subnormal, subnormal.astype(oracle.Wide), "float32").tolist() == [1.0]
    got = np.array([-0.0, 0.0, np.nan, np.inf, np.inf, 1.0], np.float16)
    right = np.array([0.0, -0.0, np.nan, -np.inf, 1e6, np.nan], oracle.Wide)
    assert oracle.ulps(got, right, "float16").tolist() == [np.inf, np.inf, 0, np.inf, 0, np.inf]

"""The oracle: the definitions in extended precision, and the distance of a result from it in ulp.

The definitions are ``relume.activations``'; ``test_oracle.py`` holds them against mpmath and the textbook's formulas.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from cases import DTYPES

from relume.activations import ACTIVATIONS, NUMPY

Wide = np.longdouble
assert np.finfo(Wide).nmant > np.finfo(np.float64).nmant, "the oracle of float64 needs a longer long double"


def exact(part: str, activation: str, x: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
    """``"value"`` or ``"slope"`` of ``x``, in extended precision; an array among the parameters has been laid out."""
    with np.errstate(all="ignore"):
        wide = {k: p.astype(Wide) if isinstance(p, np.ndarray) else p for k, p in parameters.items()}
        return np.asarray(getattr(ACTIVATIONS[activation], part)(x.astype(Wide), NUMPY, **wide))


def ulp(expected: np.ndarray, dtype: str) -> np.ndarray:
    """The unit of the last place of ``dtype`` at each number."""
    finfo = ml_dtypes.finfo(DTYPES[dtype])
    _, exponent = np.frexp(np.where(np.isfinite(expected), expected, 1).astype(Wide))
    smallest = np.log2(np.float64(finfo.tiny)) + 1
    return np.ldexp(Wide(float(finfo.eps)), np.maximum(exponent, int(smallest)) - 1)


def ulps(got: np.ndarray, expected: np.ndarray, dtype: str) -> np.ndarray:
    """How far each number is from the exact one, in units of the last place of ``dtype`` at the exact one.

    inf where one of both is nan or infinite and the other is not, and where a zero has the wrong sign.
    """
    finfo = ml_dtypes.finfo(DTYPES[dtype])
    with np.errstate(all="ignore"):
        off = np.abs(got.astype(np.float64).astype(Wide) - expected) / ulp(expected, dtype)
        overflows = np.abs(expected) >= Wide(float(finfo.max)) * (1 + Wide(float(finfo.eps)) / 4)
    target = np.where(overflows, np.copysign(Wide(np.inf), expected), expected)
    decided = ~np.isfinite(target) | ~np.isfinite(got.astype(np.float64))
    same = (got.astype(np.float64) == target) | (np.isnan(got.astype(np.float64)) & np.isnan(target))
    off = np.where(decided, np.where(same, 0, np.inf), off)
    zero = (expected == 0) & (got == 0)
    return np.where(zero & (np.signbit(got) != np.signbit(expected)), np.inf, off).astype(np.float64)

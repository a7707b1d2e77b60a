"""exp(x / alpha) and alpha · expm1(x / alpha) for x ≤ 0, where the rounding of x / alpha would be |x / alpha| units."""

from __future__ import annotations

from math import floor, frexp, ldexp
from typing import Any

_FAR = 2.0**14
"""exp(−x) is 0 from here on, in every floating type."""


def is_exact(alpha: float) -> bool:
    """Whether x / alpha needs no care: alpha is a power of 2, or so great that the bound below would be infinite."""
    return frexp(alpha)[0] == 0.5 or alpha > 2.0**1000


def digits_of(dtype: Any) -> tuple[int, int, float]:
    """The bits of each part of alpha, how many parts there are, and the steps of the quotient's front in 1.

    Where exp(−x) is not 0 yet their products are exact: in float32 for x < 2⁷, in all longer types for x < 2¹⁴.
    """
    name = getattr(dtype, "name", str(dtype))
    return (12, 3, 2.0**4) if name.endswith("float32") else (26, 2, 2.0**16)


def parts_of(alpha: float, bits: int, count: int) -> tuple[float, ...]:
    """``count`` numbers that sum up to ``alpha``, all but the last cut off after ``bits`` bits."""
    found = []
    for _ in range(count - 1):
        mantissa, exponent = frexp(alpha)
        found.append(ldexp(floor(ldexp(mantissa, bits)), exponent - bits))
        alpha -= found[-1]
    return *found, alpha


def quotient(x: Any, xp: Any, alpha: Any) -> tuple[Any, Any]:
    """x / alpha as (z, short): z is rounded, and z + short is exact to nearly twice the digits.

    As Cody and Waite reduce an argument: the front of the quotient has so few bits that its products with the parts of
    alpha are exact, so that what it leaves of x is too. A compiler that contracts to fused multiply-adds does no harm.

    Args:
        x: array of numbers ≤ 0, −inf too.
        xp: the array namespace.
        alpha: finite number > 0.

    Returns: two arrays of the shape of ``x``.
    Source: Cody & Waite 1980, Software Manual for the Elementary Functions, chapter 6.

    Example:
        >>> import numpy as np
        >>> z, short = quotient(np.array([-1.0]), np, 0.1)
        >>> float(z[0]), float(short[0])
        (-10.0, 5.551115123125783e-16)
    """
    bits, count, grid = digits_of(x.dtype)
    bound = -_FAR * alpha
    near = xp.where(x < bound, bound, x)
    front = xp.round(near / alpha * grid) / grid
    rest = near
    for part in parts_of(alpha, bits, count):
        rest = rest - front * part
    rest = rest / alpha
    z = front + rest
    return z, rest - (z - front)


def exp_of_quotient(x: Any, xp: Any, alpha: Any) -> Any:
    """exp(x / alpha), the arguments as for :func:`quotient`."""
    z, short = quotient(x, xp, alpha)
    return xp.exp(z) * (1 + short)  # the product of exp and short could be flushed


def expm1_of_quotient(x: Any, xp: Any, alpha: Any) -> Any:
    """alpha · expm1(x / alpha), the arguments as for :func:`quotient`; ``xp`` has ``expm1`` besides."""
    z, short = quotient(x, xp, alpha)
    bent = xp.expm1(z)
    near = x + alpha * ((bent - z) + bent * short)  # fewer roundings than the product, which is used below −1
    far = alpha * bent + (alpha * xp.exp(z)) * short
    return xp.where(z > -1, near, far)

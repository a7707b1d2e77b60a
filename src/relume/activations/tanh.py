"""Tanh, the hyperbolic tangent: from −1 to 1, flat at both ends."""

from __future__ import annotations

from math import atanh, sqrt
from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import FLAT_SLOPE, Activation, Source

EDGE = atanh(sqrt(1 - FLAT_SLOPE))
"""Where 1 − y² = FLAT_SLOPE: beyond ±2.993 the curve is flat."""


def value(x: Any, xp: Any) -> Any:
    """Hyperbolic tangent: ``(exp(x) - exp(-x)) / (exp(x) + exp(-x))``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, ±inf → ±1, −0 → −0.
    Source: LeCun, Bottou, Orr & Müller 1998, section 4.4, http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf

    Example:
        >>> import numpy as np
        >>> value(np.array([-np.inf, 0.0, 1.0]), np).round(4).tolist()
        [-1.0, 0.0, 0.7616]
    """
    return xp.tanh(x)


def slope(x: Any, xp: Any) -> Any:
    """Slope of tanh: ``1 - y²``.

    By 4 e² / (1 + e²)² with e = exp(−|x|): the difference 1 − y² has no digits left from about |x| = 9 on in
    float32.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, ±inf → 0.
    Kinks: none.
    Source: LeCun, Bottou, Orr & Müller 1998, section 4.4, http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf

    Example:
        >>> import numpy as np
        >>> slope(np.array([-np.inf, 0.0, 1.0]), np).round(4).tolist()
        [0.0, 1.0, 0.42]
    """
    tail = xp.exp(-xp.abs(x))
    half = tail / (1 + tail * tail)
    return 4 * half * half


def gain() -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.5925."""
    return measured_gain(lambda z: value(z, NUMPY))


ACTIVATION = Activation(
    name="tanh",
    title="Tanh",
    formula="(exp(x) − exp(−x)) / (exp(x) + exp(−x))",
    range="(−1, 1)",
    value=value,
    slope=slope,
    gain=gain,
    gain_note="PyTorch's calculate_gain gives 5/3 for tanh, by convention.",
    fires_above=lambda **_: float("-inf"),
    flat=lambda **_: (-EDGE, EDGE),
    rectifier=False,
    can_die="no; it saturates at both ends instead",
    saturates="at both ends",
    advantages="Bounded; odd, so the mean output is near 0; slope 1 at 0.",
    disadvantages="Flat at both ends: deep stacks train slowly, and saturated units hardly learn.",
    when_to_use="Recurrent nets, bounded outputs (actions, images in −1 … 1), small nets.",
    hazards=("In float32 PyTorch's slope, 1 − y², is exactly 0 from about |x| = 9 on.",),
    sources=(
        Source(
            "LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.4",
            "http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf",
        ),
        Source(
            "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks",
            "https://proceedings.mlr.press/v9/glorot10a.html",
        ),
    ),
)

"""Sigmoid, the logistic function: from 0 to 1, flat at both ends."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import FLAT_SLOPE, Activation, Source

EDGE = log((1 + sqrt(1 - 4 * FLAT_SLOPE)) / (1 - sqrt(1 - 4 * FLAT_SLOPE)))
"""Where y (1 − y) = FLAT_SLOPE: beyond ±4.585 the curve is flat."""


def value(x: Any, xp: Any) -> Any:
    """Logistic function: ``1 / (1 + exp(-x))``.

    By exp(−|x|), which cannot overflow.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → 0, inf → 1.
    Source: LeCun, Bottou, Orr & Müller 1998, section 4.4, http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf

    Example:
        >>> import numpy as np
        >>> value(np.array([-np.inf, 0.0, 2.0]), np).round(4).tolist()
        [0.0, 0.5, 0.8808]
    """
    tail = xp.exp(-xp.abs(x))
    return xp.where(x < 0, tail, 1.0) / (1 + tail)


def slope(x: Any, xp: Any) -> Any:
    """Slope of the sigmoid: ``y (1 - y)``, without the cancellation of 1 − y.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, ±inf → 0.
    Kinks: none.
    Source: LeCun, Bottou, Orr & Müller 1998, section 4.4, http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf

    Example:
        >>> import numpy as np
        >>> slope(np.array([-np.inf, 0.0, 2.0]), np).round(4).tolist()
        [0.0, 0.25, 0.105]
    """
    tail = xp.exp(-xp.abs(x))
    return tail / ((1 + tail) * (1 + tail))


def gain() -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.8463."""
    return measured_gain(lambda z: value(z, NUMPY))


ACTIVATION = Activation(
    name="sigmoid",
    title="Sigmoid",
    formula="1 / (1 + exp(−x))",
    range="(0, 1)",
    value=value,
    slope=slope,
    gain=gain,
    gain_note="PyTorch's calculate_gain gives 1 for the sigmoid, by convention.",
    fires_above=lambda **_: float("-inf"),
    flat=lambda **_: (-EDGE, EDGE),
    rectifier=False,
    can_die="no; it saturates at both ends instead",
    saturates="at both ends",
    advantages="Bounded; reads as a probability; smooth.",
    disadvantages="Slope at most 1/4 and flat at both ends: deep stacks do not train; mean output above 0.",
    when_to_use="Gates, and the output of a binary classifier. Not between hidden layers.",
    aliases=("logistic",),
    hazards=(
        "For a loss use the logits (binary_cross_entropy_with_logits): log(sigmoid(x)) is −inf below "
        "about x = −89 in float32.",
    ),
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

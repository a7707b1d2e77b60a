"""SiLU, also called swish: the input times its sigmoid."""

from __future__ import annotations

from typing import Any

from relume.activations import sigmoid
from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import Activation, Source

EDGE = -6.2613888488199665
"""Where the slope crosses −FLAT_SLOPE for the last time: for all x below, |slope| < FLAT_SLOPE. By bisection;
no closed form."""

FAR = 1000.0
"""Beyond ±FAR the slope is 0 or 1 to the last bit in every dtype; x is held there, since inf · 0 is nan."""


def value(x: Any, xp: Any) -> Any:
    """Sigmoid linear unit: ``x / (1 + exp(-x))``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, inf → inf, −inf → nan (inf · 0, as PyTorch; the limit
        is 0).
    Source: Elfwing, Uchibe & Doya 2018, https://arxiv.org/abs/1702.03118

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np).round(4).tolist()
        [-0.2384, 0.0, 2.8577]
    """
    return x * sigmoid.value(x, xp)


def slope(x: Any, xp: Any) -> Any:
    """Slope of SiLU: ``s + x s (1 - s)``, s the sigmoid of ``x``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan; −inf → 0 and inf → 1, the limits (PyTorch nan).
    Kinks: none.
    Source: Elfwing, Uchibe & Doya 2018, https://arxiv.org/abs/1702.03118

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np).round(4).tolist()
        [-0.0908, 0.5, 1.0881]
    """
    near = xp.minimum(xp.maximum(x, -FAR), FAR)
    return sigmoid.value(near, xp) + near * sigmoid.slope(near, xp)


def gain() -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.6765."""
    return measured_gain(lambda z: value(z, NUMPY))


ACTIVATION = Activation(
    name="silu",
    title="SiLU",
    formula="x / (1 + exp(−x))",
    range="[−0.279, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    fires_above=lambda **_: EDGE,
    flat=lambda **_: (EDGE, None),
    dies=lambda **_: True,
    rectifier=False,
    can_die="yes, but far later than ReLU: below about −6 the slope vanishes",
    saturates="below about −6",
    advantages="Smooth; a slope left well below 0; its derivatives exist everywhere.",
    disadvantages="An exponential per element; not monotone; not sparse.",
    when_to_use=("Vision nets (EfficientNet), gated layers of language models (SwiGLU), physics-informed nets."),
    aliases=("swish",),
    hazards=("At −inf the value is nan, not the limit 0, in PyTorch.",),
    sources=(
        Source(
            "Elfwing, Uchibe & Doya 2018, Sigmoid-Weighted Linear Units for Neural Network Function "
            "Approximation in Reinforcement Learning",
            "https://arxiv.org/abs/1702.03118",
        ),
        Source(
            "Ramachandran, Zoph & Le 2017, Searching for Activation Functions (swish)",
            "https://arxiv.org/abs/1710.05941",
        ),
        Source(
            "Hendrycks & Gimpel 2016, Gaussian Error Linear Units (GELUs), section 2",
            "https://arxiv.org/abs/1606.08415",
        ),
    ),
)

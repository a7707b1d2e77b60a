"""Mish: the input times the tanh of its softplus."""

from __future__ import annotations

from typing import Any

from relume.activations import sigmoid
from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import Activation, Source

EDGE = -6.263968785699261
"""Where the slope crosses −FLAT_SLOPE for the last time: for all x below, |slope| < FLAT_SLOPE. By bisection;
no closed form."""

FAR = 1000.0
"""Beyond ±FAR the slope is 0 or 1 to the last bit in every dtype; x is held there, since inf · 0 is nan."""


def value(x: Any, xp: Any) -> Any:
    """Mish: ``x · tanh(log(1 + exp(x)))``.

    The tanh is a quotient in n = exp(−|x|), which cannot overflow: (1 + 2 n) / (1 + 2 n + 2 n²) above 0.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, inf → inf, −inf → nan (inf · 0, as PyTorch; the limit is 0).
    Source: Misra 2019, https://arxiv.org/abs/1908.08681

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np).round(4).tolist()
        [-0.2525, 0.0, 2.9865]
    """
    n = xp.exp(-xp.abs(x))
    return x * xp.where(x > 0, (1 + 2 * n) / (1 + 2 * n + 2 * n * n), n * (n + 2) / (n * (n + 2) + 2))


def slope(x: Any, xp: Any) -> Any:
    """Slope of Mish: ``t + x (1 − t²) s``, t the tanh of the softplus and s the sigmoid of ``x``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan; −inf → 0 and inf → 1, the limits (PyTorch nan).
    Kinks: none.
    Source: Misra 2019, https://arxiv.org/abs/1908.08681

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np).round(4).tolist()
        [-0.1084, 0.6, 1.0211]
    """
    near = xp.minimum(xp.maximum(x, -FAR), FAR)
    n = xp.exp(-xp.abs(near))
    above, below = 1 + 2 * n + 2 * n * n, n * (n + 2) + 2
    t = xp.where(near > 0, (1 + 2 * n) / above, n * (n + 2) / below)
    rest = xp.where(near > 0, 2 * n * n / above, 2 / below)
    return t + near * rest * (1 + t) * sigmoid.value(near, xp)


def gain() -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.4868."""
    return measured_gain(lambda z: value(z, NUMPY))


ACTIVATION = Activation(
    name="mish",
    title="Mish",
    formula="x · tanh(log(1 + exp(x)))",
    range="[−0.309, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    fires_above=lambda **_: EDGE,
    flat=lambda **_: (EDGE, None),
    dies=lambda **_: True,
    rectifier=False,
    can_die="yes, but far later than ReLU: below about −6 the slope vanishes",
    saturates="below about −6",
    advantages="Smooth; a slope left well below 0; a little better than SiLU in detectors.",
    disadvantages="Two exponentials and a logarithm per element; not monotone; not sparse.",
    when_to_use="Detectors of the YOLO line, and whenever a pretrained net uses it.",
    hazards=("At −inf the value is nan, not the limit 0, in PyTorch.",),
    sources=(
        Source(
            "Misra 2019, Mish: A Self Regularized Non-Monotonic Activation Function",
            "https://arxiv.org/abs/1908.08681",
        ),
    ),
)

"""SELU: ELU with the two constants that make zero mean and unit variance a fixed point."""

from __future__ import annotations

from math import log
from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import FLAT_SLOPE, Activation, Kink, Source

ALPHA = 1.6732632423543772848170429916717
"""α₀₁ of Klambauer et al. 2017: with SCALE, N(0, 1) in gives mean 0 and variance 1 out."""

SCALE = 1.0507009873554804934193349852946
"""λ₀₁ of Klambauer et al. 2017."""

SCALED_ALPHA = 1.7580993408473768599402175208123
"""SCALE · ALPHA, which as a product of two float64 numbers would be an ulp off; minus the value at −inf."""


def value(x: Any, xp: Any) -> Any:
    """Scaled exponential linear unit: ``SCALE * (x if x > 0 else ALPHA * (exp(x) - 1))``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → −1.7581, inf → inf.
    Source: Klambauer, Unterthiner, Mayr & Hochreiter 2017, eq. 2, https://arxiv.org/abs/1706.02515

    Example:
        >>> import numpy as np
        >>> value(np.array([-np.inf, 0.0, 1.0]), np).round(4).tolist()
        [-1.7581, 0.0, 1.0507]
    """
    below = xp.where(x > 0, 0.0, x)
    above = xp.where(x > 0, x, 0.0)
    return xp.where(x > 0, SCALE * above, SCALED_ALPHA * xp.expm1(below))


def slope(x: Any, xp: Any) -> Any:
    """Slope of SELU: SCALE above 0, else ``SCALE * ALPHA * exp(x)``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → SCALE, as PyTorch (JAX nan), −inf → 0.
    Kinks: 0 → 1.7581, the slope from below (PyTorch, JAX); 1.0507, from above (TensorFlow).
    Source: Klambauer, Unterthiner, Mayr & Hochreiter 2017, eq. 2, https://arxiv.org/abs/1706.02515

    Example:
        >>> import numpy as np
        >>> slope(np.array([-np.inf, 0.0, 1.0]), np).round(4).tolist()
        [0.0, 1.7581, 1.0507]
    """
    below = xp.where(x <= 0, x, 0.0)
    return xp.where(x <= 0, SCALED_ALPHA * xp.exp(below), SCALE)


def gain() -> float:
    """1/√E[f(z)²], z ~ N(0, 1): 1, which is what its constants are for."""
    return measured_gain(lambda z: value(z, NUMPY))


ACTIVATION = Activation(
    name="selu",
    title="SELU",
    formula="1.0507 · x if x > 0 else 1.0507 · 1.6733 · (exp(x) − 1)",
    range="(−1.7581, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    gain_note=("PyTorch's calculate_gain gives 0.75 for SELU; 1 (LeCun initialization) is what the paper asks for."),
    flat=lambda **_: (log(FLAT_SLOPE / SCALED_ALPHA), None),
    slope_at_nan="SCALE",
    can_die="hardly: the slope below 0 is small but never 0",
    saturates="far below 0, at −1.7581",
    advantages="Keeps mean 0 and variance 1 through plain deep nets without normalization layers.",
    disadvantages="Only with LeCun initialization and standardized inputs; ordinary dropout breaks it.",
    when_to_use="Deep fully connected nets on tabular data, with AlphaDropout.",
    kinks=(
        Kink(
            "0",
            {
                "torch": "SCALE · ALPHA",
                "keras": "as its backend",
                "tensorflow": "SCALE",
                "jax": "SCALE · ALPHA",
            },
        ),
    ),
    hazards=(
        "Needs initialization with variance 1/fan_in (LeCun normal); with He's the fixed point is lost.",
        "Ordinary dropout changes mean and variance; AlphaDropout keeps them.",
        "TensorFlow and ONNX Runtime compute exp(x) − 1: in float32 the value at −1e-8 is 0.",
    ),
    sources=(
        Source(
            "Klambauer, Unterthiner, Mayr & Hochreiter 2017, Self-Normalizing Neural Networks, eq. 2",
            "https://arxiv.org/abs/1706.02515",
        ),
    ),
)

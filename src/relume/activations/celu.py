"""CELU: ELU with the input divided by alpha, so that the slope is continuous for every alpha."""

from __future__ import annotations

from math import log
from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations._quotient import exp_of_quotient, expm1_of_quotient, is_exact
from relume.activations.definition import FLAT_SLOPE, Activation, Kink, Parameter, Source


def value(x: Any, xp: Any, *, alpha: float = 1.0) -> Any:
    """Continuously differentiable ELU: ``x if x > 0 else alpha * (exp(x / alpha) - 1)``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        alpha: finite scalar > 0; minus the value at −inf, dimensionless.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → −alpha, inf → inf.
    Source: Barron 2017, https://arxiv.org/abs/1704.07483

    Example:
        >>> import numpy as np
        >>> value(np.array([-np.inf, 0.0, 3.0]), np, alpha=2.0).tolist()
        [-2.0, 0.0, 3.0]
    """
    below = xp.where(x < 0, x, 0.0)
    bent = alpha * xp.expm1(below / alpha) if is_exact(alpha) else expm1_of_quotient(below, xp, alpha)
    return xp.where(x < 0, bent, x)


def slope(x: Any, xp: Any, *, alpha: float = 1.0) -> Any:
    """Slope of CELU: 1 above 0, else ``exp(x / alpha)``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        alpha: as for :func:`value`.

    Returns: array, shape and dtype of ``x``. nan → 1, as PyTorch (JAX nan), −inf → 0.
    Kinks: 0 → 1 from both sides (Keras on TensorFlow: 2).
    Source: Barron 2017, https://arxiv.org/abs/1704.07483

    Example:
        >>> import numpy as np
        >>> slope(np.array([-np.inf, 0.0, 3.0]), np, alpha=2.0).tolist()
        [0.0, 1.0, 1.0]
    """
    below = xp.where(x <= 0, x, 0.0)
    fallen = xp.exp(below / alpha) if is_exact(alpha) else exp_of_quotient(below, xp, alpha)
    return xp.where(x <= 0, fallen, 1.0)


def gain(*, alpha: float = 1.0) -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.2452 for alpha 1, where CELU is ELU."""
    return measured_gain(lambda z: value(z, NUMPY, alpha=alpha))


def flat(*, alpha: float = 1.0) -> tuple[float | None, float | None]:
    """Below alpha · ln(FLAT_SLOPE) the slope exp(x / alpha) is under FLAT_SLOPE."""
    return alpha * log(FLAT_SLOPE), None


ACTIVATION = Activation(
    name="celu",
    title="CELU",
    formula="x if x > 0 else alpha · (exp(x / alpha) − 1)",
    range="(−alpha, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    flat=flat,
    slope_at_nan="1",
    can_die="hardly: the slope below 0 is small but never 0",
    saturates="far below 0, at −alpha",
    advantages="Slope continuous for every alpha, and never above 1; mean output near 0.",
    disadvantages="An exponential per element; units far below 0 learn very slowly.",
    when_to_use="Where ELU fits and alpha is not 1, or where the slope itself is differentiated.",
    parameters=(
        Parameter(
            "alpha",
            1.0,
            "minus the value at −inf, and the scale on which the slope falls",
            low=0.0,
            low_open=True,
            defaults={"torch": 1.0, "keras.activations": 1.0, "jax": 1.0, "onnx": 1.0},
        ),
    ),
    kinks=(Kink("0", {"torch": "1", "keras": "1 (on TensorFlow 2)", "jax": "1"}),),
    hazards=(
        "alpha = 0 divides by zero: PyTorch raises, Keras on TensorFlow, JAX and NumPy return nan.",
        "Keras on TensorFlow gives slope 2 at 0.",
        "ONNX Celu takes only float32 below opset 28, and ONNX Runtime loses all digits below about −1e-8.",
        "With an alpha that is no power of two PyTorch, Keras and JAX round x / alpha before exp: far below 0 their "
        "slope is off by up to twice |x / alpha| units in the last place. Here the quotient keeps what it is short of.",
        "For alpha 1 it is ELU.",
    ),
    sources=(
        Source(
            "Barron 2017, Continuously Differentiable Exponential Linear Units",
            "https://arxiv.org/abs/1704.07483",
        ),
    ),
)

"""ELU: ReLU above 0, and below it an exponential that levels off at −alpha."""

from __future__ import annotations

from math import log
from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import FLAT_SLOPE, Activation, Kink, Parameter, Source


def value(x: Any, xp: Any, *, alpha: float = 1.0) -> Any:
    """Exponential linear unit: ``x if x > 0 else alpha * (exp(x) - 1)``.

    By ``expm1``, so that small negative inputs keep their digits: exp(x) − 1 is 0 for x = −1e-8 in float32.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        alpha: finite scalar ≥ 0; minus the value at −inf, dimensionless.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → −alpha, inf → inf.
    Source: Clevert, Unterthiner & Hochreiter 2016, section 3, https://arxiv.org/abs/1511.07289

    Example:
        >>> import numpy as np
        >>> value(np.array([-np.inf, 0.0, 3.0]), np).tolist()
        [-1.0, 0.0, 3.0]
    """
    below = xp.where(x > 0, 0.0, x)
    return xp.where(x > 0, x, alpha * xp.expm1(below))


def slope(x: Any, xp: Any, *, alpha: float = 1.0) -> Any:
    """Slope of ELU: 1 above 0, else ``alpha * exp(x)``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        alpha: as for :func:`value`.

    Returns: array, shape and dtype of ``x``. nan → 1, as PyTorch (JAX nan), −inf → 0.
    Kinks: 0 → ``alpha`` in every framework (no jump where alpha is 1).
    Source: Clevert, Unterthiner & Hochreiter 2016, section 3, https://arxiv.org/abs/1511.07289

    Example:
        >>> import numpy as np
        >>> slope(np.array([-np.inf, 0.0, 3.0]), np, alpha=2.0).tolist()
        [0.0, 2.0, 1.0]
    """
    below = xp.where(x <= 0, x, 0.0)
    return xp.where(x <= 0, alpha * xp.exp(below), 1.0)


def gain(*, alpha: float = 1.0) -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.2452 for alpha 1."""
    return measured_gain(lambda z: value(z, NUMPY, alpha=alpha))


def flat(*, alpha: float = 1.0) -> tuple[float | None, float | None]:
    """Below ln(FLAT_SLOPE / alpha), or below 0 where alpha is under FLAT_SLOPE already."""
    if alpha <= FLAT_SLOPE:
        return 0.0, None
    return log(FLAT_SLOPE / alpha), None


ACTIVATION = Activation(
    name="elu",
    title="ELU",
    formula="x if x > 0 else alpha · (exp(x) − 1)",
    range="(−alpha, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    flat=flat,
    dies=lambda alpha=1.0, **_: bool(alpha == 0),
    slope_at_nan="1",
    can_die="hardly: the slope below 0 is small but never 0 (unless alpha is 0)",
    saturates="far below 0, at −alpha",
    advantages="Mean output near 0; smooth at 0 for alpha 1; noise far below 0 is damped.",
    disadvantages="An exponential per element; units far below 0 learn very slowly.",
    when_to_use=("Nets without batch norm, regression, reinforcement learning. Keep alpha 1 unless you compare."),
    parameters=(
        Parameter(
            "alpha",
            1.0,
            "minus the value at −inf, and the slope at 0 from below",
            low=0.0,
            defaults={"torch": 1.0, "keras": 1.0, "keras.activations": 1.0, "jax": 1.0, "onnx": 1.0},
        ),
    ),
    kinks=(Kink("0", {"torch": "alpha", "keras": "alpha", "tensorflow": "1", "jax": "alpha"}),),
    hazards=(
        "TensorFlow, Keras on TensorFlow and ONNX Runtime compute exp(x) − 1: in float32 the value at −1e-8 "
        "is 0, at −1e-4 wrong in the fourth digit.",
        "tf.nn.elu has no alpha.",
        "PyTorch in place takes the slope from the output: in float32 it is 44 % off at −17 and 0 at −20, in "
        "bfloat16 0 from −8 on. Out of place it is exact.",
        "A negative alpha is accepted by every framework and gives a bump, not an ELU; here it is refused.",
    ),
    sources=(
        Source(
            "Clevert, Unterthiner & Hochreiter 2016, Fast and Accurate Deep Network Learning by Exponential "
            "Linear Units, section 3",
            "https://arxiv.org/abs/1511.07289",
        ),
    ),
)

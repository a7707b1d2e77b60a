"""RReLU: LeakyReLU whose slope below 0 is drawn at random in training, and is the mean in evaluation."""

from __future__ import annotations

from math import sqrt
from typing import Any

from relume.activations.definition import Activation, Kink, Parameter, Source


def value(x: Any, xp: Any, *, lower: float = 1 / 8, upper: float = 1 / 3, slopes: Any = None) -> Any:
    """Randomized leaky rectified linear unit: ``x if x > 0 else slope * x``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        lower: least slope; finite scalar, dimensionless.
        upper: greatest slope; finite scalar ≥ ``lower``, dimensionless.
        slopes: in training, the slopes drawn from U(lower, upper), one per element: the shape of ``x``. None:
            evaluation, where the slope is (lower + upper) / 2.

    Returns: array, shape and dtype of ``x``. nan → nan; −inf → −inf, but nan where the slope is 0.
    Source: Xu, Wang, Chen & Li 2015, section 2.4, https://arxiv.org/abs/1505.00853

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np, lower=0.1, upper=0.3).tolist()
        [-0.4, 0.0, 3.0]
    """
    drawn = (lower + upper) / 2 if slopes is None else slopes
    below = xp.where(x > 0, 0.0, x)
    return xp.where(x > 0, x, drawn * below)


def slope(x: Any, xp: Any, *, lower: float = 1 / 8, upper: float = 1 / 3, slopes: Any = None) -> Any:
    """Slope of RReLU: 1 above 0, else the slope drawn (training) or (lower + upper) / 2 (evaluation).

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        lower: as for :func:`value`.
        upper: as for :func:`value`.
        slopes: as for :func:`value`.

    Returns: array, shape and dtype of ``x``. nan → the slope below 0 (PyTorch too in evaluation,
        and 1 in training).
    Kinks: 0 → the slope below 0 (PyTorch).
    Source: Xu, Wang, Chen & Li 2015, section 2.4, https://arxiv.org/abs/1505.00853

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np, lower=0.1, upper=0.3).tolist()
        [0.2, 0.2, 1.0]
    """
    drawn = (lower + upper) / 2 if slopes is None else slopes
    one = xp.ones_like(x)
    return xp.where(x > 0, one, drawn * one)


def gain(*, lower: float = 1 / 8, upper: float = 1 / 3) -> float:
    """√(2 / (1 + E[s²])), s ~ U(lower, upper), as in training: He et al. 2015, eq. 15, with E[s²]."""
    return sqrt(2 / (1 + (lower**2 + lower * upper + upper**2) / 3))


def _bounds_problem(*, lower: float, upper: float) -> str:
    if lower <= upper:
        return ""
    return f"lower = {lower!r} is greater than upper = {upper!r}; the slope is drawn between them"


ACTIVATION = Activation(
    name="rrelu",
    title="RReLU",
    formula="x if x > 0 else s · x; s ~ U(lower, upper) in training, their mean in evaluation",
    range="(−∞, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    dies=lambda lower=1 / 8, upper=1 / 3, **_: bool(lower == 0 and upper == 0),
    relation=_bounds_problem,
    random=True,
    slope_at_nan="(lower + upper) / 2",
    can_die="no, unless lower and upper are 0",
    saturates="nowhere",
    advantages="No unit can die; the random slope regularizes where data are few.",
    disadvantages="Training and evaluation differ; random numbers cost time; only PyTorch has it.",
    when_to_use=("Small data sets where LeakyReLU overfits. Not where bit-for-bit reruns across devices matter."),
    aliases=("randomized_leaky_relu", "randomised_leaky_relu"),
    parameters=(
        Parameter("lower", 1 / 8, "least slope below 0", defaults={"torch": 1 / 8}),
        Parameter("upper", 1 / 3, "greatest slope below 0", defaults={"torch": 1 / 3}),
    ),
    kinks=(Kink("0", {"torch": "(lower + upper) / 2"}),),
    hazards=(
        "Keras, TensorFlow, JAX and ONNX have none; an exported model holds the evaluation slope, as a LeakyReLU.",
        "The paper divides by a ~ U(3, 8) and evaluates at x / 5.5; PyTorch multiplies by U(1/8, 1/3) and "
        "evaluates at the mean slope 0.229, not 0.182.",
        "PyTorch on CPU draws only for x ≤ 0, so the generator's state afterwards depends on the data.",
        "Compiled PyTorch draws another stream than eager for the same seed; vmap is not supported; "
        "channels_last is lost.",
    ),
    sources=(
        Source(
            "Xu, Wang, Chen & Li 2015, Empirical Evaluation of Rectified Activations in Convolutional "
            "Network, section 2.4",
            "https://arxiv.org/abs/1505.00853",
        ),
        Source(
            "He, Zhang, Ren & Sun 2015, Delving Deep into Rectifiers, eq. 15 (gain)",
            "https://arxiv.org/abs/1502.01852",
        ),
    ),
)

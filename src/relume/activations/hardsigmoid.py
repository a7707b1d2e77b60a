"""Hardsigmoid: a sigmoid of three straight lines."""

from __future__ import annotations

from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import Activation, Kink, Source


def value(x: Any, xp: Any) -> Any:
    """Hard sigmoid: ``min(max(0, x + 3), 6) / 6``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → 0, inf → 1.
    Source: Howard et al. 2019, section 5.2, https://arxiv.org/abs/1905.02244

    Example:
        >>> import numpy as np
        >>> value(np.array([-4.0, -1.5, 0.0, 3.0]), np).tolist()
        [0.0, 0.25, 0.5, 1.0]
    """
    return xp.minimum(xp.maximum(x + 3, 0.0), 6.0) / 6


def slope(x: Any, xp: Any) -> Any:
    """Slope of Hardsigmoid: 1/6 between −3 and 3, else 0.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → 0, as PyTorch.
    Kinks: −3 → 0 and 3 → 0, from the outer side.
    Source: Howard et al. 2019, section 5.2, https://arxiv.org/abs/1905.02244

    Example:
        >>> import numpy as np
        >>> slope(np.array([-3.0, 0.0, 3.0]), np).round(4).tolist()
        [0.0, 0.1667, 0.0]
    """
    return xp.where(xp.abs(x) < 3, xp.ones_like(x) / 6, 0.0)


def gain() -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.8978."""
    return measured_gain(lambda z: value(z, NUMPY))


ACTIVATION = Activation(
    name="hardsigmoid",
    title="Hardsigmoid",
    formula="min(max(0, x + 3), 6) / 6",
    range="[0, 1]",
    value=value,
    slope=slope,
    gain=gain,
    fires_above=lambda **_: -3.0,
    flat=lambda **_: (-3.0, 3.0),
    dies=lambda **_: True,
    slope_at_nan="0",
    rectifier=False,
    can_die="yes: below −3 on all data its slope is 0, and the gate is shut; above 3 it stays open",
    saturates="at both ends",
    advantages="A sigmoid at the cost of ReLU6; exact in integers, for phones.",
    disadvantages="Slope at most 1/6, and exactly 0 at both ends.",
    when_to_use="Gates of nets for phones, such as squeeze-and-excitation in MobileNetV3. Not between hidden layers.",
    kinks=(
        Kink("-3", {"torch": "0", "keras": "as its backend", "jax": "0"}),
        Kink("3", {"torch": "0", "keras": "as its backend", "jax": "0"}),
    ),
    hazards=(
        "Others use other lines: Keras 2 and Theano had min(max(0, 0.2 x + 0.5), 1), and ONNX's default still is that.",
        "PyTorch's slope between the kinks is 1/6 rounded to float32, in float64 too.",
    ),
    aliases=("hard_sigmoid",),
    sources=(
        Source("Howard et al. 2019, Searching for MobileNetV3, section 5.2", "https://arxiv.org/abs/1905.02244"),
        Source(
            "Courbariaux, Bengio & David 2015, BinaryConnect: Training Deep Neural Networks with binary weights",
            "https://arxiv.org/abs/1511.00363",
        ),
    ),
)

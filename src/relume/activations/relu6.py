"""ReLU6: ReLU that stops at 6, for low-precision arithmetic."""

from __future__ import annotations

from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import Activation, Kink, Source

CEILING = 6.0
"""Where ReLU6 stops."""


def value(x: Any, xp: Any) -> Any:
    """Rectified linear unit up to 6: ``min(max(0, x), 6)``.

    Args:
        x: floating or integer array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → 0, inf → 6, −0 → −0 (as PyTorch in eager
        mode).
    Source: Krizhevsky 2010, http://www.cs.utoronto.ca/~kriz/conv-cifar10-aug2010.pdf

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0, 7.0]), np).tolist()
        [0.0, 0.0, 3.0, 6.0]
    """
    return xp.where(x < 0, 0, xp.where(x > 6, 6, x))


def slope(x: Any, xp: Any) -> Any:
    """Slope of ReLU6: 1 strictly between 0 and 6, else 0.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → 1, as PyTorch has it for a scalar (PyTorch: 1 or 0,
        by the tensor's length; JAX, TensorFlow: 0).
    Kinks: 0 → 0 and 6 → 0 in every framework.
    Source: Krizhevsky 2010, http://www.cs.utoronto.ca/~kriz/conv-cifar10-aug2010.pdf

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0, 6.0]), np).tolist()
        [0.0, 0.0, 1.0, 0.0]
    """
    one = xp.ones_like(x)
    return xp.where(x <= 0, 0.0, xp.where(x >= 6, 0.0, one))


def gain() -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: ReLU's √2 to eight digits, since N(0, 1) hardly reaches 6."""
    return measured_gain(lambda z: value(z, NUMPY))


ACTIVATION = Activation(
    name="relu6",
    title="ReLU6",
    formula="min(max(0, x), 6)",
    range="[0, 6]",
    value=value,
    slope=slope,
    gain=gain,
    flat=lambda **_: (None, CEILING),
    dies=lambda **_: True,
    slope_at_nan="1",
    can_die="yes, below 0 as ReLU; and it sticks above 6, where the slope is 0 too",
    saturates="below 0 and above 6",
    advantages="Bounded: a fixed range for 8-bit and half-precision arithmetic; cheap.",
    disadvantages="Units can die at both ends: silent below 0, stuck at 6 above.",
    when_to_use="Nets that will run in low precision on phones (MobileNet). Otherwise ReLU.",
    kinks=(
        Kink("0", {"torch": "0", "keras": "0", "tensorflow": "0", "jax": "0"}),
        Kink("6", {"torch": "0", "keras": "0", "tensorflow": "0", "jax": "0"}),
    ),
    hazards=(
        "A rewrite as clamp(x, 0, 6) has slope 1 at 0 and at 6 in PyTorch; relu6 has 0.",
        "PyTorch's slope at nan depends on the length of the tensor: 1 for one element, 0 for sixteen.",
        "In place it saves no memory: PyTorch keeps a copy of the input.",
    ),
    sources=(
        Source(
            "Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10",
            "http://www.cs.utoronto.ca/~kriz/conv-cifar10-aug2010.pdf",
        ),
        Source(
            "Sandler, Howard, Zhu, Zhmoginov & Chen 2018, MobileNetV2, section 4 (why it suits low precision)",
            "https://arxiv.org/abs/1801.04381",
        ),
    ),
)

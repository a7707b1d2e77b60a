"""ReLU, the rectified linear unit: the identity above 0, nothing below."""

from __future__ import annotations

from math import sqrt
from typing import Any

from relume.activations.definition import Activation, Kink, Source


def value(x: Any, xp: Any) -> Any:
    """Rectified linear unit: ``max(0, x)``.

    Args:
        x: floating or integer array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → 0, −0 → −0 (as PyTorch).
    Source: Nair & Hinton 2010, https://www.cs.toronto.edu/~fritz/absps/reluICML.pdf

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np).tolist()
        [0.0, 0.0, 3.0]
    """
    return xp.where(x < 0, 0, x)


def slope(x: Any, xp: Any) -> Any:
    """Slope of ReLU: 1 above 0, else 0.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → 1, as PyTorch (JAX and TensorFlow 0).
    Kinks: 0 → 0 in every framework.
    Source: Bertoin et al. 2021 on the choice at 0, https://arxiv.org/abs/2106.12915

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np).tolist()
        [0.0, 0.0, 1.0]
    """
    one = xp.ones_like(x)
    return xp.where(x <= 0, 0.0, one)


def gain() -> float:
    """√2: half of N(0, 1) passes, with all of its variance. He et al. 2015, eq. 10."""
    return sqrt(2)


ACTIVATION = Activation(
    name="relu",
    title="ReLU",
    formula="max(0, x)",
    range="[0, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    dies=lambda **_: True,
    slope_at_nan="1",
    can_die="yes: below 0 on all data its slope is 0 and it never comes back",
    saturates="below 0",
    advantages="Cheapest to compute; slope exactly 1 above 0, so deep nets train; sparse outputs.",
    disadvantages="Units can die; outputs are never negative, so their mean is above 0.",
    when_to_use="The default. Change it when units die, or when an experiment says so.",
    kinks=(Kink("0", {"torch": "0", "keras": "0", "tensorflow": "0", "jax": "0"}),),
    hazards=(
        "A large step (a learning rate too high, an outlier in the batch) can push a unit's bias so far down "
        "that it is silent on all data ever after.",
        "Subnormal inputs: TensorFlow and JAX flush them to 0; PyTorch keeps them.",
        "relu(−0) is −0 in PyTorch and +0 in JAX and NumPy; 1/relu(x) sees the difference.",
    ),
    sources=(
        Source(
            "Nair & Hinton 2010, Rectified Linear Units Improve Restricted Boltzmann Machines",
            "https://www.cs.toronto.edu/~fritz/absps/reluICML.pdf",
        ),
        Source(
            "Glorot, Bordes & Bengio 2011, Deep Sparse Rectifier Neural Networks",
            "https://proceedings.mlr.press/v15/glorot11a.html",
        ),
        Source(
            "Lu, Shin, Su & Karniadakis 2019, Dying ReLU and Initialization: Theory and Numerical Examples",
            "https://arxiv.org/abs/1903.06733",
        ),
        Source(
            "Bertoin, Bolte, Gerchinovitz & Pauwels 2021, Numerical influence of ReLU'(0) on backpropagation",
            "https://arxiv.org/abs/2106.12915",
        ),
    ),
)

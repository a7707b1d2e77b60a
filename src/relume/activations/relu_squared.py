"""ReLUSquared: the square of ReLU."""

from __future__ import annotations

from math import sqrt
from typing import Any

from relume.activations.definition import FLAT_SLOPE, Activation, Kink, Source


def value(x: Any, xp: Any) -> Any:
    """Squared rectified linear unit: ``max(0, x)²``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → 0, ±0 → 0: a square has no sign.
    Source: So et al. 2021, section 3, https://arxiv.org/abs/2109.08668

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np).tolist()
        [0.0, 0.0, 9.0]
    """
    above = xp.where(x < 0, 0, x)
    return above * above


def slope(x: Any, xp: Any) -> Any:
    """Slope of ReLUSquared: 2 x above 0, else 0.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan.
    Kinks: 0 → 0, from both sides: it is the second derivative that jumps there, from 0 to 2.
    Source: So et al. 2021, section 3, https://arxiv.org/abs/2109.08668

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np).tolist()
        [0.0, 0.0, 6.0]
    """
    return xp.where(x <= 0, 0.0, x + x)


def gain() -> float:
    """√(2/3): half of E[z⁴] = 3 passes. It keeps the scale of one layer only, since a square is not linear."""
    return sqrt(2 / 3)


ACTIVATION = Activation(
    name="relu_squared",
    title="ReLUSquared",
    formula="max(0, x)²",
    range="[0, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    flat=lambda **_: (FLAT_SLOPE / 2, None),
    dies=lambda **_: True,
    composed=True,
    can_die="yes, as ReLU: below 0 on all data its slope is 0",
    saturates="below 0",
    advantages="Better language models than GELU at the same compute; sparse; as cheap as ReLU.",
    disadvantages="Units can die; outputs grow with the square of the scale; overflows early in float16.",
    when_to_use="The feed-forward layers of transformers, after a normalization. Not in deep stacks without one.",
    kinks=(Kink("0", {"torch": "0", "keras": "as its backend", "tensorflow": "0", "jax": "0"}),),
    hazards=(
        "float16 overflows above x = 256.",
        "No framework has it as one function: it is written as relu(x).square(). A watch sees a script's relu there.",
    ),
    aliases=("squared_relu", "relu2"),
    sources=(
        Source(
            "So et al. 2021, Primer: Searching for Efficient Transformers for Language Modeling, section 3",
            "https://arxiv.org/abs/2109.08668",
        ),
    ),
)

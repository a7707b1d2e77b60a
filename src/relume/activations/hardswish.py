"""Hardswish: the input times its hardsigmoid."""

from __future__ import annotations

from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import Activation, Kink, Source


def value(x: Any, xp: Any) -> Any:
    """Hard SiLU: ``x · min(max(0, x + 3), 6) / 6``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → nan, inf → inf, −inf → nan (inf · 0, as PyTorch; the limit is 0).
    Source: Howard et al. 2019, section 5.2, https://arxiv.org/abs/1905.02244

    Example:
        >>> import numpy as np
        >>> value(np.array([-4.0, -1.5, 0.0, 3.0]), np).tolist()
        [-0.0, -0.375, 0.0, 3.0]
    """
    return x * (xp.minimum(xp.maximum(x + 3, 0.0), 6.0) / 6)


def slope(x: Any, xp: Any) -> Any:
    """Slope of Hardswish: 0 up to −3, ``(2 x + 3) / 6`` up to 3, then 1.

    Args:
        x: floating array, any shape.
        xp: the array namespace.

    Returns: array, shape and dtype of ``x``. nan → 1, as PyTorch; −inf → 0.
    Kinks: −3 → 0 and 3 → 1, from the outer side: at both the slope jumps by 1/2.
    Source: Howard et al. 2019, section 5.2, https://arxiv.org/abs/1905.02244

    Example:
        >>> import numpy as np
        >>> slope(np.array([-3.0, -1.5, 0.0, 3.0]), np).tolist()
        [0.0, 0.0, 0.5, 1.0]
    """
    near = xp.minimum(xp.maximum(x, -3.0), 3.0)
    return xp.where(x <= -3, 0.0, xp.where(x < 3, (near + near + 3) / 6, xp.ones_like(x)))


def gain() -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.7367."""
    return measured_gain(lambda z: value(z, NUMPY))


ACTIVATION = Activation(
    name="hardswish",
    title="Hardswish",
    formula="x · min(max(0, x + 3), 6) / 6",
    range="[−3/8, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    fires_above=lambda **_: -3.0,
    flat=lambda **_: (-3.0, None),
    dies=lambda **_: True,
    slope_at_nan="1",
    rectifier=False,
    can_die="yes, but later than ReLU: below −3 on all data its slope is 0",
    saturates="below −3",
    advantages="As SiLU at the cost of ReLU6; exact in integers, for phones.",
    disadvantages="Not monotone; its slope jumps at −3 and at 3.",
    when_to_use="MobileNetV3 and what is quantized for phones; SiLU otherwise.",
    kinks=(
        Kink("-3", {"torch": "0", "keras": "as its backend", "jax": "0"}),
        Kink("3", {"torch": "1", "keras": "as its backend", "jax": "1"}),
    ),
    hazards=("At −inf the value is nan, not the limit 0, in PyTorch.",),
    aliases=("hard_swish", "hard_silu"),
    sources=(Source("Howard et al. 2019, Searching for MobileNetV3, section 5.2", "https://arxiv.org/abs/1905.02244"),),
)

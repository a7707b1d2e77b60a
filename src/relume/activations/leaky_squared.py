"""LeakySquared: the square of LeakyReLU."""

from __future__ import annotations

from math import sqrt
from typing import Any

from relume.activations import leaky_relu
from relume.activations.definition import Activation, Kink, Parameter, Source


def value(x: Any, xp: Any, *, negative_slope: Any = 0.5) -> Any:
    """Squared leaky rectified linear unit: ``x²`` above 0, else ``(negative_slope · x)²``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        negative_slope: of LeakyReLU before the square: finite.

    Returns: array, shape and dtype of ``x``. nan → nan, ±inf → inf, ±0 → 0: a square has no sign.
    Source: the pull request 249 of modded-nanogpt, https://github.com/KellerJordan/modded-nanogpt/pull/249

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np).tolist()
        [1.0, 0.0, 9.0]
    """
    leaky = leaky_relu.value(x, xp, negative_slope=negative_slope)
    return leaky * leaky


def slope(x: Any, xp: Any, *, negative_slope: Any = 0.5) -> Any:
    """Slope of LeakySquared: ``2 x`` above 0, else ``2 · negative_slope² · x``, which is below 0.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        negative_slope: as for :func:`value`.

    Returns: array, shape and dtype of ``x``. nan → nan; −inf → −inf.
    Kinks: 0 → 0, from both sides: the second derivative jumps there, from 2 · negative_slope² to 2.
    Source: the pull request 249 of modded-nanogpt, https://github.com/KellerJordan/modded-nanogpt/pull/249

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np).tolist()
        [-1.0, 0.0, 6.0]
    """
    leaky = leaky_relu.value(x, xp, negative_slope=negative_slope)
    return (leaky + leaky) * leaky_relu.slope(x, xp, negative_slope=negative_slope)


def gain(*, negative_slope: float = 0.5) -> float:
    """√(2 / (3 (1 + negative_slope⁴))). It keeps the scale of one layer only, since a square is not linear."""
    return sqrt(2 / (3 * (1 + negative_slope**4)))


ACTIVATION = Activation(
    name="leaky_squared",
    title="LeakySquared",
    formula="x² if x > 0 else (negative_slope · x)²",
    range="[0, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    dies=lambda negative_slope=0.5, **_: bool(negative_slope == 0),
    composed=True,
    can_die="no, unless negative_slope is 0",
    saturates="nowhere",
    advantages="ReLUSquared with a gradient below 0 too, so that no unit can die.",
    disadvantages="Not monotone: a large negative input looks like a positive one; not sparse; overflows in float16.",
    when_to_use="Where ReLUSquared is used and units die.",
    parameters=(Parameter("negative_slope", 0.5, "slope below 0, before the square", aliases=("alpha", "slope")),),
    kinks=(Kink("0", {"torch": "0", "keras": "as its backend", "tensorflow": "0", "jax": "0"}),),
    hazards=(
        "A slope of 0 gives nan at −inf where ReLUSquared gives 0.",
        "No framework has it as one function: it is written as leaky_relu(x, 0.5).square(). "
        "A watch sees a script's leaky_relu there.",
    ),
    aliases=("leaky_relu_squared", "leaky2"),
    sources=(
        Source(
            "dexhunter 2026, LeakyReLU(0.5)² MLP activation, pull request 249 of modded-nanogpt",
            "https://github.com/KellerJordan/modded-nanogpt/pull/249",
        ),
    ),
)

"""PReLU: LeakyReLU whose slope below 0 is learned, one for the layer or one per unit."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from relume.activations.definition import Activation, Kink, Parameter, Source


def value(x: Any, xp: Any, *, weight: Any = 0.25) -> Any:
    """Parametric rectified linear unit: ``x if x > 0 else weight * x``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        weight: the learned slope; finite scalar, or array that broadcasts to ``x`` (one slope per unit: of
            the shape that has the unit axis alone, such as (C, 1, 1) for (N, C, H, W)); dimensionless.

    Returns: array, shape and dtype of ``x``. nan → nan; −inf → −inf, but nan where ``weight`` is 0 (0 · inf,
        as in PyTorch; a fresh Keras layer starts there).
    Source: He, Zhang, Ren & Sun 2015, eq. 1, https://arxiv.org/abs/1502.01852

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np, weight=0.25).tolist()
        [-0.5, 0.0, 3.0]
    """
    below = xp.where(x > 0, 0.0, x)
    return xp.where(x > 0, x, weight * below)


def slope(x: Any, xp: Any, *, weight: Any = 0.25) -> Any:
    """Slope of PReLU with respect to ``x``: 1 above 0, else ``weight``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        weight: as for :func:`value`.

    Returns: array, shape and dtype of ``x``. nan → ``weight``, as PyTorch.
    Kinks: 0 → ``weight`` (PyTorch's reverse mode; its forward mode gives 1), 0 (the Keras layer).
    Source: He, Zhang, Ren & Sun 2015, eq. 3, https://arxiv.org/abs/1502.01852

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np, weight=0.25).tolist()
        [0.25, 0.25, 1.0]
    """
    one = xp.ones_like(x)
    return xp.where(x > 0, one, weight * one)


def gain(*, weight: Any = 0.25) -> float:
    """√(2 / (1 + weight²)), of the start value (an array: the mean of weight²). He et al. 2015, eq. 15."""
    return sqrt(2 / (1 + float(np.mean(np.square(weight)))))


ACTIVATION = Activation(
    name="prelu",
    title="PReLU",
    formula="x if x > 0 else weight · x",
    range="(−∞, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    dies=lambda weight=0.25, **_: bool(np.all(np.asarray(weight) == 0)),
    slope_at_nan="weight",
    can_die="no, unless its weight is 0",
    saturates="nowhere",
    advantages="Learns its own slope; no unit can die; costs one number per unit or per layer.",
    disadvantages="Can overfit on little data; weight decay pulls the slope to 0, towards ReLU.",
    when_to_use="Large data, vision and super-resolution. Keep its weight out of weight decay.",
    parameters=(
        Parameter(
            "weight",
            0.25,
            "slope below 0 at the start, then learned",
            learnable=True,
            defaults={"torch": 0.25, "keras": 0.0},
        ),
    ),
    kinks=(Kink("0", {"torch": "weight", "keras": "0"}),),
    hazards=(
        "Keras starts at weight 0, so a fresh layer is ReLU (and gives nan at −inf).",
        "One slope per unit means axis 1 in PyTorch, every position of every unit in Keras unless "
        "shared_axes is given, and right-aligned broadcasting in ONNX: a (C,) slope on (N, C, H, W) applies "
        "along W where C equals W.",
        "Keras's shared_axes takes negative axes one off: −1 shares the last but one.",
        "PyTorch at 0: reverse mode gives weight, forward mode 1.",
        "Autocast on CPU lowers PReLU to bfloat16 and leaves the rest of the family in float32.",
    ),
    sources=(
        Source(
            "He, Zhang, Ren & Sun 2015, Delving Deep into Rectifiers, eq. 1 (definition), eq. 3 (gradients), "
            "eq. 15 (gain)",
            "https://arxiv.org/abs/1502.01852",
        ),
    ),
)

"""Softmax: a vector of numbers to a vector of shares that add up to 1."""

from __future__ import annotations

from math import nan
from typing import Any

from relume.activations.definition import Activation, Source


def value(x: Any, xp: Any, *, axis: int = -1) -> Any:
    """Softmax along an axis: ``exp(x_i) / Σ_j exp(x_j)``.

    The greatest element is taken off first, so that nothing overflows.

    Args:
        x: floating array, at least one axis, none of length 0.
        xp: the array namespace; also ``xp.max`` and ``xp.sum`` with ``axis`` and ``keepdims``.
        axis: the axis along which the shares add up to 1.

    Returns: array, shape and dtype of ``x``. nan or inf anywhere along the axis, or −inf everywhere → nan
        along all of it.
    Source: Goodfellow, Bengio & Courville 2016, section 6.2.2.3,
        https://www.deeplearningbook.org/contents/mlp.html

    Example:
        >>> import numpy as np
        >>> value(np.array([0.0, 1.0, 2.0]), np).round(4).tolist()
        [0.09, 0.2447, 0.6652]
    """
    raised = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return raised / xp.sum(raised, axis=axis, keepdims=True)


def slope(x: Any, xp: Any, *, tangent: Any, axis: int = -1) -> Any:
    """Jacobian-vector product of softmax: ``y (t - Σ y t)``.

    Args:
        x: as for :func:`value`.
        xp: as for :func:`value`.
        tangent: the direction t, an array of the shape of ``x``. The Jacobian is symmetric: backward is the
            same.
        axis: as for :func:`value`.

    Returns: array, shape and dtype of ``x``; nan as for :func:`value`.
    Kinks: none.
    Source: Goodfellow, Bengio & Courville 2016, section 6.2.2.3,
        https://www.deeplearningbook.org/contents/mlp.html

    Example:
        >>> import numpy as np
        >>> slope(np.zeros(2), np, tangent=np.array([1.0, 0.0])).tolist()
        [0.25, -0.25]
    """
    shares = value(x, xp, axis=axis)
    return shares * (tangent - xp.sum(shares * tangent, axis=axis, keepdims=True))


def gain() -> float:
    """nan: the scale of the output depends on the length of the axis, so no one factor keeps it."""
    return nan


ACTIVATION = Activation(
    name="softmax",
    title="Softmax",
    formula="exp(xᵢ) / Σⱼ exp(xⱼ)",
    range="(0, 1), adding up to 1",
    value=value,
    slope=slope,
    gain=gain,
    gain_note=("It depends on the length of the axis; use it on outputs and attention scores, not between layers."),
    fires_above=lambda **_: float("-inf"),
    rectifier=False,
    elementwise=False,
    can_die="no; it saturates where one input is far above the others",
    saturates="where one input leads by much",
    advantages="Gives a distribution over classes; smooth.",
    disadvantages="Couples all units of the axis; saturates when one input leads.",
    when_to_use=("The output of a classifier, and attention weights. With a loss that takes logits, leave it out."),
    hazards=(
        "Cross-entropy losses that take logits (PyTorch's cross_entropy) apply it themselves: applied twice, "
        "the net trains slowly and no error tells.",
        "A row that is −inf throughout (a fully masked attention row) gives nan.",
        "The axis: −1 in Keras, TensorFlow, JAX and ONNX from opset 13 on; PyTorch guesses it from the "
        "number of axes and warns.",
    ),
    sources=(
        Source(
            "Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.2.2.3",
            "https://www.deeplearningbook.org/contents/mlp.html",
        ),
    ),
)

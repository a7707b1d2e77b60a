"""Softplus: a smooth ReLU, whose slope is the sigmoid."""

from __future__ import annotations

from math import log
from typing import Any

from relume.activations import sigmoid
from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import FLAT_SLOPE, Activation, Parameter, Source

EDGE = log(FLAT_SLOPE / (1 - FLAT_SLOPE))
"""beta · x at which the slope is FLAT_SLOPE: the sigmoid's inverse, −4.595."""


def value(x: Any, xp: Any, *, beta: Any = 1.0) -> Any:
    """Softplus: ``log(1 + exp(beta · x)) / beta``.

    By exp(−|beta · x|), which cannot overflow, and x itself above 0: right also where beta · x is inf.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        beta: how sharp the bend is: finite, > 0.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → 0, inf → inf.
    Source: Dugas et al. 2001, https://papers.nips.cc/paper/1920

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np).round(4).tolist()
        [0.1269, 0.6931, 3.0486]
    """
    z = beta * x
    return xp.where(x > 0, x, 0.0) + xp.log1p(xp.exp(-xp.abs(z))) / beta


def slope(x: Any, xp: Any, *, beta: Any = 1.0) -> Any:
    """Slope of softplus: ``1 / (1 + exp(-beta · x))``, the sigmoid.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        beta: as for :func:`value`.

    Returns: array, shape and dtype of ``x``. nan → nan, −inf → 0, inf → 1.
    Kinks: none.
    Source: Dugas et al. 2001, https://papers.nips.cc/paper/1920

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np).round(4).tolist()
        [0.1192, 0.5, 0.9526]
    """
    return sigmoid.value(beta * x, xp)


def gain(*, beta: float = 1.0) -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.0419 at beta = 1."""
    return measured_gain(lambda z: value(z, NUMPY, beta=beta))


ACTIVATION = Activation(
    name="softplus",
    title="Softplus",
    formula="log(1 + exp(beta · x)) / beta",
    range="(0, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    fires_above=lambda **_: float("-inf"),
    flat=lambda beta=1.0, **_: (EDGE / beta, None),
    rectifier=False,
    can_die="hardly: the slope below 0 is small but never 0",
    saturates="below about −4.6 / beta",
    advantages="Smooth; its output is above 0, as a variance or a rate has to be.",
    disadvantages="An exponential and a logarithm per element; mean output above 0; not sparse.",
    when_to_use="An output that must be positive. Between layers ReLU trains as well and is cheaper.",
    parameters=(Parameter("beta", 1.0, "how sharp the bend is", low=0.0, low_open=True, defaults={"torch": 1.0}),),
    hazards=(
        "PyTorch takes x itself where beta · x is above threshold (20): 2e-9 too small there, which float64 shows.",
        "Only PyTorch has beta; the others have beta = 1.",
    ),
    sources=(
        Source(
            "Dugas, Bengio, Bélisle, Nadeau & Garcia 2001, Incorporating Second-Order Functional Knowledge for Better "
            "Option Pricing",
            "https://papers.nips.cc/paper/1920",
        ),
        Source(
            "Glorot, Bordes & Bengio 2011, Deep Sparse Rectifier Neural Networks",
            "https://proceedings.mlr.press/v15/glorot11a.html",
        ),
    ),
)

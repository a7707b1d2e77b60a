"""GELU: the input times the probability that N(0, 1) lies below it."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

from relume.activations._gain import measured_gain
from relume.activations._namespace import NUMPY
from relume.activations.definition import Activation, Parameter, Source

EDGE = {"none": -3.0674272039089, "tanh": -3.052854995144466}
"""Where the slope crosses −FLAT_SLOPE for the last time: for all x below, |slope| < FLAT_SLOPE. By bisection;
no closed form."""

FAR = 100.0
"""Beyond ±FAR the curve is 0 or x to the last bit in every dtype; x is held there so that no square
overflows."""


def value(x: Any, xp: Any, *, approximate: str = "none") -> Any:
    """Gaussian error linear unit: ``x * Φ(x)``, Φ the distribution function of N(0, 1).

    Args:
        x: floating array, any shape.
        xp: the array namespace; with "none" it needs ``xp.erf``.
        approximate: "none" for erf, "tanh" for 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Returns: array, shape and dtype of ``x``. nan → nan, inf → inf, −inf → nan (inf · 0, as PyTorch; the limit
        is 0). Below −1 the digits of 1 + erf cancel: the error is one of the last digit of 1, not of the
        value.
    Source: Hendrycks & Gimpel 2016, section 2, https://arxiv.org/abs/1606.08415

    Example:
        >>> value(NUMPY.abs([0.0, 1.0, 3.0]), NUMPY).round(4).tolist()
        [0.0, 0.8413, 2.996]
    """
    if approximate == "tanh":
        near = xp.minimum(xp.maximum(x, -FAR), FAR)
        return 0.5 * x * (1 + xp.tanh(sqrt(2 / pi) * (near + 0.044715 * near * near * near)))
    return 0.5 * x * (1 + xp.erf(x * sqrt(0.5)))


def slope(x: Any, xp: Any, *, approximate: str = "none") -> Any:
    """Slope of GELU: ``Φ(x) + x φ(x)``, φ the density of N(0, 1); "tanh": of the approximation itself.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        approximate: as for :func:`value`.

    Returns: array, shape and dtype of ``x``. nan → nan; −inf → 0 and inf → 1, the limits (PyTorch nan).
    Kinks: none.
    Source: Hendrycks & Gimpel 2016, section 2, https://arxiv.org/abs/1606.08415

    Example:
        >>> slope(NUMPY.abs([0.0, 1.0, 3.0]), NUMPY).round(4).tolist()
        [0.5, 1.0833, 1.0119]
    """
    near = xp.minimum(xp.maximum(x, -FAR), FAR)
    if approximate == "tanh":
        bent = xp.tanh(sqrt(2 / pi) * (near + 0.044715 * near * near * near))
        inner = sqrt(2 / pi) * (1 + 3 * 0.044715 * near * near)
        return 0.5 * (1 + bent) + 0.5 * near * (1 - bent * bent) * inner
    return 0.5 * (1 + xp.erf(near * sqrt(0.5))) + near * xp.exp(-0.5 * near * near) / sqrt(2 * pi)


def gain(*, approximate: str = "none") -> float:
    """1/√E[f(z)²], z ~ N(0, 1), by quadrature: 1.5335."""
    return measured_gain(lambda z: value(z, NUMPY, approximate=approximate))


ACTIVATION = Activation(
    name="gelu",
    title="GELU",
    formula="x · Φ(x), Φ the distribution function of N(0, 1)",
    range="[−0.17, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    fires_above=lambda approximate="none", **_: EDGE[approximate],
    flat=lambda approximate="none", **_: (EDGE[approximate], None),
    dies=lambda **_: True,
    rectifier=False,
    can_die="yes, but later than ReLU: below about −3 the slope vanishes",
    saturates="below about −3",
    advantages="Smooth; a slope left just below 0; the usual choice in transformers.",
    disadvantages="erf or tanh per element; not monotone; two variants that do not agree.",
    when_to_use="Transformers, and whenever a pretrained net uses it. Say which variant.",
    parameters=(
        Parameter(
            "approximate",
            "none",
            "erf (none) or its approximation by tanh",
            choices=("none", "tanh"),
            defaults={
                "torch": "none",
                "keras.activations": "none",
                "keras.ops": "tanh",
                "tensorflow": "none",
                "jax": "tanh",
                "onnx": "none",
            },
        ),
    ),
    hazards=(
        "The default differs: exact in PyTorch, TensorFlow and keras.activations, tanh in JAX and keras.ops. "
        "The two differ by up to 5e-4.",
        "PyTorch at inf in float32: inf for one element, nan for sixteen. At −inf: nan.",
    ),
    sources=(
        Source(
            "Hendrycks & Gimpel 2016, Gaussian Error Linear Units (GELUs), section 2",
            "https://arxiv.org/abs/1606.08415",
        ),
    ),
)

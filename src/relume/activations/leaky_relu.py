"""LeakyReLU: ReLU with a small fixed slope below 0, so that no unit is ever without a slope."""

from __future__ import annotations

from math import sqrt
from typing import Any

from relume.activations.definition import Activation, Kink, Parameter, Source


def value(x: Any, xp: Any, *, negative_slope: Any = 0.01) -> Any:
    """Leaky rectified linear unit: ``x if x > 0 else negative_slope * x``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        negative_slope: finite scalar, or array broadcastable to ``x``; dimensionless.

    Returns: array, shape and dtype of ``x``. nan → nan; −inf → −inf, but nan where ``negative_slope`` is 0 (0
        · inf, as in PyTorch, JAX and TensorFlow): LeakyReLU with slope 0 is not quite ReLU.
    Source: Maas, Hannun & Ng 2013, section 2,
        https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf

    Example:
        >>> import numpy as np
        >>> value(np.array([-2.0, 0.0, 3.0]), np).tolist()
        [-0.02, 0.0, 3.0]
    """
    below = xp.where(x > 0, 0.0, x)
    return xp.where(x > 0, x, negative_slope * below)


def slope(x: Any, xp: Any, *, negative_slope: Any = 0.01) -> Any:
    """Slope of LeakyReLU: 1 above 0, else ``negative_slope``.

    Args:
        x: floating array, any shape.
        xp: the array namespace.
        negative_slope: finite scalar, or array broadcastable to ``x``; dimensionless.

    Returns: array, shape and dtype of ``x``. nan → ``negative_slope``, as PyTorch, TensorFlow and JAX.
    Kinks: 0 → ``negative_slope`` (PyTorch, TensorFlow), 1 (JAX).
    Source: Maas, Hannun & Ng 2013, section 2,
        https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf

    Example:
        >>> import numpy as np
        >>> slope(np.array([-2.0, 0.0, 3.0]), np).tolist()
        [0.01, 0.01, 1.0]
    """
    one = xp.ones_like(x)
    return xp.where(x > 0, one, negative_slope * one)


def gain(*, negative_slope: float = 0.01) -> float:
    """√(2 / (1 + negative_slope²)). He et al. 2015, eq. 15."""
    return sqrt(2 / (1 + negative_slope**2))


ACTIVATION = Activation(
    name="leaky_relu",
    title="LeakyReLU",
    formula="x if x > 0 else negative_slope · x",
    range="(−∞, ∞)",
    value=value,
    slope=slope,
    gain=gain,
    dies=lambda negative_slope=0.01, **_: bool(negative_slope == 0),
    slope_at_nan="negative_slope",
    can_die="no, unless negative_slope is 0",
    saturates="nowhere",
    advantages="No unit can die; as cheap as ReLU; outputs of both signs.",
    disadvantages="One more number to choose, and frameworks differ on it; not sparse; not bounded below.",
    when_to_use=("First cure for dead units, GAN discriminators. Write the slope out: 0.01 hardly differs from ReLU."),
    parameters=(
        Parameter(
            "negative_slope",
            0.01,
            "slope below 0",
            defaults={
                "torch": 0.01,
                "keras": 0.3,
                "keras.activations": 0.2,
                "tensorflow": 0.2,
                "jax": 0.01,
                "onnx": 0.01,
            },
            aliases=("alpha", "leak", "slope"),
        ),
    ),
    kinks=(
        Kink(
            "0",
            {
                "torch": "negative_slope",
                "keras": "as its backend",
                "tensorflow": "negative_slope",
                "jax": "1",
            },
        ),
    ),
    hazards=(
        "The default slope is 0.01 in PyTorch and JAX, 0.2 in TensorFlow and keras.activations, 0.3 in the "
        "Keras layer: a port that leaves it out changes the model.",
        "A slope of 0 gives nan at −inf where ReLU gives 0.",
        "PyTorch in place with a negative slope: the forward pass works, the backward pass raises.",
        "A slope above 1 is computed wrongly by Keras's NumPy backend, which takes max(x, s·x).",
    ),
    sources=(
        Source(
            "Maas, Hannun & Ng 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models, section 2",
            "https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf",
        ),
        Source(
            "He, Zhang, Ren & Sun 2015, Delving Deep into Rectifiers, eq. 15 (gain)",
            "https://arxiv.org/abs/1502.01852",
        ),
    ),
)

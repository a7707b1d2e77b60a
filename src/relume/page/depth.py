"""A plain network of 50 layers with random weights, for the static picture below the live one of ``assets/depth.js``.

Both draw the same random numbers, and a test holds them to the same figures.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import Any

import numpy as np

from relume.activations import NUMPY, Activation

LAYERS, WIDTH, EXAMPLES = 50, 64, 32

INITS = {
    "he": "He: 2 / n (kaiming_normal_)",
    "lecun": "LeCun, Xavier: 1 / n",
    "linear": "nn.Linear's default: 1 / (3n)",
    "own": "The activation's own gain² / n",
}
"""Variance of a weight, n the number of inputs."""


@np.errstate(over="ignore", invalid="ignore")
def travel(a: Activation, *, init: str = "he", scale: float = 1.0, seed: int = 1) -> tuple[list[float], list[float]]:
    """Mean square of the pre-activations of layers 1 to 50, and of the gradient by them.

    Args:
        a: at its defaults; a random slope is drawn, as in training.
        init: one of :data:`INITS`.
        scale: a factor on every weight.
        seed: of the random numbers.

    Returns: two lists of 50 numbers. The gradient by the last pre-activation is drawn from N(0, 1). A signal that is
    squared in each layer overflows: inf, then NaN, as in the live picture.
    """
    settled = a.defaults()
    times = {"he": 2.0, "lecun": 1.0, "linear": 1 / 3, "own": a.gain(**settled) ** 2}[init]
    weights = _normals(seed, LAYERS * WIDTH * WIDTH).reshape(LAYERS, WIDTH, WIDTH) * (scale * sqrt(times / WIDTH))
    h = _normals(seed + 1, EXAMPLES * WIDTH).reshape(EXAMPLES, WIDTH)
    delta = _normals(seed + 2, EXAMPLES * WIDTH).reshape(EXAMPLES, WIDTH)
    drawn: list[dict[str, Any]] = [settled] * LAYERS
    if a.random:
        uniform = np.array(_uniforms(seed + 3, LAYERS * EXAMPLES * WIDTH)).reshape(LAYERS, EXAMPLES, WIDTH)
        slopes = settled["lower"] + (settled["upper"] - settled["lower"]) * uniform
        drawn = [settled | {"slopes": s} for s in slopes]
    forward, before = [], []
    for weight, keywords in zip(weights, drawn, strict=True):
        z = h @ weight.T
        before.append(z)
        forward.append(float(np.mean(z**2)))
        h = a.value(z, NUMPY, **keywords)
    backward = [float(np.mean(delta**2))]
    for layer in range(LAYERS - 2, -1, -1):
        delta = (delta @ weights[layer + 1]) * a.slope(before[layer], NUMPY, **drawn[layer])
        backward.append(float(np.mean(delta**2)))
    return forward, backward[::-1]


@cache
def _normals(seed: int, count: int) -> Any:
    """Normal numbers from pairs of uniform ones. Box & Muller 1958."""
    pairs = np.array(_uniforms(seed, 2 * count)).reshape(count, 2)
    return np.sqrt(-2 * np.log(pairs[:, 0])) * np.cos(2 * np.pi * pairs[:, 1])


@cache
def _uniforms(seed: int, count: int) -> list[float]:
    """Park & Miller's generator, with the multiplier of 1993; the first ten numbers are skipped."""
    found = []
    for _ in range(count + 10):
        seed = seed * 48271 % 2147483647
        found.append(seed / 2147483647)
    return found[10:]

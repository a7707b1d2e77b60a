"""An activation's outputs at its defaults for an input of N(0, 1), for the page as it opens."""

from __future__ import annotations

from typing import Any

import numpy as np

from relume.activations import NUMPY, Activation

BIN, BINS = 0.25, (-12, 20)
"""Width of a bin of outputs; the first and the last, in bins."""

REACH = 10
"""In standard deviations; the integral stops there."""


def moments(a: Activation) -> dict[str, float]:
    """Mean, variance, E[f²], E[f′²] and share of exact zeros; over a random slope too, as in training.

    By Gauss and Legendre's quadrature between whole numbers, where the kinks are.
    """
    nodes, weights = np.polynomial.legendre.leggauss(24)
    z = np.arange(-REACH, REACH)[:, None] + (nodes + 1) / 2
    mass = weights / 2 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    mean = float(np.sum(mass * _outputs(a.value, a, z, 0.5)))
    second, steep = (float(np.sum(mass * _square(f, a, z))) for f in (a.value, a.slope))
    zeros = float(np.sum(mass * (_outputs(a.value, a, z, 0.5) == 0)))
    return {"mean": mean, "variance": second - mean**2, "second": second, "steep": steep, "zeros": zeros}


def _outputs(function: Any, a: Activation, z: Any, part: float) -> Any:
    """The function, a random slope at ``part`` of the way from its lower to its upper end."""
    settled = a.defaults()
    if a.random:
        settled["slopes"] = settled["lower"] + (settled["upper"] - settled["lower"]) * part
    return function(z, NUMPY, **settled)


def _square(function: Any, a: Activation, z: Any) -> Any:
    """The mean of the square over a uniform slope: Simpson's rule is exact there."""
    low, middle, high = (_outputs(function, a, z, part) for part in (0.0, 0.5, 1.0))
    return (low**2 + 4 * middle**2 + high**2) / 6


def shares(a: Activation) -> list[dict[str, Any]]:
    """The share of outputs in each bin around a multiple of BIN, as rows of y, share and curve."""
    steps = 4000
    z = -6 + 12 * (np.arange(steps) + 0.5) / steps
    mass = 12 / steps * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    found = np.zeros(BINS[1] - BINS[0] + 1)
    parts = [(i + 0.5) / 8 for i in range(8)] if a.random else [0.5]
    for part in parts:
        bins = np.floor(_outputs(a.value, a, z, part) / BIN + 0.5).astype(int) - BINS[0]
        inside = (bins >= 0) & (bins < found.size)
        np.add.at(found, bins[inside], mass[inside] / len(parts))
    return [{"y": (BINS[0] + i) * BIN, "share": float(share), "curve": a.name} for i, share in enumerate(found)]

"""What weights prove about a unit, for every input, without a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from relume.artifacts.tensor import Floats, Tensor, largest
from relume.auditor.layers import Layer

VALUES = 1 << 24
"""Values a channel that one training batch may have: 256 images of 256 × 256."""

Mask = NDArray[np.bool_]


class Proof(NamedTuple):
    """Units by what their weights prove; masks of shape (units,).

    Attributes:
        zero: all weights of the unit are zero, and a ReLU after it is off. ``shut``: the normalization keeps it off.
        non_finite: a weight is NaN or infinite.
        untrained: every unit of the layer is zero, as in a branch that starts at zero: that says nothing about units.
    """

    zero: Mask
    shut: Mask
    non_finite: Mask
    untrained: bool


def prove(layer: Layer, weights: Mapping[str, Tensor]) -> Proof:
    """The proofs from the weights of a layer and its normalization.

    A unit whose incoming weights are zero is a constant: its bias, or the normalization's shift.
    """
    none = np.zeros(layer.units, bool)
    tops = [largest(weights[name], axis) for name, axis in layer.parameters if name in weights]
    if not tops:
        return Proof(none, none, none, False)
    non_finite = np.asarray(~np.isfinite(np.asarray(tops)).all(axis=0))
    zero = tops[0] == 0 if layer.weight in weights else none
    scale, shift = _numbers(layer.scale, weights), _numbers(layer.shift, weights)
    constant = shift if shift is not None else _numbers(layer.bias, weights)
    off = zero & (constant <= 0) if constant is not None else zero
    shut = none if scale is None or shift is None else _shut(scale, shift)
    untrained = bool(zero.all() or (scale is not None and not scale.any()))
    if untrained:
        return Proof(none, none, non_finite, True)
    return Proof(off, shut & ~off, non_finite, False)


def _numbers(name: str | None, weights: Mapping[str, Tensor]) -> Floats | None:
    return weights[name].numbers() if name is not None and name in weights else None


def _shut(scale: Floats, shift: Floats) -> Mask:
    """Where γ·x̂ + β ≤ 0 for every input.

    No value of a batch of n is further from the mean than √(n − 1) standard deviations (Samuelson 1968, "How
    deviant can you be?"), so |x̂| < √n in training.
    """
    return np.asarray(np.abs(scale) * math.sqrt(VALUES) + shift <= 0)

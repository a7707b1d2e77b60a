"""Since when a unit has had no gradient, by Adam's moments of its parameters.

Without a gradient the moments m and v of a parameter decay as β1ⁿ and β2ⁿ, so that m²/v falls by ln(β2/β1²) per step:
0.21 with the default rates, from a level that living parameters of every scale share. The fall shows how long ago the
last gradient came. One checkpoint gives an estimate; two of one run a proof (:func:`unmoved`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from relume.artifacts.tensor import Floats, Tensor, squares, sums
from relume.auditor.adam import Moments

LEAST_STEPS = 95
"""Steps without a gradient after which a unit is dead.

8 seeds × 64 units of an MLP, killed 60 to 820 steps before (Adam, rates of 1e-3 and 1e-2, batches of 4 and 64): the
estimate was off by −15 to +22 steps, and at least 107 for units that had died 110 or more steps before.
"""

GAPS = 18
"""A silence must last this many times the upper quartile of a layer's living units.

For layers that every batch reaches, the quartile was at most 2.8 steps in 14 trainings, so LEAST_STEPS decides. In
layers of 300 units with a gradient in 2 or 3 % of the steps it was 17, and the longest gap of a living unit 269.
"""

LIVING = 60
"""Units with fewer steps show the level of living ones."""

FEWEST = 4
"""Living units that a layer needs to use its own level; with fewer, the level of a random gradient is used."""

_SMALLEST = 1e-43
"""A mean |m| below which float32 and bfloat16 products are not exact: m has decayed to nothing."""

_FLUSHED = 1.2e-38
"""The smallest |m| if subnormal numbers are set to 0; an m of 0 had decayed at least to it."""

Mask = NDArray[np.bool_]


class Silence(NamedTuple):
    """How long each unit has had no gradient; arrays of shape (units,).

    Attributes:
        steps: the estimate. ``most``: the maximum, by the bound on m²/v for every history.
        older: it is at least ``steps``, as m has decayed to nothing. ``never``: there was never a gradient.
        dead: long enough to count. ``of``: the moments with the optimizer's step and decay rates.
    """

    steps: Floats
    most: Floats
    older: Mask
    never: Mask
    dead: Mask
    of: Moments


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # moments that are NaN or infinite
def silence(parameters: Sequence[tuple[Moments, int]]) -> Silence:
    """Date the last gradient of a layer's units by the moments of its parameters, each with the axis of its units."""
    one = max((moments for moments, _ in parameters), key=lambda moments: moments.step)
    first = sum((squares(moments.first, axis) for moments, axis in parameters), start=np.zeros(()))
    second = sum((sums(moments.second, axis) for moments, axis in parameters), start=np.zeros(()))
    elements = sum(math.prod(moments.first.shape) // moments.first.shape[axis] for moments, axis in parameters)
    return date(first, second, elements, one)


def date(first: Floats, second: Floats, elements: int, of: Moments) -> Silence:
    """The same from Σm² and Σv over each unit's ``elements``; ``of``: the step and the decay rates."""
    fall = math.log(of.beta2 / of.beta1**2)
    never = (second == 0) & (first == 0) & (of.step < _lifetime(of))
    older = ~never & (first <= elements * _SMALLEST**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.log(np.where(older, elements * _FLUSHED**2, first)) - np.log(second)
    level = np.where(second > 0, level, -np.inf)
    noise = math.log((1 - of.beta1) / (1 + of.beta1))  # m²/v of pure-noise gradients
    steps = _steps(level, noise, fall, of)
    living = steps < LIVING
    if living.sum() >= FEWEST:
        own = float(np.median(level[living])) + math.log1p(-(of.beta2**of.step))
        steps = _steps(level, own, fall, of)
    most = np.clip((_ceiling(of) - level) / fall, 0, of.step)
    late = float(np.percentile(steps[steps < LIVING], 75)) if (steps < LIVING).any() else 0.0
    steps = np.where(never, of.step, np.where(np.isfinite(level), steps, min(of.step, _lifetime(of))))
    most = np.where(never | older, of.step, most)
    enough = max(LEAST_STEPS, GAPS * late)
    return Silence(steps, most, older, never, np.asarray((steps >= enough) & (of.step >= LEAST_STEPS)), of)


def _steps(level: Floats, living: float, fall: float, of: Moments) -> Floats:
    """How many steps ago a unit left the level of living ones, while v had not yet reached its full size."""
    steps = np.zeros(level.shape)
    for _ in range(4):
        grown = np.log1p(-(of.beta2 ** np.maximum(of.step - steps, 1)))
        steps = np.clip((living - grown - level) / fall, 0, of.step)
    return steps


def _ceiling(of: Moments) -> float:
    """ln of the largest m²/v of any gradients (by Cauchy-Schwarz on the two sums)."""
    return math.log((1 - of.beta1) ** 2 / ((1 - of.beta2) * (1 - of.beta1**2 / of.beta2)))


def _lifetime(of: Moments) -> float:
    """Steps in which v falls from 1e-8 to nothing: after a longer run, v = 0 does not prove that it was always 0."""
    return 37 * math.log(10) / -math.log(of.beta2)


def unmoved(earlier: Moments, later: Moments, axis: int) -> Mask | None:
    """Which units had no gradient in any of the steps between two checkpoints, or None if these are from two runs.

    A gradient only adds to v: vₗ ≥ β2ᵏ · vₑ, and the two are equal if and only if there was none, up to the rounding of
    k products. That holds for every element of a run; for a unit without a gradient vₗ is no larger either.
    """
    steps = later.step - earlier.step
    slack = 1 + steps * _rounding(later.second) + 1e-5
    moved = np.zeros(later.second.shape[axis])
    fallen = 0
    before = earlier.second.slabs(axis)
    for (units, own, after), (_, _, old) in zip(later.second.slabs(axis), before, strict=True):
        expected = old.astype(np.float64) * later.beta2**steps
        moved[units] += (after > expected * slack + _FLUSHED).sum(axis=1 - own)
        fallen += int((after < expected / slack - _FLUSHED).sum())
    return None if fallen else np.asarray(moved == 0)


def _rounding(tensor: Tensor) -> float:
    """The relative error of a step's product; β2 itself is rounded too."""
    return 2.0**-7 if tensor.bits else 2.0 * float(np.finfo(tensor.data.dtype).eps)

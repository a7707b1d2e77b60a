"""Since when no gradient has come to a unit, by Adam's moments of its parameters.

Without a gradient the moments m and v of a parameter decay as β1ⁿ and β2ⁿ, so that m²/v falls by ln(β2/β1²) a step:
0.21 with the usual rates, from a level that living parameters of every scale share. How far it has fallen is how long
ago the last gradient came. One checkpoint dates; two of one run prove (:func:`unmoved`).
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
"""Steps without a gradient from which on a unit is dead.

8 seeds × 64 units of an MLP, killed 60 to 820 steps before (Adam, rates of 1e-3 and 1e-2, batches of 4 and 64): the
estimate was off by −15 to +22 steps, and of what had died 110 steps before or earlier it was at least 107.
"""

GAPS = 18
"""Times the upper quartile of a layer's living units that a silence must last.

In layers that every batch reaches the quartile was at most 2.8 steps in 14 trainings, so that LEAST_STEPS decides. In
layers of 300 units with a gradient in 2 or 3 % of the steps it was 17, and the longest gap of a living unit 269.
"""

LIVING = 60
"""Steps below which a unit of the layer shows where living ones are."""

FEWEST = 4
"""Living units that a layer must have for its own level to be taken; below, the level of a random gradient is."""

_SMALLEST = 1e-43
"""A mean |m| below which the products of float32 and bfloat16 are no longer exact: m has decayed to nothing."""

_FLUSHED = 1.2e-38
"""The smallest |m| that is kept where subnormal numbers are set to 0; one that is 0 had at least decayed to it."""

Mask = NDArray[np.bool_]


class Silence(NamedTuple):
    """How long no gradient has come to each unit; arrays of the shape (units,).

    Attributes:
        steps: about how many. ``most``: it cannot be longer, by the bound on m²/v that every history keeps.
        older: it is at least ``steps``, for m has decayed to nothing. ``never``: no gradient has ever come.
        dead: long enough to count. ``of``: the moments that give the optimizer's step and its decay rates.
    """

    steps: Floats
    most: Floats
    older: Mask
    never: Mask
    dead: Mask
    of: Moments


def silence(parameters: Sequence[tuple[Moments, int]]) -> Silence:
    """Date the last gradient of a layer's units by the moments of its parameters, each with the axis of its units."""
    one = max((moments for moments, _ in parameters), key=lambda moments: moments.step)
    first = sum((squares(moments.first, axis) for moments, axis in parameters), start=np.zeros(()))
    second = sum((sums(moments.second, axis) for moments, axis in parameters), start=np.zeros(()))
    elements = sum(math.prod(moments.first.shape) // moments.first.shape[axis] for moments, axis in parameters)
    return date(first, second, elements, one)


def date(first: Floats, second: Floats, elements: int, of: Moments) -> Silence:
    """The same from Σm² and Σv of each unit's ``elements`` elements; ``of``: the step and the decay rates."""
    fall = math.log(of.beta2 / of.beta1**2)
    never = (second == 0) & (first == 0) & (of.step < _lifetime(of))
    older = ~never & (first <= elements * _SMALLEST**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.log(np.where(older, elements * _FLUSHED**2, first)) - np.log(second)
    level = np.where(second > 0, level, -np.inf)
    noise = math.log((1 - of.beta1) / (1 + of.beta1))  # m²/v of gradients that are pure noise
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
    """How many steps ago a unit left the level of the living; v had then not yet grown to its full size."""
    steps = np.zeros(level.shape)
    for _ in range(4):
        grown = np.log1p(-(of.beta2 ** np.maximum(of.step - steps, 1)))
        steps = np.clip((living - grown - level) / fall, 0, of.step)
    return steps


def _ceiling(of: Moments) -> float:
    """ln of the largest m²/v that any gradients can make (Cauchy and Schwarz on the two sums)."""
    return math.log((1 - of.beta1) ** 2 / ((1 - of.beta2) * (1 - of.beta1**2 / of.beta2)))


def _lifetime(of: Moments) -> float:
    """Steps in which v falls from 1e-8 to nothing: of a run that is longer, v = 0 does not say that it never was."""
    return 37 * math.log(10) / -math.log(of.beta2)


def unmoved(earlier: Moments, later: Moments, axis: int) -> Mask | None:
    """Which units had no gradient in any of the steps between two checkpoints, or None if these are of two runs.

    A gradient only adds to v: vₗ ≥ β2ᵏ · vₑ, and the two are equal if and only if there was none, up to the rounding of
    k products. That holds of every element of a run, and of a unit without a gradient vₗ is no larger either.
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
    """By how much a step's product may be off, relative to it; β2 itself is rounded too."""
    return 2.0**-7 if tensor.bits else 2.0 * float(np.finfo(tensor.data.dtype).eps)

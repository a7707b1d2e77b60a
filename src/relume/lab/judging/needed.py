"""How many seeds a decision takes, for a true difference of delta with the verdict's own tests."""

from __future__ import annotations

import math

import numpy as np

from relume.lab.judging import stats
from relume.lab.judging.contest import Arm, Contest
from relume.lab.judging.stats import Array

POWER = 0.8
"""The power of the study with that number of seeds."""
DRAWS = 400
"""Simulated studies per number of seeds; the standard error of their power is 0.02."""
MOST = 100_000
QUARTILES = (0.25, 0.75)
"""Of the spreads that fit the pairs: (n − 1) s² ÷ χ² with n degrees of freedom. With n − 1 the middle of the range had
a power of 0.85 to 0.88 (60 studies each, delta 1.5 sd, pairs correlated by 0 and 0.5): a seventh fewer seeds do."""


def seeds_needed(one: Contest, delta: float | None, level: float) -> tuple[int, int] | None:
    """The range of seeds that find a true difference of ``delta`` with 80 % power.

    The range covers the middle half of the spreads compatible with the pairs seen. Studies are drawn with their means
    and covariances, the best rates ``delta`` apart; a claim is found if its weakest test passes.

    Args:
        one: the tests made so far.
        delta: in the metric's unit; None without one.
        level: two-sided, the part of alpha that the next verdict has for one contender.

    Returns: None without a delta, or if the spread is 0 or unknown; the greater of the two needs, better and worse.
    """
    if delta is None or not one.own.usable or not one.base.usable:
        return None
    ranges = [_range(winner, loser, delta, level) for winner, loser in ((one.own, one.base), (one.base, one.own))]
    known = [each for each in ranges if each]
    return (max(low for low, _ in known), max(high for _, high in known)) if known else None


def _range(winner: Arm, loser: Arm, delta: float, level: float) -> tuple[int, int] | None:
    ours = winner.values[list(winner.usable)]
    rivals = np.concatenate([loser.values[list(loser.usable)], loser.between])
    pairs = ~np.isnan(np.concatenate([ours, rivals])).any(0)
    count = int(pairs.sum())
    if count < 2:
        return None
    ours, rivals = ours[:, pairs], rivals[:, pairs]
    means, others = ours.mean(-1), rivals.mean(-1)
    apart = delta + (means - means.max())[:, None] - (others - others.max())
    residuals = (ours - means[:, None])[:, None] - (rivals - others[:, None])
    if not residuals.any():
        return None
    scales = [math.sqrt((count - 1) / float(stats.special().chdtri(count, part))) for part in QUARTILES]
    needs = [
        _least_seeds(apart, scale * residuals / math.sqrt(count - 1), level / 2 * winner.weights) for scale in scales
    ]
    return needs[0], needs[1]


def _least_seeds(apart: Array, residuals: Array, levels: Array) -> int:
    """The fewest pairs with which POWER of the drawn studies make the claim.

    Args:
        apart: (i, j) true differences of the tests.
        residuals: (i, j, n); their sums of squares are the variances.
        levels: (i,), one-sided.
    """
    draws = np.random.default_rng(0)
    noise = np.tensordot(residuals, draws.standard_normal((residuals.shape[-1], DRAWS)), 1)  # (i, j, DRAWS)
    deviation = np.sqrt((residuals**2).sum(-1))[..., None]
    luck = draws.uniform(size=DRAWS)

    def power(seeds: int) -> float:
        spread = np.sqrt(stats.special().chdtri(seeds - 1, luck) / (seeds - 1)) * deviation
        critical = stats.special().stdtrit(seeds - 1, 1 - levels)[:, None, None]
        found = math.sqrt(seeds) * apart[..., None] + noise > critical * spread
        return float(found.all(1).any(0).mean())

    low, high = 2, 4
    while power(high) < POWER and high < MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power(middle) < POWER else (low, middle)
    return high

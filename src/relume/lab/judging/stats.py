"""The statistics of verdicts: tests of paired differences, corrections, intervals and power.

SciPy's special functions do the work; Holm is our own. Every function defines its answer
for no pair, one pair, and pairs whose differences are all equal: Student's t would claim certainty there, so the exact
sign-flip test replaces it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relume.errors import MissingExtra

Array = NDArray[np.float64]

EXACT_PAIRS = 32
"""Up to this many pairs all 2ⁿ sign flips are counted; beyond, FLIPS of them are drawn."""
FLIPS = 20_000
ROUNDING = 1e-13
"""A spread below this share of the greatest value is rounding error."""


@functools.cache
def special() -> Any:
    """``scipy.special``, loaded when the first test is made.

    Raises:
        MissingExtra: SciPy is not installed.
    """
    try:
        import scipy.special
    except ModuleNotFoundError as absent:
        raise MissingExtra(
            f"Verdicts need a package that is not installed ({absent}): pip install 'relume[lab]'", slug="missing-extra"
        ) from absent
    return scipy.special


# ---- paired differences --------------------------------------------------------------------------------------------


def moments(differences: Array) -> tuple[Array, Array, Array]:
    """Count, mean and standard deviation along the last axis, without NaN.

    Args:
        differences: (…, n); NaN for a pair without a difference.

    Returns: three arrays of shape (…). The mean of no numbers and the deviation of fewer than two are NaN; a deviation
    that is only rounding is 0.
    """
    there = ~np.isnan(differences)
    count = there.sum(-1).astype(np.float64)
    kept = np.where(there, differences, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = kept.sum(-1) / count
        square = (np.where(there, differences - mean[..., None], 0.0) ** 2).sum(-1)
        deviation = np.sqrt(square / (count - 1))
    deviation = np.where(count < 2, np.nan, deviation)
    size = np.abs(kept).max(-1, initial=0.0)
    return count, mean, np.where(deviation <= ROUNDING * size, 0.0, deviation)


def p_greater(differences: Array, margin: float = 0.0, *, step: float = 0.0, least: int = 2) -> Array:
    """One-sided p of the paired t-test: that the mean is not above ``margin``.

    Args:
        differences: (…, n), NaN for a pair without a difference.
        margin: in the unit of the differences.
        step: the least distance between two distinct values. Differences that vary by no more than it are counts, not
            normal: the exact sign-flip test replaces the t-test.
        least: with fewer pairs p is 1.

    Returns: (…).
    """
    count, mean, deviation = moments(differences)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (mean - margin) / (deviation / np.sqrt(count))
        p = np.asarray(special().stdtr(count - 1, -t))
    for place in np.argwhere((deviation <= step) & (count >= least)):
        at = tuple(place)
        p[at] = sign_flip(differences[at] - margin) / 2 if mean[at] > margin else 1.0
    return np.where(count < max(2, least), 1.0, p)


def least_pairs(alpha: float) -> int:
    """The fewest pairs with which the two-sided sign-flip test can reach ``alpha``."""
    return math.ceil(1 - math.log2(alpha))


def least_step(values: Array) -> float:
    """The least distance between two different values: the resolution of the printed digits or counts."""
    kept = np.unique(values[np.isfinite(values)])
    gaps = np.diff(kept)
    gaps = gaps[gaps > ROUNDING * np.abs(kept).max(initial=0.0)]
    return float(gaps.min(initial=math.inf)) if len(gaps) else 0.0


def lower_limit(differences: Array, level: Array, step: float = 0.0) -> Array:
    """(…): lower bound of the mean of ``differences`` (…, n) at error ``level`` (…); −∞ for fewer than two.

    The spread is at least that of a difference of two values that were rounded to multiples of ``step``.
    """
    count, mean, deviation = moments(differences)
    deviation = np.maximum(deviation, step / math.sqrt(6))
    with np.errstate(invalid="ignore"):
        limit = mean - special().stdtrit(count - 1, 1 - level) * deviation / np.sqrt(count)
    return np.where(count < 2, -math.inf, limit)


def interval(count: float, mean: float, deviation: float, level: float) -> tuple[float, float]:
    """Student's interval of a mean that misses with probability ``level``; NaN for fewer than two values."""
    if not count >= 2:
        return math.nan, math.nan
    half = float(special().stdtrit(count - 1, 1 - level / 2)) * deviation / math.sqrt(count)
    return mean - half, mean + half


def sign_flip(differences: Sequence[float] | Array) -> float:
    """Exact two-sided p: the share of random sign flips whose mean is at least as far from 0.

    Every one of the 2ⁿ flips is counted up to EXACT_PAIRS pairs, by the sums of two halves; beyond, FLIPS are drawn
    with a fixed seed. The smallest p that n pairs can give is ``sign_flip_floor(n)``.

    Returns: p; 1 for no pair. NaN is left out.
    """
    kept = np.asarray(differences, dtype=np.float64)
    kept = kept[~np.isnan(kept)]
    slack = 1e-12 * float(np.abs(kept).sum())  # sums in another order differ by rounding errors
    observed = abs(float(kept.sum()))
    if observed <= slack:
        return 1.0
    if len(kept) > EXACT_PAIRS:
        signs = np.random.default_rng(0).integers(0, 2, (FLIPS, len(kept)), dtype=np.int8) * 2.0 - 1.0
        return float((np.sum(np.abs(signs @ kept) >= observed - slack) + 1) / (FLIPS + 1))
    first, second = _signed_sums(kept[::2]), np.sort(_signed_sums(kept[1::2]))
    above = len(second) - np.searchsorted(second, observed - slack - first)
    return float(min(1.0, 2.0 * above.sum() / 2.0 ** len(kept)))


def sign_flip_floor(pairs: int) -> float:
    """The smallest two-sided p of a sign-flip test of n pairs: 2 ÷ 2ⁿ."""
    return min(1.0, 2.0 * 0.5**pairs)


def parabola(places: Array, at: Array) -> Array:
    """Lagrange's weights (m, 3): the parabola through values at three ``places``, evaluated ``at`` (m,) others."""
    others = [np.delete(places, index) for index in range(3)]
    return np.stack([np.prod((at[:, None] - o) / (own - o), -1) for own, o in zip(places, others, strict=True)], -1)


def p_sign_losses(first: Array, second: Array) -> float:
    """One-sided p of the exact sign test that ``first`` does not lose: NaN is the worst value, two NaN are a tie.

    Args:
        first: (n,), greater is better.
        second: (n,), the same pairs.

    Returns: the probability of at least that many losses among the pairs without a tie if both were equally likely; 1
    without any.
    """
    a, b = np.where(np.isnan(first), -np.inf, first), np.where(np.isnan(second), -np.inf, second)
    losses, wins = int((a < b).sum()), int((a > b).sum())
    return float(special().bdtrc(losses - 1, losses + wins, 0.5)) if losses else 1.0


def p_more_often(here: tuple[int, int], elsewhere: tuple[int, int]) -> float:
    """One-sided p of Fisher's exact test (1935) that something is no more frequent here than elsewhere.

    Args:
        here: (how often it happened, of how many).
        elsewhere: the same; p is 1 if of none.
    """
    (hits, runs), (others, rest) = here, elsewhere
    total = hits + others
    ways = sum(math.comb(runs, count) * math.comb(rest, total - count) for count in range(hits, min(runs, total) + 1))
    return ways / math.comb(runs + rest, total)


def p_improves(differences: Array) -> float:
    """Share of pairs above 0, a tie counting half; NaN for no pair."""
    kept = differences[~np.isnan(differences)]
    return float(np.mean((kept > 0) + 0.5 * (kept == 0))) if len(kept) else math.nan


def correlation(first: Array, second: Array) -> float:
    """Pearson's, over the pairs with both values; NaN for fewer than three, or if one does not vary."""
    both = ~(np.isnan(first) | np.isnan(second))
    a, b = first[both], second[both]
    if len(a) < 3 or not (moments(a)[2] > 0 and moments(b)[2] > 0):
        return math.nan
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / math.sqrt((a @ a) * (b @ b)))


# ---- several at once -----------------------------------------------------------------------------------------------


def holm(p: Sequence[float] | Array, of: int | None = None) -> Array:
    """Holm's step-down correction (1979).

    Args:
        p: one per hypothesis.
        of: the number of hypotheses, if some are missing from ``p`` (they count as not rejected); default: these.

    Returns: p in the same order; a hypothesis is rejected if its p is at most the family's level.
    """
    values = np.asarray(p, dtype=np.float64)
    total = max(of or 0, len(values))
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(values[order] * (total - np.arange(len(values))))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(raised, 1.0)
    return corrected


def wilson(hits: int, of: int, level: float = 0.05) -> tuple[float, float]:
    """Wilson's score interval of a share (1927) that misses with probability ``level``; (0, 1) for nothing."""
    if of == 0:
        return 0.0, 1.0
    z = float(special().ndtri(1 - level / 2))
    share, weight = hits / of, z * z / of
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / of + weight / (4 * of)) / (1 + weight)
    return (0.0 if hits == 0 else max(0.0, middle - half)), (1.0 if hits == of else min(1.0, middle + half))


# ---- power ---------------------------------------------------------------------------------------------------------


def detectable_effect(pairs: int, level: float, chance: float = 0.8) -> float:
    """The least true difference, in standard deviations of the paired difference, found with this chance; ∞ under 2.

    By the noncentral t-distribution. The chance that the two-sided test errs to the other side is left out: far below
    ``level``.
    """
    if pairs < 2:
        return math.inf
    threshold = special().stdtrit(pairs - 1, 1 - level / 2)
    return float(special().nctdtrinc(pairs - 1, 1 - chance, threshold)) / math.sqrt(pairs)


def _signed_sums(values: Array) -> Array:
    """The sums of all 2ⁿ choices of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums

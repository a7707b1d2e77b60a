"""What one run scored: a number from the curve of its metric, by a rule that was fixed beforehand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TypeVar

from relume.artifacts.trial import Mode, Stage, Trial
from relume.errors import StudyError

Curve = Sequence[tuple[float, float]]
Key = tuple[str, int, float, Stage]
"""A TrialKey for look-ups: a plain tuple is equal to it, and much faster to make."""
K = TypeVar("K", bound=Key)


def tail_length(at: str) -> int | None:
    """K of ``mean:K``; None of ``last`` and ``best``.

    Raises:
        StudyError: ``at`` is none of the three, or K is no positive whole number.
    """
    if at in ("last", "best"):
        return None
    word, _, count = at.partition(":")
    if word != "mean" or not count.isdecimal() or int(count) < 1:
        raise StudyError(
            f"A run's value cannot be taken at {at!r}: expected 'last', 'best' or 'mean:K' with K = 1, 2, …, for"
            " example 'mean:5' for the mean of the last five values.",
            slug="unknown-at",
        )
    return int(count)


def value_at(curve: Curve, at: str, mode: Mode) -> float:
    """The number by which a run is compared.

    Args:
        curve: (step, value) in the order of logging.
        at: "last", "best" (the greatest for mode "max", the least for "min", without NaN), or "mean:K", the mean of the
            last K values, or of all where there are fewer.
        mode: whether more or less is better.

    Returns: the value in the metric's unit; NaN for an empty curve, and for one whose part that counts is not finite.

    Raises:
        StudyError: ``at`` has no meaning.

    Example:
        >>> value_at([(0, 1.0), (1, 3.0), (2, 2.0)], "best", "max")
        3.0
    """
    if at == "last":  # by far the most asked for, once a trial
        found = curve[-1][1] if curve else math.nan
        return found if math.isfinite(found) else math.nan
    tail = tail_length(at)
    values = [value for _, value in curve]
    if tail is None:
        numbers = [value for value in values if not math.isnan(value)]
        found = (max if mode == "max" else min)(numbers, default=math.nan)
    else:
        numbers = values[-tail:]
        found = math.fsum(numbers) / len(numbers) if numbers and all(map(math.isfinite, numbers)) else math.nan
    return found if math.isfinite(found) else math.nan


def trial_value(trial: Trial, metric: str, at: str, mode: Mode) -> float:
    """The value of a run; NaN where it did not finish, or finished without a finite value: both count as failed."""
    if trial.status != "finished":
        return math.nan
    if metric == "dead_share":
        return math.nan if trial.dead_share is None else trial.dead_share
    return value_at(trial.metrics.get(metric, ()), at, mode)


COLLAPSED = 0.05
"""A run has collapsed if it keeps at most this share of what the typical run gains over the start of training."""
APART = 5.0
"""The start marks a collapse only if the typical run ends more than this many spreads from it. Of runs that vary
normally, fewer than one in a million ends that far off by chance."""


def has_start(trials: Iterable[Trial], metric: str) -> bool:
    """Whether curves begin before they end: only then does a run that collapsed show."""
    return any(len(trial.metrics.get(metric, ())) > 1 for trial in trials)


def scores(trials: Mapping[K, Trial], metric: str, at: str, mode: Mode) -> dict[K, float]:
    """The value of each run; NaN for a run that did not finish, has no finite value, or collapsed.

    A run collapses if it ends where training began: at the median of the first values of all curves.
    """
    found = {key: trial_value(trial, metric, at, mode) for key, trial in trials.items()}
    curves = (trial.metrics.get(metric, ()) for trial in trials.values())
    firsts = [curve[0][1] for curve in curves if len(curve) > 1 and math.isfinite(curve[0][1])]
    groups: dict[tuple[str, float], list[float]] = {}
    for key, value in found.items():
        if not math.isnan(value):
            groups.setdefault((key[0], key[2]), []).append(value)
    repeated = [values for values in groups.values() if len(values) > 1]
    if not firsts or not repeated:
        return found
    begin, sign = median(firsts), 1.0 if mode == "max" else -1.0
    off = [abs(value - middle) for values in repeated for middle in [median(values)] for value in values]
    gain = sign * (median(itertools.chain(*groups.values())) - begin)
    if gain <= APART * 1.4826 * median(off):  # 1.4826: from the median deviation to the standard deviation
        return found
    return {key: value if sign * (value - begin) > COLLAPSED * gain else math.nan for key, value in found.items()}

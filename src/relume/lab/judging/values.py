"""The score of one run: a number from the curve of its metric, by a rule fixed beforehand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TypeVar

from relume.artifacts.trial import DEAD_SHARE, Mode, Stage, Trial
from relume.errors import StudyError

Curve = Sequence[tuple[float, float]]
Key = tuple[str, int, float, Stage]
"""A TrialKey for look-ups: an equal plain tuple is much faster to create."""
K = TypeVar("K", bound=Key)


def tail_length(at: str) -> int | None:
    """K of ``mean:K``; None of ``last`` and ``best``.

    Raises:
        StudyError: ``at`` is not one of the three, or K is not a positive integer.
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
            last K values, or of all if there are fewer.
        mode: whether more or less is better.

    Returns: the value in the metric's unit; NaN for an empty curve, and if a value that counts is not finite.

    Raises:
        StudyError: ``at`` has no meaning.

    Example:
        >>> value_at([(0, 1.0), (1, 3.0), (2, 2.0)], "best", "max")
        3.0
    """
    if at == "last":  # by far the most frequent call, once per trial
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
    """The value of a run; NaN if it did not finish, or finished without a finite value: both count as failed."""
    if trial.status != "finished":
        return math.nan
    if metric == DEAD_SHARE:
        return math.nan if trial.dead_share is None else trial.dead_share
    return value_at(trial.metrics.get(metric, ()), at, mode)


def value_after(seconds: float, trial: Trial, metric: str, at: str, mode: Mode) -> float:
    """The value of a run after that many seconds, at a constant pace; the final one if it ended earlier.

    NaN if nothing was logged by then, and for a run without a value.
    """
    if math.isnan(trial_value(trial, metric, at, mode)) or metric == DEAD_SHARE:
        return math.nan
    curve = trial.metrics[metric]
    known = math.floor(len(curve) * min(1.0, seconds / trial.seconds) + 1e-9) if trial.seconds else len(curve)
    return value_at(curve[:known], at, mode)


COLLAPSED = 0.05
"""A run has collapsed if its gain over the start of training is at most this share of the typical run's."""
APART = 5.0
"""The start marks a collapse only if the typical run ends more than this many spreads from it. Fewer than one in a
million normally distributed runs ends that far off by chance."""


def scores(trials: Mapping[K, Trial], metric: str, at: str, mode: Mode) -> dict[K, float]:
    """The value of each run; NaN for a run that did not finish, has no finite value, or collapsed.

    A run collapses if it ends with a layer whose units are all dead, or no better than training began: at the worse of
    its own first value and the median one.
    """
    found = {key: trial_value(trial, metric, at, mode) for key, trial in trials.items()}
    if metric == DEAD_SHARE:  # the metric is the dead units themselves
        return found
    found = {key: math.nan if trials[key].dead_layers else value for key, value in found.items()}
    beginning, sign = beginning_of(trials, found, metric, mode), 1.0 if mode == "max" else -1.0
    if beginning is None:
        return found
    begin, margin = beginning
    kept = {}
    for key, value in found.items():
        own = starts([trials[key]], metric) or [begin]
        kept[key] = value if sign * value - min(sign * begin, sign * own[0]) > margin else math.nan
    return kept


def starts(trials: Iterable[Trial], metric: str) -> list[float]:
    """The first values of the curves with more than one point."""
    curves = (trial.metrics.get(metric, ()) for trial in trials)
    return [curve[0][1] for curve in curves if len(curve) > 1 and math.isfinite(curve[0][1])]


def beginning_of(
    trials: Mapping[K, Trial], values: Mapping[K, float], metric: str, mode: Mode
) -> tuple[float, float] | None:
    """The median first value, and the gain that a run needs to have trained; None if a collapse would go unnoticed.

    ``values`` are the scores of ``trials``, all runs of one stage; NaN for none.
    """
    firsts = starts(trials.values(), metric)
    groups: dict[tuple[str, float], list[float]] = {}
    for key, value in values.items():
        if not math.isnan(value):
            groups.setdefault((key[0], key[2]), []).append(value)
    repeated = [group for group in groups.values() if len(group) > 1]
    if not firsts or not repeated:
        return None
    begin, sign = median(firsts), 1.0 if mode == "max" else -1.0
    off = [abs(value - middle) for group in repeated for middle in [median(group)] for value in group]
    gain = sign * (median(itertools.chain(*groups.values())) - begin)
    if gain <= APART * 1.4826 * median(off):  # 1.4826: from the median deviation to the standard deviation
        return None
    return begin, COLLAPSED * gain

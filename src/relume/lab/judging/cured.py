"""Whether a cure holds: fewer units die on the same seeds, few enough are dead, and the metric is no worse.

The dead share is tested at the study's error divided by the number of cures that may be tried, since the first cure
that holds ends the search: an ineffective cure is accepted in at most 5 % of searches. The metric is tested at 5 % for
each cure, against a difference of delta (a non-inferiority test). Both must hold. A unit with a slope below zero cannot
be dead, so for an activation with one only the metric is a test.

A seed at which the unchanged script itself fails proves nothing: there a cure's failure does not count against it, and
no dead shares are compared. A cure that ends well there has the better metric.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relume.activations import ACTIVATIONS
from relume.artifacts.numbers import percent
from relume.artifacts.treatments import TREATMENTS, sentence
from relume.artifacts.trial import Contender, Mode, Trial
from relume.artifacts.tried import Outcome, Tried
from relume.errors import NothingToCompare
from relume.lab.judging import stats
from relume.lab.judging.stats import Array
from relume.lab.judging.values import trial_value

ALPHA = 0.05
"""The error of the whole search for the dead share, and of each cure's metric."""

FIRST = 2
"""Runs of a cure after which it may be given up. Giving up can miss a cure, but never accept a false one."""


@dataclass(frozen=True)
class CureTerms:
    """The requirements on a cure.

    Attributes:
        metric, mode, at: as in a :class:`~relume.artifacts.trial.Design`.
        delta: the smallest loss of the metric that counts; None: one standard deviation of the unchanged script.
        max_dead: the largest dead share that counts as cured. ``candidates``: number of cures that may be tried.
    """

    metric: str
    mode: Mode
    at: str
    delta: float | None
    max_dead: float
    candidates: int

    @property
    def level(self) -> float:
        """Of the test of the dead share."""
        return ALPHA / self.candidates


def least_seeds(candidates: int) -> int:
    """The fewest pairs that can show a lower dead share, by the one-sided sign-flip test."""
    return math.ceil(-math.log2(ALPHA / max(1, candidates)))


def delta_of(base: Sequence[Trial], terms: CureTerms) -> float:
    """The loss that counts as worse: as asked, or one standard deviation of the script's own runs.

    If all end with one value, such as a return of 1, it is 1 % of that: no test can exclude a loss of 0.
    """
    if terms.delta is not None:
        return terms.delta
    values = _values(base, terms)
    values = values[np.isfinite(values)]
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return spread or 0.01 * abs(float(values.mean())) if len(values) else 0.0


def failed(runs: Sequence[Trial]) -> list[Trial]:
    """Those that raised or took too long. A run that diverged has its dead units and a last value."""
    return [run for run in runs if run.status in ("failed", "timeout")]


def demand_pairs(base: Sequence[Trial], candidates: int) -> None:
    """Raises: NothingToCompare: the unchanged script fails at too many seeds: the others cannot show a cure."""
    left = len(base) - len(lost := failed(base))
    if not lost or left >= (least := least_seeds(candidates)):
        return
    rest = f"the other {left} cannot show that fewer units die" if left else "so there is nothing to compare with"
    more = f", or give --seeds {math.ceil(least * len(base) / left)}" if left else ""
    raise NothingToCompare(
        f"The script as it stands failed in {len(lost)} of {len(base)} runs, each with a seed of its own "
        f"({lost[0].error or lost[0].status}); {rest}. Mend that first{more}.",
        slug="script-failed",
    )


def hopeless(base: Sequence[Trial], runs: Sequence[Trial], terms: CureTerms) -> str:
    """Why the first runs show that a cure will not hold; "" if they do not."""
    runs = _judged(base, runs)
    if len(runs) < FIRST:
        return ""
    if all(run.status != "finished" for run in runs):
        return _failures(runs)
    before, after = _dead(base, runs)
    if after and statistics.fmean(after) > max(terms.max_dead, statistics.fmean(before) / 2):
        return f"after {len(runs)} runs, more than half as many units were dead as before"
    return ""


def tried(contender: Contender, base: Sequence[Trial], runs: Sequence[Trial], terms: CureTerms, seeds: int) -> Tried:
    """Compare a cure's runs with those of the script (``base``); ``seeds`` pairs were planned."""
    given_up = len(runs) < seeds
    runs = _judged(base, runs)
    before, after = _dead(base, runs)
    shares = np.array(before) - np.array(after)
    step = stats.least_step(np.array([*before, *after]))
    p_dead = float(stats.p_greater(shares, step=step)) if len(shares) else 1.0
    paired = {run.key.seed for run in runs}
    mine = [trial for trial in base if trial.key.seed in paired]
    old, new = _values(mine, terms), _values(runs, terms)
    p_metric = _not_worse(old, new, delta_of(base, terms), terms.mode)
    without_value = int(np.isnan(new).sum())
    dead = (_mean(before), _mean(after))
    outcome, why = _outcome(dead, p_dead, p_metric, _failures(runs) if without_value else "", terms)
    if given_up and outcome != "failed":
        outcome, why = "given up", hopeless(base, runs, terms) or why
    return Tried(
        cure=contender.name,
        says=says(contender),
        outcome=outcome,
        why=why,
        pairs=len(runs),
        dead=dead,
        metric=(_mean(old), _mean(new)),
        p_dead=p_dead,
        p_metric=p_metric,
        cost=_cost(mine, runs),
        failed=without_value,
        cannot_die=_cannot_die(contender),
        silent=_mean([run.silent_share for run in runs if run.silent_share is not None]),
    )


def _cannot_die(contender: Contender) -> bool:
    activation = ACTIVATIONS.get(contender.activation)
    return activation is not None and not activation.dies(**activation.defaults() | dict(contender.parameters))


def says(contender: Contender) -> str:
    """What a cure does, as a sentence."""
    if contender.treatment in TREATMENTS:
        return sentence(contender.treatment, contender.parameters)
    return f"replace the activations between layers by {contender.name}"


def _outcome(
    dead: tuple[float, float], p_dead: float, p_metric: float, failures: str, terms: CureTerms
) -> tuple[Outcome, str]:
    if failures:
        return "failed", failures
    if not p_dead <= terms.level:
        return "no effect", f"fewer deaths are not shown (p = {p_dead:.2g}, needed: {terms.level:.2g})"
    if dead[1] > terms.max_dead:
        holds = p_metric <= ALPHA
        accepting = f"--max-dead {math.ceil(100 * dead[1])}% would accept that"
        rest = accepting if holds else _may_be_worse(p_metric, terms)
        return "fewer", f"{percent(dead[1])} of the units are still dead; {rest}"
    if not p_metric <= ALPHA:
        return "worse", _may_be_worse(p_metric, terms)
    return "cured", ""


def _may_be_worse(p_metric: float, terms: CureTerms) -> str:
    return f"{terms.metric} may be worse by delta or more (p = {p_metric:.2g}, needed: {ALPHA:g})"


def _failures(runs: Sequence[Trial]) -> str:
    """``2 of its 8 runs failed (NameError: name 'loss' is not defined)``."""
    failed = [run for run in runs if run.status != "finished"]
    how = "diverged" if failed and all(run.status == "diverged" for run in failed) else "failed"
    reason = failed[0].error or failed[0].status if failed else "the metric has no value"
    return f"{len(failed) or 'some'} of its {len(runs)} runs {how} ({reason})"


def _not_worse(old: Array, new: Array, delta: float, mode: Mode) -> float:
    """One-sided p that the metric is worse by ``delta``; a failed run of the script counts as the worst value."""
    finite = old[np.isfinite(old)]
    if not np.isfinite(new).all() or not len(new):
        return 1.0
    if not len(finite):
        return 0.0  # the unchanged script never gave a value, and the cure always does
    sign = 1.0 if mode == "max" else -1.0
    worst = float((sign * finite).min())
    gains = sign * new - np.where(np.isfinite(old), sign * old, worst)
    return float(stats.p_greater(gains, -delta, step=stats.least_step(np.array([*finite, *new]))))


def _judged(base: Sequence[Trial], runs: Sequence[Trial]) -> list[Trial]:
    """A cure's runs without those that failed at a seed at which the unchanged script fails too."""
    lost = {trial.key.seed for trial in failed(base)}
    return [run for run in runs if run.key.seed not in lost or not failed([run])]


def _dead(base: Sequence[Trial], runs: Sequence[Trial]) -> tuple[list[float], list[float]]:
    """The dead shares of the pairs in which both were measured, at the end of a run that did not fail."""
    known = {trial.key.seed: trial.dead_share for trial in base if not failed([trial])}
    pairs = [(known.get(run.key.seed), run.dead_share) for run in runs]
    judged = [(before, after) for before, after in pairs if before is not None and after is not None]
    return [before for before, _ in judged], [after for _, after in judged]


def _values(trials: Sequence[Trial], terms: CureTerms) -> Array:
    """The value of each run, by seed; NaN for a failed one. A collapsed run has its final value."""
    ordered = sorted(trials, key=lambda trial: trial.key.seed)
    return np.array([trial_value(trial, terms.metric, terms.at, terms.mode) for trial in ordered], dtype=np.float64)


def _mean(values: Sequence[float] | Array) -> float:
    kept = [float(value) for value in values if math.isfinite(value)]
    return statistics.fmean(kept) if kept else math.nan


def _cost(base: Sequence[Trial], runs: Sequence[Trial]) -> float:
    times = [[trial.seconds for trial in some if trial.status == "finished"] for some in (base, runs)]
    return statistics.median(times[1]) / statistics.median(times[0]) if all(times) else math.nan

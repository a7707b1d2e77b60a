"""One contender against the baseline: the tests that each verdict needs, before any correction.

The truly best learning rate is unknown. So *better* requires that one rate of the contender beats the baseline
at every confirmed rate of the baseline and at the rates between its best and the neighbors: one of these tests is at
its true best (an intersection-union test, Berger 1982: valid without a correction for the number of rates). Between
them quality is the parabola through the three, over the logarithm of the rate. The contender may choose its winning
rate, and pays for the choice (Bonferroni). *Worse* is the same with the sides exchanged. The interval of the difference
holds exactly these tests: it is one of best against best.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from relume.lab.judging import stats
from relume.lab.judging.stats import Array
from relume.lab.judging.tuning import enough, hazard

CHOSEN = 0.5
"""The part of a claim's error for the rate that tuning chose; the other rates share the rest. Found of 2 sd at 8 seeds
and 1.2 sd at 20 (curves 0.05, 0.3 and 1.5, correlation 0.5, better and worse, 60 studies each): an equal share 0.68 and
0.93 on average, half 0.74 and 0.95, all of it 0.80 and 0.89, and then one bad tuning run decides."""
BETWEEN = (0.25, 0.5, 0.75)
"""Positions between two confirmed rates where the parabola is tested, as a share of the step. The steps are ×4 or
finer, so no rate lies more than ×1.19 from a tested one: of a curve that loses 1.5 sd a squared doubling, 0.09 sd."""


@dataclass(frozen=True)
class Arm:
    """The baseline or a contender at its confirmed rates.

    Attributes:
        name: its name. ``factors``: its k rates; the one that tuning chose comes first.
        values: (k, n), greater is better, NaN for a failed run.
        ends: (k, n), the same, but collapsed runs have their final values.
        open: rates that would bracket the best one and were not run.
        ran: (k,), how many seeds each rate was run on, always the first ones.
    """

    name: str
    factors: tuple[float, ...]
    values: Array
    ends: Array
    open: tuple[float, ...] = ()
    ran: tuple[int, ...] = ()

    @cached_property
    def usable(self) -> tuple[int, ...]:
        """The rates at which enough runs finished to be compared."""
        return tuple(row for row, each in enumerate(self.values) if enough(each.tolist()))

    @cached_property
    def best(self) -> int:
        """The rate with the greatest mean, a failure counted as the worst value; the first if none is usable."""
        if not self.usable:
            return 0
        worst = float(np.nanmin(self.values[list(self.usable)]))
        return min(self.usable, key=lambda row: hazard(self.values[row].tolist(), worst)[1])

    @property
    def factor(self) -> float:
        """The best confirmed rate; NaN without one."""
        return self.factors[self.best] if self.factors else math.nan

    @property
    def at_best(self) -> Array:
        """The values at the best rate, (n,)."""
        return self.values[self.best] if self.factors else np.full(self.values.shape[-1], math.nan)

    @cached_property
    def unlucky(self) -> Array:
        """(k,): what the mean at each rate would lose if as many runs had collapsed there as at all usable rates.

        Otherwise a claim would choose a rate at which none collapsed by chance.
        """
        collapsed = np.isnan(self.values) & ~np.isnan(self.ends)
        if not collapsed[list(self.usable)].any():
            return np.zeros(len(self.factors))
        missing = np.clip(collapsed[list(self.usable)].mean() - collapsed.mean(-1), 0, None)
        return np.asarray(missing * (np.nanmax(self.values) - self.ends[collapsed].mean()))

    @property
    def weights(self) -> Array:
        """The part of the error that each usable rate may spend: half for the one that tuning chose."""
        others = len(self.usable) - 1
        return np.array(
            [(CHOSEN if row == self.usable[0] else (1 - CHOSEN) / others) if others else 1.0 for row in self.usable]
        )

    @cached_property
    def between(self) -> Array:
        """Values between the best rate and its neighbors, (m, n), on the parabola through the three."""
        rows = sorted(self.usable, key=lambda row: self.factors[row])
        at = rows.index(self.best) if rows else 0
        if not 0 < at < len(rows) - 1:
            return np.empty((0, self.values.shape[-1]))
        three = rows[at - 1 : at + 2]
        places = np.log2([self.factors[row] for row in three])
        inside = np.concatenate([low + np.array(BETWEEN) * (high - low) for low, high in itertools.pairwise(places)])
        return stats.parabola(places, inside) @ self.values[three]


@dataclass(frozen=True)
class ContestTerms:
    """What all tests of a look share.

    Attributes:
        step, least: as in ``stats.p_greater``. ``delta``: the smallest difference that matters; None without one.
        worst: where a run that collapses may end: the worst value seen, the starts of the curves among them.
    """

    step: float = 0.0
    least: int = 2
    delta: float | None = None
    worst: float = math.inf


@dataclass(frozen=True)
class Claim:
    """The claim that one side beats the other: p of its weakest test, corrected for the choice of the winner's rate.

    Attributes:
        p: of all tests; 1 if the loser's best rate is not bracketed.
        finished: without the winner's failures, which otherwise count as the worst value seen (a collapse as its final
            value).
        confirmed: at the confirmed rates only, bracketed or not, without failures.
    """

    p: float = 1.0
    finished: float = 1.0
    confirmed: float = 1.0


@dataclass(frozen=True)
class Contest:
    """The comparison of one contender with the baseline.

    Attributes:
        own, base: the two sides.
        better, worse: the two claims. ``equivalent``: p of the weakest of its tests; 1 without a delta.
        by_failing: too few runs of the contender finished at every rate; ``worse`` counts the failures.
        base_failing: the same for the baseline; ``better`` counts them.
        terms: what the tests shared.
    """

    own: Arm
    base: Arm
    better: Claim = Claim()
    worse: Claim = Claim()
    equivalent: float = 1.0
    by_failing: bool = False
    base_failing: bool = False
    terms: ContestTerms = ContestTerms()

    @property
    def name(self) -> str:
        """The contender's."""
        return self.own.name

    @property
    def p_difference(self) -> float:
        """Two-sided p of the stronger of the two claims."""
        return min(1.0, 2 * min(self.better.p, self.worse.p))

    @property
    def differences(self) -> Array:
        """Contender − baseline at the best confirmed rates, greater is better; NaN if either has no value."""
        return self.own.at_best - self.base.at_best

    @cached_property
    def may_collapse(self) -> tuple[Arm, float, float] | None:
        """The side whose mean collapses could move by delta: its largest share of failures, and what that moves."""
        risks = [(arm, *_collapse(arm, self.terms.worst)) for arm in (self.own, self.base)]
        most = max(risks, key=lambda risk: risk[2])
        return most if self.terms.delta is not None and most[2] >= self.terms.delta else None

    def interval(self, level: float) -> tuple[float, float]:
        """The difference of best against best, contender − baseline: it misses with probability ``level`` at most."""
        if not self.own.usable or not self.base.usable:
            return math.nan, math.nan
        step = self.terms.step
        return _limit(self.own, self.base, level / 2, step), -_limit(self.base, self.own, level / 2, step)


def contest(own: Arm, base: Arm, terms: ContestTerms) -> Contest:
    """Runs all tests of one contender."""
    if not own.factors or not (own.usable or base.usable):
        return Contest(own, base, base_failing=not base.usable)
    if not own.usable:
        return Contest(own, base, worse=_all_failing(base, own), by_failing=True)
    if not base.usable:
        return Contest(own, base, better=_all_failing(own, base), base_failing=True)
    equivalent = 1.0
    if terms.delta is not None:
        equivalent = max(_claim(own, base, terms, -terms.delta).p, _claim(base, own, terms, -terms.delta).p)
    return Contest(own, base, _claim(own, base, terms), _claim(base, own, terms), equivalent, terms=terms)


def _collapse(arm: Arm, worst: float) -> tuple[float, float]:
    """The largest share of failed runs that those seen do not rule out (95 %), and by how much it moves the mean."""
    failed = int(np.isnan(arm.at_best).sum())
    share = stats.wilson(failed, len(arm.at_best))[1]
    return share, share * float(np.nanmean(arm.at_best) - worst)


def _claim(winner: Arm, loser: Arm, terms: ContestTerms, margin: float = 0.0) -> Claim:
    """The claim that one rate of ``winner`` exceeds every rate of ``loser`` by more than ``margin``."""
    rivals, rates = np.concatenate([loser.values, loser.between]), len(loser.factors)
    rows = list(winner.usable)
    ours, weights = winner.values[rows], winner.weights
    least = terms.least if margin >= 0 else 2

    def paid(p: Array) -> float:
        return float(min(1.0, (p.max(-1) / weights).min()))

    finished = stats.p_greater(ours[:, None] - rivals, margin, step=terms.step, least=least)
    for row in set(range(rates)).difference(loser.usable):
        finished[:, row] = [_by_failing(loser, row, each) for each in ours]
    counted = finished
    if np.isnan(winner.values[rows]).any():
        worst = np.fmin(np.nanmin(ours, -1)[:, None], np.fmin.reduce(rivals, axis=-1))  # of the two rates compared
        ends = winner.ends[rows][:, None]
        filled = np.where(np.isnan(ends), worst[..., None], ends) - winner.unlucky[rows, None, None]
        counted = np.maximum(finished, stats.p_greater(filled - rivals, margin, step=terms.step, least=least))
    if loser.open:
        return Claim(confirmed=paid(finished[:, :rates]))
    return Claim(paid(counted), paid(finished), paid(finished[:, :rates]))


def _all_failing(winner: Arm, loser: Arm) -> Claim:
    """The claim against a side with too few finished runs at every rate.

    At each rate it loses run by run, or fails more often than the winner at its best rate (Fisher's exact test,
    corrected for the choice of that rate). The better of the two tests counts, with its p doubled.
    """
    kept = int(np.isnan(winner.at_best).sum()), len(winner.at_best)
    worst = 0.0
    for row, lost in enumerate(_failed(loser)):
        more = len(winner.usable) * stats.p_more_often(lost, kept)
        worst = max(worst, 2 * min(_by_failing(loser, row, winner.at_best), more))
    p = float(min(1.0, worst))
    return Claim(p, p, p)


def _failed(arm: Arm) -> list[tuple[int, int]]:
    """(how many runs failed, of how many) at each rate."""
    ran = arm.ran or (arm.values.shape[-1],) * len(arm.values)
    return [(int(np.isnan(values[:seeds]).sum()), seeds) for values, seeds in zip(arm.values, ran, strict=True)]


def _by_failing(loser: Arm, row: int, winner: Array) -> float:
    """p of the claim against a rate at which too few runs finished.

    It loses by the sign test in which a failure loses, or because more runs failed than at the other rates. If it were
    left out, the best rate would be lost by chance.
    """
    counts = _failed(loser)
    failed, ran = counts[row]
    elsewhere = sum(count for count, _ in counts) - failed, sum(runs for _, runs in counts) - ran
    return min(stats.p_sign_losses(loser.values[row, :ran], winner[:ran]), stats.p_more_often((failed, ran), elsewhere))


def _limit(winner: Arm, loser: Arm, level: float, step: float) -> float:
    """Lower bound of winner − loser, best against best, wrong with probability ``level``."""
    rivals = np.concatenate([loser.values[list(loser.usable)], loser.between])
    differences = winner.values[list(winner.usable)][:, None] - rivals
    return float(stats.lower_limit(differences, level * winner.weights[:, None], step).min(-1).max())

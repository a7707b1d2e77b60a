"""Tuning: one budget for all, on separate seeds. It chooses the learning rates to confirm."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relume.artifacts.trial import Design, Trial
from relume.lab.judging.checks import broken
from relume.lab.judging.values import Key, scores

MOST_EXTENSIONS = 2
"""How often the grid may grow if a best rate is at its end."""
CONFIRMED = 3
"""How many rates of each contender are confirmed: the best and its neighbors, which define a parabola."""
TRIES = 4
"""A tuning run without a value is replaced on another seed, up to this many runs per rate."""
ENOUGH = 0.5
"""A rate is compared if at least this share of its runs finished."""


@dataclass(frozen=True)
class Choice:
    """The learning rates of one contender, as factors of the script's own.

    Attributes:
        factor: the best by the tuning runs, with a failed run counted as the contender's worst value, among the rates
            at which at least half of the runs finished.
        confirmed: the best and its neighbors on the grid; ``factor`` comes first. Too high rates are left out.
        grid: all factors that were tuned, ascending. ``failing``: those at which less than half of the runs finished.
        has_effect: False if trials at different factors ended with the same weights.
        score: of the best rate; greater is better. It orders the contenders.

    ``confirmed`` is empty for a contender that cannot run (``checks.broken``).
    """

    factor: float
    confirmed: tuple[float, ...]
    grid: tuple[float, ...] = ()
    failing: tuple[float, ...] = ()
    has_effect: bool = True
    score: float = -math.inf


class Tuning:
    """The tuning trials of a design that have ended, and what they choose."""

    def __init__(self, design: Design, done: Sequence[Trial]) -> None:
        self.design = design
        metric, mode = design.tune_metric or design.metric, design.tune_mode or design.mode
        self.ended: dict[Key, Trial] = {}
        for trial in done:
            if trial.key.stage == "tune":
                self.ended.setdefault(trial.key, trial)
        sign = 1.0 if mode == "max" else -1.0
        self.scores = {key: sign * value for key, value in scores(self.ended, metric, design.at, mode).items()}
        self.known: dict[tuple[str, float], list[float]] = {}
        self.digests = any(trial.weights for trial in self.ended.values())
        spare = max(design.tuning_seeds) + 1
        self.seeds = (*design.tuning_seeds, *range(spare, spare + max(0, TRIES - len(design.tuning_seeds))))
        self.broken = broken(done)

    def grid(self) -> tuple[tuple[float, ...], bool]:
        """The factors so far, ascending, and whether all their trials have ended.

        If the best factor of any contender, by its finished runs, is at an end, the grid grows there by its own ratio
        for all of them, which keeps the budget equal. A contender that diverged at every factor asks for smaller ones.
        """
        factors = tuple(sorted(set(self.design.factors)))
        if len(factors) < 2:
            return factors, True
        for extension in range(MOST_EXTENSIONS + 1):
            if any(key not in self.ended for key in self.asked(factors)):
                return factors, False
            sides = {self.side(name, factors) for name in self.design.names}
            if extension == MOST_EXTENSIONS or sides == {None}:
                break
            lower = (factors[0] ** 2 / factors[1],) if "low" in sides else ()
            upper = (factors[-1] ** 2 / factors[-2],) if "high" in sides else ()
            factors = lower + factors + upper
        return factors, True

    def asked(self, factors: Sequence[float]) -> list[Key]:
        """Every run that tuning takes, as far as known, seed by seed and factor by factor."""
        rates = [self.runs(name, factor) for factor, name in itertools.product(factors, self.design.names)]
        return [key for seed in itertools.zip_longest(*rates) for key in seed if key]

    def runs(self, name: str, factor: float) -> list[Key]:
        """The runs of one rate: one per tuning seed, and another for each that ended without a value, up to TRIES."""
        if name in self.broken:
            return []
        keys: list[Key] = []
        wanted = len(self.design.tuning_seeds)
        for seed in self.seeds:
            keys.append((name, seed, factor, "tune"))
            wanted -= not math.isnan(self.scores.get(keys[-1], 0.0))
            if not wanted:
                break
        return keys

    def choices(self) -> Mapping[str, Choice]:
        """The rates of each contender and of the baseline; empty before the tuning has ended."""
        factors, complete = self.grid()
        return {name: self.choose(name, factors) for name in self.design.names} if complete else {}

    def choose(self, name: str, factors: tuple[float, ...]) -> Choice:
        """The rates of one contender, after all of its tuning runs have ended."""
        if name in self.broken:
            return Choice(math.nan, ())
        nearest = min(factors, key=_distance)
        if len(factors) == 1 or not self.has_effect(name, factors):
            return Choice(nearest, (nearest,), has_effect=len(factors) == 1)
        ranked = self.ranked(name, factors)
        if not ranked:
            return Choice(nearest, (nearest,))
        tried = {factor: self.values(name, factor) for factor in factors}
        worst = min(value for factor in ranked for value in tried[factor] if not math.isnan(value))
        hazards = {factor: hazard(tried[factor], worst) for factor in ranked}
        best = min(ranked, key=lambda factor: (*hazards[factor], _distance(factor), factor))
        failing = tuple(factor for factor in factors if hazard(tried[factor], worst)[0])
        around = _around(best, sorted(ranked))
        return Choice(best, around, factors, failing, score=-hazards[best][1])

    def side(self, name: str, factors: tuple[float, ...]) -> str | None:
        """On which side a contender needs more factors: "low", "high" or nowhere."""
        if name in self.broken or not self.has_effect(name, factors):
            return None
        best = next(
            (factor for factor in self.ranked(name, factors) if _mean(self.values(name, factor)) < math.inf), None
        )
        if best is None:
            runs = (self.ended[key] for key in self.runs(name, factors[0]))
            return "low" if any(run.status == "diverged" for run in runs) else None
        return "low" if best == factors[0] else "high" if best == factors[-1] else None

    def ranked(self, name: str, factors: tuple[float, ...]) -> list[float]:
        """The rates that may be the best, by the finished runs; a tie goes to the factor nearest 1, then down.

        A rate at which no run finished is too high if none did at any higher one, and is left out. Otherwise its
        failures may be chance, so it comes first.
        """
        means = {factor: _mean(self.values(name, factor)) for factor in factors}
        highest = max((factor for factor in factors if means[factor] < math.inf), default=-math.inf)
        known = (factor for factor in factors if factor <= highest)
        return sorted(known, key=lambda factor: (-means[factor], _distance(factor), factor))

    def values(self, name: str, factor: float) -> list[float]:
        """One value a run, greater is better; NaN for a run without one."""
        if (name, factor) not in self.known:
            self.known[name, factor] = [self.scores[key] for key in self.runs(name, factor)]
        return self.known[name, factor]

    def has_effect(self, name: str, factors: tuple[float, ...]) -> bool:
        """Whether any two factors gave different weights from the same seed; True if no weights are known."""
        if not self.digests:
            return True
        compared = False
        for seed in self.design.tuning_seeds:
            runs = [self.ended[name, seed, factor, "tune"] for factor in factors]
            weights = [run.weights for run in runs if run.status == "finished" and run.weights]
            if len(set(weights)) > 1:
                return True
            compared = compared or len(weights) > 1
        return not compared


def enough(values: Sequence[float]) -> bool:
    """Whether confirmed runs (NaN for a failed one) can be compared: at least two and half of them finished."""
    finished = sum(not math.isnan(value) for value in values)
    return finished >= 2 and finished >= ENOUGH * len(values)


def hazard(values: Sequence[float], worst: float) -> tuple[bool, float]:
    """Sort key, least for the best rate: too few finished runs, then minus the mean with a failure as ``worst``."""
    failed = sum(map(math.isnan, values))
    finished = math.fsum(value for value in values if not math.isnan(value))
    return len(values) - failed < ENOUGH * len(values), -(finished + failed * worst) / len(values)


def _mean(values: Sequence[float]) -> float:
    """Of the finished runs; ∞ if none did."""
    finished = [value for value in values if not math.isnan(value)]
    return math.fsum(finished) / len(finished) if finished else math.inf


def _around(best: float, factors: Sequence[float]) -> tuple[float, ...]:
    """The best and its neighbors; at an end, the two next to it."""
    first = max(0, min(factors.index(best) - 1, len(factors) - CONFIRMED))
    return (best, *(factor for factor in factors[first : first + CONFIRMED] if factor != best))


def _distance(factor: float) -> float:
    return abs(math.log2(factor))

"""A simulated world with a known truth: activations with a best learning rate each, noise, failures, and whole studies.

A trial's value is a curve over the logarithm of the learning rate plus noise: a part that all activations share at a
seed (the pairs' correlation), a part of its own, and a spread of its own. Runs at rates above a limit diverge with a
probability of their own. A :class:`Metric` says how a run's quality is told. A study is driven as the command drives
it: ``next_trials`` says what runs, ``judge`` decides, every verdict is kept as a look.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.special
import scipy.stats

from relume.artifacts.trial import BASELINE, Contender, Design, InterimAnalysis, Trial, TrialKey, Verdict
from relume.lab.judging.schedule import look_now, next_seeds, next_trials
from relume.lab.judging.verdicts import judge

DEPTH = 10.0  # sd from a trained run of quality 0 down to the start of training


@dataclass(frozen=True)
class Truth:
    """Of one activation.

    Attributes:
        top: mean quality at its best rate, in standard deviations of a run's noise.
        optimum: log2 of the best factor. ``curvature``: quality lost per squared doubling away from it.
        spread: noise, relative to the others'.
        limit: log2 of the factor from which half of the runs diverge; None: none does. ``failing``: share of runs that
            fail whatever the rate.
        collapse: share of runs that end where they began, ``DEPTH`` below 0.
    """

    top: float = 0.0
    optimum: float = 0.0
    curvature: float = 0.15
    spread: float = 1.0
    limit: float | None = None
    failing: float = 0.0
    collapse: float = 0.0

    def mean(self, factor: float) -> float:
        return self.top - self.curvature * (math.log2(factor) - self.optimum) ** 2


@dataclass(frozen=True)
class Metric:
    """How a run's quality is told.

    Attributes:
        step: it is rounded to multiples of this many sd; 0: not at all.
        items: it is an accuracy on so many items, 0.9 at quality 0 and 0.02 more an sd; 0: it is the quality itself.
        start: the curve begins at the start of training; otherwise one value is logged, and a collapse looks like any.
        dead: a run that collapses ends with a dead layer, which shows though one value is logged.
        tails: Student's t with three degrees of freedom, of sd 1, in place of normal noise.
    """

    step: float = 0.0
    items: int = 0
    start: bool = False
    dead: bool = False
    tails: bool = False


class World:
    """Trials by key: the same key gives the same trial in one world."""

    def __init__(
        self,
        truths: dict[str, Truth],
        *,
        correlation: float = 0.0,
        seed: int = 0,
        mode: str = "max",
        metric: Metric | None = None,
    ):
        self.truths, self.correlation, self.mode, self.metric = truths, correlation, mode, metric or Metric()
        self.shared = _Noise((seed, 0))
        self.own = _Noise((seed, 1))
        self.luck = _Noise((seed, 2))
        self.order = {name: index for index, name in enumerate(truths)}

    def trial(self, key: TrialKey) -> Trial:
        truth = self.truths[key.activation]
        place = (self.order[key.activation], round(4 * math.log2(key.lr_factor)), key.seed)
        common = self.shared.normal((key.seed,))
        noise = self.correlation**0.5 * common + (1 - self.correlation) ** 0.5 * self.own.normal(place)
        value = self.told(truth.mean(key.lr_factor), truth.spread * noise)
        chance = truth.failing
        if truth.limit is not None:
            chance = 1 - (1 - chance) / (1 + 2.0 ** (4 * (math.log2(key.lr_factor) - truth.limit)))
        if chance and self.luck.uniform(place) < chance:
            return Trial(key, "diverged", {"quality": ((0.0, float("nan")),)})
        dead = False
        if truth.collapse and self.luck.uniform((*place, 0)) < truth.collapse:
            value, dead = -DEPTH, self.metric.dead
        sign = 1.0 if self.mode == "max" else -1.0
        begin = ((0.0, sign * -DEPTH),) if self.metric.start else ()
        return Trial(key, "finished", {"quality": (*begin, (1.0, sign * value))}, dead_layers=int(dead))

    def told(self, mean: float, noise: float) -> float:
        if self.metric.tails:
            noise = float(scipy.special.stdtrit(3, scipy.special.ndtr(noise))) / 3**0.5
        if self.metric.items:
            chances = _chances(self.metric.items, min(max(0.9 + 0.02 * mean, 0.0), 1.0))
            return int(np.searchsorted(chances, scipy.special.ndtr(noise))) / self.metric.items
        value = mean + noise
        return round(value / self.metric.step) * self.metric.step if self.metric.step else value


@functools.cache
def _chances(items: int, right: float) -> np.ndarray:
    """The chance of at most 0, 1, … right ones of so many items."""
    return scipy.stats.binom.cdf(np.arange(items), items, right)


class _Noise:
    """Standard normal numbers by key, drawn in blocks: making a generator a number would cost more than the study."""

    def __init__(self, seed: tuple[int, ...]):
        self.generator = np.random.default_rng(seed)
        self.known: dict[tuple[int, ...], float] = {}
        self.block: list[float] = []

    def normal(self, key: tuple[int, ...]) -> float:
        if key not in self.known:
            if not self.block:
                self.block = self.generator.standard_normal(512).tolist()
            self.known[key] = self.block.pop()
        return self.known[key]

    def uniform(self, key: tuple[int, ...]) -> float:
        if key not in self.known:
            self.known[key] = float(self.generator.random())
        return self.known[key]


def design(contenders: int | Iterable[str], seeds: int, **asked) -> Design:
    names = [f"a{index}" for index in range(contenders)] if isinstance(contenders, int) else contenders
    asked = {"metric": "quality", "mode": "max", **asked}
    return Design(tuple(Contender(name) for name in names), seeds=seeds, **asked)


def truths(count: int, base: Truth | None = None, *others: Truth) -> dict[str, Truth]:
    given = [*others, *[base or Truth()] * (count - len(others))]
    return {BASELINE: base or Truth(), **{f"a{index}": truth for index, truth in enumerate(given)}}


def run(asked: Design, world: World, done: Sequence[Trial] = (), looks: Sequence[InterimAnalysis] = ()) -> list[Trial]:
    """Every trial that the schedule asks for, until it asks for no more."""
    trials = list(done)
    while keys := next_trials(asked, trials, looks):
        trials += [world.trial(key) for key in keys]
    return trials


def study(asked: Design, world: World, *, until_decided: bool = False) -> tuple[list[Verdict], list[list[Verdict]]]:
    """The last verdicts of a study, and those of every look."""
    looks: list[InterimAnalysis] = []
    printed: list[list[Verdict]] = []
    trials: list[Trial] = []
    while True:
        trials = run(asked, world, trials, looks)
        look = look_now(asked, trials, looks)
        assert look is not None
        printed.append(judge(asked, trials, looks))
        looks.append(look)
        further = next_seeds(asked, looks)
        if not until_decided or further is None or all(one.verdict != "undecided" for one in printed[-1]):
            return printed[-1], printed
        asked = replace(asked, seeds=further)

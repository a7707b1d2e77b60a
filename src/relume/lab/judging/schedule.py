"""What should run next: tuning, the confirmation on fresh seeds, and the planned verdicts.

Pure functions of the design and of the trials that have ended: to continue an interrupted or extended study, ask again.
A trial that has ended, however it ended, is not asked for again.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from relume.artifacts.trial import BASELINE, Design, InterimAnalysis, Trial, TrialKey
from relume.errors import StudyError
from relume.lab.judging import stats
from relume.lab.judging.tuning import CONFIRMED, Tuning, enough, hazard
from relume.lab.judging.values import Key, scores

GROWTH = 3
"""How many rates may be added for one contender while its best rate is not bracketed."""
CLOSE = 0.5
"""Standard deviations of a run by which the parabola's top may exceed the best rate before a half step is run. Of 4000
contenders whose rates are all equal none exceeded it at 8 seeds; an optimum half a step off, steep, exceeds it by 1."""
SCREEN = 4
"""Seeds after which hopeless contenders are dropped, if the first verdict takes at least twice that number."""
SCREENING_ERROR = 0.01
"""The chance that a study drops a contender that is as good as the baseline. Dropping only omits a verdict, so the
verdicts' error does not change. Of seven contenders one must lose by 5.6 sd of the pairs at each of its rates."""
AS_IT_STANDS = TrialKey(BASELINE, 0, 1.0, "confirm")
"""The first run of the script at its own rates. They run on every seed, though tuning may choose others: their failures
and dead units are a row of the report, and enter a test only if the rate is confirmed."""
STAGES = (1, 2, 4)
"""Verdicts are given at these multiples of the first one's seeds."""


# ---- the rates that are confirmed ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContenderRates:
    """The confirmation of one contender.

    Attributes:
        factors: of its own rates; the one that tuning chose comes first.
        missing: the runs that have not ended. While there are any, ``factors`` may grow.
        open: the rates that would bracket its best one but were not run, as GROWTH is used up.
    """

    factors: tuple[float, ...]
    missing: tuple[Key, ...] = ()
    open: tuple[float, ...] = ()


class Confirmation:
    """The confirmation of a design: the rates of each contender, and the ended runs.

    A rate is known to be the best only if both of its neighbors were run, and no rate between them is clearly better.
    So the rates of a contender grow, on the same seeds: outward by a step of the grid until the best is bracketed, and
    by half steps toward a rate at which the runs fail, or around the best if the parabola through it and its neighbors
    peaks clearly above. An added rate can only make a claim against this contender harder.

    After SCREEN seeds a contender is dropped if the baseline beats it at every rate; a rate is stopped if every run
    there failed.

    Attributes:
        choices: what tuning chose; empty before it has ended.
        scores: of each run that has ended, greater is better, NaN for a run without a value.
        order: the names, the baseline first, then the contenders by their score in tuning.
    """

    def __init__(self, design: Design, done: Sequence[Trial], looks: Sequence[InterimAnalysis] = ()) -> None:
        self.design, self.counts = design, stages(design, looks)
        self.tuning = Tuning(design, done)
        self.choices = self.tuning.choices()
        self.ended: dict[Key, Trial] = {}
        for trial in done:
            if trial.key.stage == "confirm":
                self.ended.setdefault(trial.key, trial)
        sign = 1.0 if design.mode == "max" else -1.0
        values = scores(self.ended, design.metric, design.at, design.mode)
        self.scores = {key: sign * value for key, value in values.items()}
        self._rates: dict[tuple[str, int], ContenderRates] = {}
        self._beyond_screen = {key[0] for key in self.ended if key[1] >= SCREEN}
        promise = {name: -choice.score for name, choice in self.choices.items()}
        self.order = (BASELINE, *sorted(design.names[1:], key=lambda name: promise.get(name, 0.0)))

    def rates(self, name: str, seeds: int) -> ContenderRates:
        """Those of a contender at one of the planned numbers of seeds."""
        if (name, seeds) not in self._rates:
            self._rates[name, seeds] = self._grown(name, seeds)
        return self._rates[name, seeds]

    def _grown(self, name: str, seeds: int) -> ContenderRates:
        earlier = [count for count in self.counts if count < seeds]
        known = self.rates(name, earlier[-1]) if earlier else ContenderRates(self.choices[name].confirmed)
        if known.missing or name in self.dropped:
            return known
        factors = known.factors
        while True:
            for until in (min(SCREEN, seeds), seeds) if self.is_screened else (seeds,):
                missing = tuple(key for key in self.keys(name, factors, until) if key not in self.ended)
                if missing or (until == SCREEN and name in self.dropped):
                    return ContenderRates(factors, missing)
            wanted = tuple(self.beyond(name, factors, seeds))
            room = CONFIRMED + GROWTH - len(factors)
            factors += wanted[:room]
            if not wanted[:room]:
                return ContenderRates(factors, open=wanted[room:])

    @property
    def is_screened(self) -> bool:
        """Whether the first verdict takes enough seeds for screening to save runs."""
        return self.counts[0] >= 2 * SCREEN

    @cached_property
    def dropped(self) -> frozenset[str]:
        """The contenders that are hopeless: the baseline beats them at every rate, by far."""
        if not self.is_screened or not self.choices:
            return frozenset()
        return frozenset(name for name in self.design.names[1:] if self._is_hopeless(name))

    def _is_hopeless(self, name: str) -> bool:
        """The contender's best rate is among those that were run, and one rate of the baseline beats each of them."""
        own, base = self.choices[name].confirmed, self.choices[BASELINE].confirmed
        if not own or name in self._beyond_screen or not (self._is_there(name, own) and self._is_there(BASELINE, base)):
            return False
        ours, theirs = (
            np.array([[self.scores[key] for key in _keys(who, (factor,), SCREEN)] for factor in factors])
            for who, factors in ((name, own), (BASELINE, base))
        )
        ours = ours[[enough(row.tolist()) for row in ours]]
        if not len(ours) or any(self.beyond(name, own, SCREEN)):
            return False
        step = stats.least_step(np.array(list(self.scores.values())))
        p = stats.p_greater(theirs - ours[:, None], step=step).min(-1).max()
        return bool(p * len(base) * len(self.design.contenders) <= SCREENING_ERROR)

    def _is_there(self, name: str, factors: Sequence[float]) -> bool:
        return all(key in self.ended for key in _keys(name, factors, SCREEN))

    @cached_property
    def stopped(self) -> set[tuple[str, float]]:
        """The rates at which all first runs failed, so that no more follow."""
        first = {(name, factor, seed) for (name, seed, factor, _), score in self.scores.items() if math.isnan(score)}
        lost = Counter((name, factor) for name, factor, seed in first if seed < SCREEN)
        return {rate for rate, count in lost.items() if count == SCREEN and self.is_screened}

    def keys(self, name: str, factors: Sequence[float], seeds: int) -> Iterator[Key]:
        """The runs of a contender up to a number of seeds, without those that screening saves."""
        for key in _keys(name, factors, seeds):
            if (name, key[2]) not in self.stopped or key[1] < SCREEN or key in self.ended:
                yield key

    def beyond(self, name: str, factors: Sequence[float], seeds: int) -> Iterator[float]:
        """The rates needed next to bracket the best one."""
        choice = self.choices[name]
        values = {factor: [self.scores[key] for key in self.keys(name, (factor,), seeds)] for factor in factors}
        best = best_of(values)
        if best is None or not choice.has_effect or len(choice.grid) < 2:
            return
        failing = {factor for factor, each in values.items() if not enough(each)}
        failing |= {factor for factor in choice.failing if factor not in values}
        neighbors = []
        for side, step in ((-1, choice.grid[1] / choice.grid[0]), (1, choice.grid[-1] / choice.grid[-2])):
            known = [factor for factor in (*factors, *choice.grid) if side * (factor - best) > 0]
            near = min(known, key=lambda factor: abs(factor - best), default=None)
            if near is None:
                yield best * step**side
            elif near in failing:
                if max(near / best, best / near) > 1.01 * math.sqrt(step):
                    yield math.sqrt(near * best)
            elif near not in values:
                yield near
            else:
                neighbors.append(near)
        if len(neighbors) == 2:
            yield from _half_steps(values, best, *neighbors)

    def complete(self, name: str, seeds: int) -> bool:
        """Whether all runs of a contender have ended."""
        return not self.rates(name, seeds).missing


def _half_steps(values: dict[float, list[float]], best: float, below: float, above: float) -> Iterator[float]:
    """Halfway to the farther neighbor, or to both, if the parabola through the three peaks more than CLOSE above."""
    _, means, deviations = stats.moments(np.array([values[rate] for rate in (below, best, above)]))
    spread = math.sqrt((deviations**2).mean())
    low, high = math.log2(best / below), math.log2(above / best)
    rise, fall = float(means[1] - means[0]) / low, float(means[2] - means[1]) / high
    slope, bend = (rise * high + fall * low) / (low + high), (rise - fall) / (low + high)  # at the best rate
    if bend > 0 and slope**2 / (4 * bend) > CLOSE * spread:
        yield from (
            math.sqrt(best * near) for near, gap in ((below, low), (above, high)) if gap > 0.99 * max(low, high)
        )


def best_of(values: dict[float, list[float]]) -> float | None:
    """The rate with the greatest mean, a failed run counted as the worst value; None if too few runs finished at all.

    Args:
        values: factor → one score per run, greater is better, NaN for a run without a value.
    """
    usable = [factor for factor, each in values.items() if enough(each)]
    if not usable:
        return None
    worst = min(value for factor in usable for value in values[factor] if not math.isnan(value))
    return min(usable, key=lambda factor: hazard(values[factor], worst)[1])


def _keys(name: str, factors: Sequence[float], seeds: int) -> Iterator[Key]:
    for seed, factor in itertools.product(range(seeds), factors):
        yield name, seed, factor, "confirm"


# ---- the order -------------------------------------------------------------------------------------------------------


def next_trials(design: Design, done: Sequence[Trial], looks: Sequence[InterimAnalysis] = ()) -> list[TrialKey]:
    """The trials to run next, in this order; empty when everything has ended.

    The first verdict comes early: the baseline and the most promising contender run first, then the others one by one.
    At the later numbers of seeds all contenders run together.

    Args:
        design: what was asked.
        done: every trial that has ended, in any order, however it ended.
        looks: the verdicts that were printed.
    """
    study = Confirmation(design, done, looks)
    if not study.choices:
        factors, _ = study.tuning.grid()
        return [TrialKey(*key) for key in study.tuning.asked(factors) if key not in study.tuning.ended]
    first, keys = study.counts[0], []
    for place, name in enumerate(study.order):
        for key in study.rates(name, design.seeds).missing:
            later = key[1] >= first
            keys.append((later, 0 if later else max(place, 1), key[1], TrialKey(*key)))
    return [key for *_, key in sorted(keys, key=lambda each: each[:3])] or _as_it_stands(study)


def _as_it_stands(study: Confirmation) -> list[TrialKey]:
    own = (AS_IT_STANDS._replace(seed=seed) for seed in range(study.design.seeds))
    return [key for key in own if key not in study.ended]


def runs_left(design: Design, done: Sequence[Trial], looks: Sequence[InterimAnalysis] = ()) -> dict[str, int]:
    """How many runs of each are left up to the design's seeds, as far as known; tuning assumes CONFIRMED rates."""
    study = Confirmation(design, done, looks)
    left = Counter(key.activation for key in next_trials(design, done, looks))
    for name in design.names:
        if not study.choices:
            ended = sum(key[0] == name for key in study.ended)
            left[name] += 0 if name in study.tuning.broken else design.seeds * CONFIRMED - ended
        elif name not in study.dropped and (rates := study.rates(name, design.seeds)).missing:
            every = set(study.keys(name, rates.factors, design.seeds)).difference(study.ended, rates.missing)
            left[name] += len(every)
    if study.choices and 1.0 not in study.rates(BASELINE, design.seeds).factors and left:
        left[BASELINE] += len(_as_it_stands(study))
    return dict(left)


# ---- the looks -------------------------------------------------------------------------------------------------------


def question(design: Design) -> str:
    """The design's question in one line: another question is another look."""
    parts = [
        design.metric, design.mode, design.at, f"tuned by {design.tune_metric or design.metric}",
        f"factors {','.join(f'{factor:g}' for factor in sorted(set(design.factors)))}",
        f"delta {design.delta:g}" if design.delta is not None else "no delta", f"alpha {design.alpha:g}",
    ]  # fmt: skip
    return " · ".join(parts)


def share(number: int) -> float:
    """The part of alpha that a look may spend: 3/5, 1/5, 1/10, 1/20 … for the first, second, third …; 1 in total."""
    return 0.6 if number == 1 else 0.4 * 0.5 ** (number - 1)


def stages(design: Design, looks: Sequence[InterimAnalysis]) -> tuple[int, ...]:
    """The planned numbers of seeds for verdicts: n, 2n and 4n, with n of the first look.

    Raises:
        StudyError: the design's number of seeds is not one of them.
    """
    first = looks[0].seeds if looks else design.seeds
    allowed = tuple(first * times for times in STAGES)
    if design.seeds not in allowed:
        raise StudyError(
            f"This study cannot be judged at {design.seeds} seeds: its first verdict was printed at {first}, and a "
            "number chosen after seeing a verdict makes errors more frequent than stated. Give "
            f"{', '.join(f'--seeds {count}' for count in allowed)}, or begin a new study with --study DIR.",
            slug="not-a-look",
        )
    return allowed


def next_seeds(design: Design, looks: Sequence[InterimAnalysis]) -> int | None:
    """The seeds of the next look; None after the last one."""
    return next((count for count in stages(design, looks) if count > design.seeds), None)


def look_now(design: Design, done: Sequence[Trial], looks: Sequence[InterimAnalysis]) -> InterimAnalysis | None:
    """The look of a verdict given now: one of ``looks`` if nothing is new, otherwise the next.

    Record it in the study before the verdict is shown or used to decide whether to continue. The first look begins when
    the baseline and one contender are complete: the others wait, and count in the correction.

    Returns: the look; None before the first.

    Raises:
        StudyError: as ``stages``.
    """
    return look_of(Confirmation(design, done, looks), looks)


def look_of(study: Confirmation, looks: Sequence[InterimAnalysis]) -> InterimAnalysis | None:
    """Like :func:`look_now`, for a given confirmation."""
    if not study.choices or not study.complete(BASELINE, study.counts[0]):
        return None
    design = study.design
    names, asked = design.names[1:], question(design)
    if not any(study.choices[name].confirmed and study.complete(name, study.counts[0]) for name in names):
        return None
    complete = [c for c in study.counts[1:] if all(study.complete(name, c) for name in study.order)]
    seeds = max(complete, default=study.counts[0])
    for look in looks:
        if (look.seeds, look.question) == (seeds, asked) and set(names) <= set(look.activations):
            return look
    family = dict.fromkeys(itertools.chain(*(look.activations for look in looks), names))
    return InterimAnalysis(len(looks) + 1, seeds, tuple(name for name in family if name != BASELINE), asked)

"""The verdict on each contender that the trials of a study support.

Each claim's tests are made in ``contest.py``. Here the error alpha is divided among the looks, and within a look among
the contenders. ``docs/reference/lab-statistics.md`` has the simulations that check this.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relume.artifacts.trial import BASELINE, Call, Design, EqualTime, InterimAnalysis, Trial, Verdict
from relume.lab.judging import stats
from relume.lab.judging.checks import check_seeds
from relume.lab.judging.contest import Arm, Contest, ContestTerms, contest
from relume.lab.judging.needed import seeds_needed
from relume.lab.judging.notes import Stage, noise_notes, notes
from relume.lab.judging.schedule import SCREEN, Confirmation, look_of, share
from relume.lab.judging.values import Key, starts, trial_value, value_after

COSTS = ("seconds", "cpu_seconds", "peak_memory", "parameters_added", "dead_share")


@dataclass(frozen=True)
class JudgedStudy:
    """What verdicts are based on; several, from different tasks, are corrected together."""

    design: Design
    trials: Sequence[Trial]
    looks: Sequence[InterimAnalysis] = ()


def judge(design: Design, trials: Sequence[Trial], looks: Sequence[InterimAnalysis] = ()) -> list[Verdict]:
    """The verdict on each contender, in the order of the design.

    Args:
        design: what was asked.
        trials: all that have ended, however they ended.
        looks: the verdicts that were printed before. ``schedule.look_now`` gives the current one; record it before the
            verdict is shown. Judging the same trials again gives the same verdicts and spends nothing.

    Returns: one per contender; undecided while runs of it or of the baseline up to the first look are missing.

    Raises:
        StudyError: two seeds ended with the same weights; or the design's seeds match no look.
        MissingExtra: SciPy is not installed.
    """
    return judge_all([JudgedStudy(design, trials, looks)])[0]


def judge_all(studies: Sequence[JudgedStudy]) -> list[list[Verdict]]:
    """The verdicts of several studies, corrected over all their contenders together; otherwise like ``judge``."""
    gathered = [_gather(study) for study in studies]
    family = sum(found.family for found in gathered)
    pooled = [
        (found, one)
        for found in gathered
        for one in found.contests
        if one.name not in found.stage.waiting | found.stage.study.dropped
    ]
    corrected = stats.holm([one.p_difference / found.share for found, one in pooled], of=family)
    p_holm = {id(one): float(p) for (_, one), p in zip(pooled, corrected, strict=True)}
    return [
        [_Judged(found, one, p_holm.get(id(one), math.nan), family).verdict() for one in found.contests]
        for found in gathered
    ]


@dataclass(frozen=True)
class _Gathered:
    """A study's contests. ``share``: the look's part of alpha; ``family``: contenders that share it in this study."""

    stage: Stage
    share: float
    family: int
    contests: list[Contest]
    ended: Mapping[Key, Trial]


def _gather(study: JudgedStudy) -> _Gathered:
    design = study.design
    check_seeds(study.trials)
    confirmation = Confirmation(design, study.trials, study.looks)
    look = look_of(confirmation, study.looks)
    seeds = look.seeds if look else confirmation.counts[0]
    confirmed = [name for name, choice in confirmation.choices.items() if choice.confirmed]
    ready = {name for name in confirmed if look and confirmation.complete(name, seeds)}
    noise = noise_notes(design, study.trials, confirmation.scores)
    stage = Stage(confirmation, look, seeds, frozenset(design.names[1:]) - ready, tuple(noise))
    part, family = (share(look.number), len(look.activations)) if look else (share(1), len(design.contenders))
    return _Gathered(stage, part, family, _contests(stage), confirmation.ended)


def _contests(stage: Stage) -> list[Contest]:
    study, design = stage.study, stage.study.design
    scores, sign = np.array(list(study.scores.values())), 1.0 if design.mode == "max" else -1.0
    begun = sign * np.array(starts(study.ended.values(), design.metric))
    worst = float(np.nanmin(np.concatenate([scores, begun]), initial=math.inf))
    terms = ContestTerms(stats.least_step(scores), stats.least_pairs(design.alpha), design.delta, worst)
    base = _arm(stage, BASELINE, stage.seeds)

    def of(name: str) -> Contest:
        if name in study.dropped:
            return Contest(_arm(stage, name, SCREEN), _arm(stage, BASELINE, SCREEN))
        arm = _arm(stage, name, stage.seeds)
        return Contest(arm, base) if name in stage.waiting else contest(arm, base, terms)

    return [of(name) for name in design.names[1:]]


def _arm(stage: Stage, name: str, seeds: int) -> Arm:
    study, choice = stage.study, stage.study.choices.get(name)
    if choice is None:
        nothing = np.empty((0, seeds))
        return Arm(name, (), nothing, nothing)
    rates, design = study.rates(name, stage.seeds), study.design
    sign = 1.0 if design.mode == "max" else -1.0
    values, ends = np.full((2, len(rates.factors), seeds), math.nan)
    ran = tuple(sum(1 for _ in study.keys(name, (factor,), seeds)) for factor in rates.factors)
    for row, seed in np.ndindex(values.shape):
        key: Key = (name, seed, rates.factors[row], "confirm")
        if key in study.ended:
            values[row, seed] = study.scores[key]
            ends[row, seed] = sign * trial_value(study.ended[key], design.metric, design.at, design.mode)
    return Arm(name, rates.factors, values, ends, rates.open, ran)


@dataclass(frozen=True)
class _Judged:
    """One contest, with the data that its study and its family share."""

    found: _Gathered
    one: Contest
    p_holm: float
    family: int

    def call(self) -> Call:
        found, one = self.found, self.one
        alpha = found.stage.study.design.alpha
        if math.isnan(self.p_holm):  # not judged yet
            return "undecided"
        if self.p_holm <= alpha:
            return "better" if one.better.p < one.worse.p else "worse"
        is_near = one.equivalent * self.family / found.share <= alpha
        return "equivalent" if is_near and not one.may_collapse else "undecided"

    def next_level(self) -> float:
        """The part of alpha that the next look has for one contender, two-sided."""
        stage = self.found.stage
        return stage.study.design.alpha * share(stage.look.number + 1 if stage.look else 1) / self.family

    def verdict(self) -> Verdict:
        found, one, stage = self.found, self.one, self.found.stage
        design = stage.study.design
        level, sign = design.alpha * found.share / self.family, 1.0 if design.mode == "max" else -1.0
        call = self.call()
        count, mean, deviation = (float(part) for part in stats.moments(one.differences))
        both = ~np.isnan(one.differences)
        _, own_mean, own_sd = (
            float(part) for part in stats.moments(one.own.at_best[both] if both.any() else one.own.at_best)
        )
        _, base_mean, base_sd = (
            float(part) for part in stats.moments(one.base.at_best[both] if both.any() else one.base.at_best)
        )
        own_runs, base_runs = (_runs(found, arm) for arm in (one.own, one.base))
        failed, base_failed = (_failed(stage, runs) for runs in (own_runs, base_runs))
        p_flip = stats.sign_flip(one.differences) if count else math.nan
        judged, dropped = one.name not in stage.waiting, one.name in stage.study.dropped
        return Verdict(
            activation=one.name,
            verdict=call,
            n=int(count),
            mean=sign * own_mean,
            sd=own_sd,
            difference=sign * mean,
            ci=_turned(one.interval(design.alpha), sign),
            ci_simultaneous=_turned(one.interval(level), sign),
            p_holm=self.p_holm,
            p_sign_flip=p_flip,
            p_better=stats.p_improves(one.differences),
            correlation=stats.correlation(one.own.at_best, one.base.at_best),
            mdd=stats.detectable_effect(int(count), level) * deviation if deviation > 0 else math.nan,
            seeds_needed=seeds_needed(one, design.delta, self.next_level()) if judged and not dropped else None,
            runs=len(own_runs),
            failed=failed,
            failed_ci=stats.wilson(failed, len(own_runs)),
            lr_factor=one.own.factor,
            baseline_lr_factor=one.base.factor,
            at_edge=bool(one.own.open),
            cost={"activation": _cost(own_runs), "baseline": _cost(base_runs)},
            notes=notes(stage, one, call, level, p_flip, (failed, len(own_runs)), (base_failed, len(base_runs))),
            baseline_mean=sign * base_mean,
            baseline_sd=base_sd,
            baseline_failed=base_failed,
            look=stage.look.number if stage.look and judged else 0,
            level=design.alpha * found.share if judged else math.nan,
            dropped=dropped,
            equal_time=_equal_time(design, own_runs, base_runs) if judged else None,
        )


def _turned(bounds: tuple[float, float], sign: float) -> tuple[float, float]:
    return bounds if sign > 0 else (-bounds[1], -bounds[0])


def _runs(found: _Gathered, arm: Arm) -> list[Trial]:
    """The ended runs of the confirmation at the best rate, up to the look's seeds."""
    keys = [(arm.name, seed, arm.factor, "confirm") for seed in range(found.stage.seeds)]
    return [found.ended[key] for key in keys if key in found.ended]  # type: ignore[index]  # a plain tuple is equal


def _equal_time(design: Design, own: Sequence[Trial], base: Sequence[Trial]) -> EqualTime | None:
    """The difference after the same seconds, over the pairs that have a value by then."""
    times = [trial.seconds for trial in base if trial.status == "finished"]
    if not design.at_time or not times:
        return None
    seconds = statistics.median(times) if design.at_time == BASELINE else float(design.at_time)
    ours, theirs = (
        {trial.key.seed: value_after(seconds, trial, design.metric, design.at, design.mode) for trial in runs}
        for runs in (own, base)
    )
    pairs = np.array([ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()])
    count, mean, deviation = (float(part) for part in stats.moments(pairs))
    return EqualTime(seconds, mean, *stats.interval(count, mean, deviation, design.alpha), int(count))


def _failed(stage: Stage, runs: Sequence[Trial]) -> int:
    return sum(math.isnan(stage.study.scores[run.key]) for run in runs)


def _cost(runs: Sequence[Trial]) -> dict[str, Any]:
    finished = [trial for trial in runs if trial.status == "finished"]
    costs = {}
    for name in COSTS:
        measured = [value for trial in finished if (value := getattr(trial, name)) is not None]
        costs[name] = statistics.median(measured) if measured else None
    return costs

"""What a reader must know before trusting a verdict, in plain sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from relume.artifacts.numbers import percent
from relume.artifacts.trial import BASELINE, Call, Design, InterimAnalysis, Trial
from relume.lab.judging import stats
from relume.lab.judging.checks import repeats_that_differ
from relume.lab.judging.contest import Arm, Contest
from relume.lab.judging.schedule import SCREEN, Confirmation
from relume.lab.judging.values import Key, trial_value


@dataclass(frozen=True)
class Stage:
    """The state of a study.

    Attributes:
        study: its confirmation. ``look``: the current planned verdict; None before the first.
        seeds: those of the verdict, or those that the first verdict waits for.
        waiting: the contenders with unfinished runs up to these seeds.
        noise: the sentences of ``noise_notes``.
    """

    study: Confirmation
    look: InterimAnalysis | None
    seeds: int
    waiting: frozenset[str]
    noise: tuple[str, ...] = ()


def notes(
    stage: Stage,
    one: Contest,
    call: Call,
    level: float,
    p_flip: float,
    failed: tuple[int, int],
    base_failed: tuple[int, int],
) -> tuple[str, ...]:
    """The sentences on one verdict.

    Args:
        stage: of its study.
        one: its tests.
        call: the verdict.
        level: two-sided, the part of alpha for one contender at this look.
        p_flip: exact sign-flip p of the pairs at the best rates.
        failed: (runs without a value, all runs) at the best rate.
        base_failed: the same for the baseline.
    """
    error = stage.study.tuning.broken.get(one.name)
    if error:
        return (f"Not compared: every run failed with the same error ({error}).",)
    if not stage.study.choices:
        return ("No verdict yet: the learning rates are still being tuned.",)
    said = [*_progress(stage, one), *_failures(stage, one, failed, base_failed), *_rates(stage, one)]
    if one.name in stage.study.dropped:
        said.insert(0, f"Dropped after {SCREEN} seeds: it lost by far at every learning rate.")
    elif one.name not in stage.waiting:
        said += [*_withheld(one, call, level), *_exact(stage, one, call, p_flip)]
        said += _may_collapse(one) if call == "undecided" and one.equivalent <= level else ()
    return (*said, *stage.noise)


def _progress(stage: Stage, one: Contest) -> Iterator[str]:
    if one.name in stage.waiting:
        yield f"No verdict before all runs of {stage.seeds} seeds have ended: a verdict is given at fixed numbers only."
    elif any(key[0] == one.name and key[1] >= stage.seeds for key in stage.study.scores):
        yield f"Based on the first {stage.seeds} seeds; further seeds count once all runs of the next look have ended."


def _failures(stage: Stage, one: Contest, failed: tuple[int, int], base_failed: tuple[int, int]) -> Iterator[str]:
    for arm, who, (count, runs) in ((one.own, one.name, failed), (one.base, "the baseline", base_failed)):
        if count:
            dead = sum(
                trial.dead_layers > 0 and trial.status == "finished"
                for (name, seed, factor, _), trial in stage.study.ended.items()
                if (name, factor) == (arm.name, arm.factor) and seed < stage.seeds
            )
            layers = f" ({dead} ended with a dead layer)" if dead else ""
            yield (
                f"{count} of {runs} runs of {who} failed or collapsed{layers}; the mean and its interval leave out "
                "their pairs."
            )
        elif runs:
            most, whose = stats.wilson(0, runs)[1], " of the baseline" if who != one.name else ""
            below = f"the true share is below {percent(most, 0)} (95 % confidence)."
            yield f"0 of {runs} runs{whose} failed or collapsed; {below}"
    if one.by_failing:
        yield "Fewer than half of its runs finished: each failure counts as a loss, by exact tests."
    if one.base_failing:
        yield "Fewer than half of the baseline's runs finished: each failure counts as a loss, by exact tests."


def _rates(stage: Stage, one: Contest) -> Iterator[str]:
    for arm in (one.own, one.base):
        choice, who = stage.study.choices[arm.name], "The baseline" if arm.name == BASELINE else arm.name
        if not choice.has_effect:
            yield f"{who} ended with the same weights at every learning-rate factor: the factor has no effect."
        if one.name in stage.waiting or not arm.usable:
            continue
        if arm.open:
            factors = ",".join(f"{factor:g}" for factor in sorted({*stage.study.design.factors, *arm.open}))
            yield (
                f"{who} did best at the last learning rate tried (×{arm.factor:g}), so nothing is shown to beat it: a "
                f"rate further out may be better still. Try --lr-factors {factors}."
            )
        elif arm.best:
            yield (
                f"Tuning chose ×{arm.factors[0]:g} for {who[:1].lower()}{who[1:]}; ×{arm.factor:g} did better on the "
                "verdict's seeds and is compared."
            )
        aside = [factor for row, factor in enumerate(arm.factors) if row not in arm.usable]
        if aside:
            listed = ", ".join(f"×{factor:g}" for factor in aside)
            yield f"Too few runs of {who[:1].lower()}{who[1:]} finished at {listed}: only failures count there."


def _withheld(one: Contest, call: Call, level: float) -> Iterator[str]:
    """Why a difference that a laxer rule would have found is not claimed."""
    if call in ("better", "worse"):
        return
    for word, claim, loser in (("better", one.better, one.base), ("worse", one.worse, one.own)):
        if 2 * claim.confirmed > level or 2 * claim.p <= level or loser.open:
            continue
        if 2 * claim.finished > level:
            yield (
                f"At the confirmed learning rates it looks {word}, but a rate between them could explain that. Try "
                f"--lr-factors {_finer(loser)}."
            )
        else:
            yield f"It looks {word} among the finished runs, but not if failures count as the worst value seen."


def _finer(arm: Arm) -> str:
    """The rates of an arm, with half steps around its best."""
    near = sorted(arm.factors[row] for row in arm.usable)
    place = near.index(arm.factor)
    halves = [math.sqrt(a * b) for a, b in itertools.pairwise(near) if arm.factor in (a, b)]
    return ",".join(f"{factor:g}" for factor in sorted([*near[max(0, place - 1) : place + 2], *halves]))


def _exact(stage: Stage, one: Contest, call: Call, p_flip: float) -> Iterator[str]:
    design = stage.study.design
    count, _, deviation = (float(part) for part in stats.moments(one.differences))
    least = stats.least_pairs(design.alpha)
    if count < least and one.own.usable and one.base.usable:
        yield f"{int(count)} pairs cannot show a difference: better and worse need {least} finished pairs."
    elif 0 <= deviation <= one.terms.step:
        yield "The differences vary by no more than one step of the metric, so an exact test replaces the t-test."
    if call in ("better", "worse") and p_flip > design.alpha and not (one.by_failing or one.base_failing):
        yield (
            f"The exact sign-flip test alone does not reach {design.alpha:g} (p = {p_flip:.3g}; {int(count)} pairs"
            f" cannot go below {stats.sign_flip_floor(int(count)):.3g}): the verdict assumes normal differences."
        )
    if call in ("better", "worse") and design.delta is not None:
        low, high = one.interval(design.alpha)
        if max(abs(low), abs(high)) < design.delta:
            yield f"The difference is real and smaller than delta ({design.delta:g})."


def _may_collapse(one: Contest) -> Iterator[str]:
    """Why *equivalent* is withheld from runs that are."""
    if one.may_collapse:
        arm, share, moved = one.may_collapse
        who = "the baseline" if arm is one.base else one.name
        yield (
            f"The runs that train are equivalent, but up to {percent(share, 0)} of the runs of {who} may collapse "
            f"(95 %), which would move the mean by {moved:.3g}: run more seeds, or give a greater --delta."
        )


def noise_notes(design: Design, trials: Sequence[Trial], values: Mapping[Key, float]) -> Iterator[str]:
    """The sentences on the study's randomness, shown with every verdict."""
    for first, second in repeats_that_differ(trials)[:1]:
        gap = abs(_value(design, first) - _value(design, second))
        apart = "" if math.isnan(gap) else f", {gap:.3g} apart in {design.metric}"
        yield (
            f"Run-to-run noise: {first.key.activation} at seed {first.key.seed} was run twice and ended with different "
            f"weights{apart}. The seed does not control all randomness."
        )
    by_rate: dict[tuple[str, float], set[float]] = {}
    for (name, _, factor, _), value in values.items():
        by_rate.setdefault((name, factor), set()).add(value)
    if len(values) > len(by_rate) and all(len(different) == 1 for different in by_rate.values()):
        yield f"{design.metric or 'The metric'} is the same for every seed: is it the right metric?"


def _value(design: Design, trial: Trial) -> float:
    return trial_value(trial, design.metric, design.at, design.mode)

"""What a reader must know before believing a verdict, in plain sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from relume.artifacts.trial import BASELINE, Call, Design, Look, Trial
from relume.lab.judging import stats
from relume.lab.judging.checks import repeats_that_differ
from relume.lab.judging.contest import Arm, Contest, collapse_moves
from relume.lab.judging.schedule import SCREEN, Confirmation
from relume.lab.judging.values import Key, trial_value


@dataclass(frozen=True)
class Stage:
    """Where a study stands.

    Attributes:
        study: its confirmation. ``look``: the verdict that may be given now; None before the first.
        seeds: those that the verdict rests on, or that the first look waits for.
        waiting: the contenders whose runs up to these seeds have not all ended.
        noise: what ``noise_notes`` says of it.
    """

    study: Confirmation
    look: Look | None
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
        level: two-sided, what of alpha is left for one contender at this look.
        p_flip: exact sign-flip p of the pairs at the best rates.
        failed: how many runs at the best rate have no value, of how many.
        base_failed: the same of the baseline.
    """
    error = stage.study.tuning.broken.get(one.name)
    if error:
        return (f"It is not compared: each of its runs failed with the same error ({error}).",)
    if not stage.study.choices:
        return ("The learning rates are still being tuned: there is no verdict yet.",)
    said = [*_progress(stage, one), *_failures(stage, one, failed, base_failed), *_rates(stage, one)]
    if one.name in stage.study.dropped:
        said.insert(0, f"Dropped after {SCREEN} seeds: it lost by far at each of its rates, and no more were run.")
    elif one.name not in stage.waiting:
        said += [*_withheld(one, call, level), *_exact(stage, one, call, p_flip)]
        said += _unnoticed(stage, one) if one.own.usable and one.base.usable and call == "undecided" else ()
    return (*said, *stage.noise)


def _progress(stage: Stage, one: Contest) -> Iterator[str]:
    if one.name in stage.waiting:
        yield f"No verdict before all runs of {stage.seeds} seeds have ended: a verdict is given at fixed numbers only."
    elif any(key[0] == one.name and key[1] >= stage.seeds for key in stage.study.scores):
        yield f"It rests on the first {stage.seeds} seeds; more count once all runs of the next look have ended."


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
                f"{count} of {runs} runs of {who} failed or collapsed{layers}; the mean and its interval leave out the"
                " pairs they belong to."
            )
        elif runs:
            most, whose = stats.wilson(0, runs)[1], " of the baseline" if who != one.name else ""
            yield f"0 of {runs} runs{whose} failed or collapsed; up to {most:.0%} may (95 % confidence)."
    if one.by_failing:
        yield "Fewer than half of its runs finished: each failure counts as a loss, by exact tests."
    if one.base_failing:
        yield "Fewer than half of the baseline's runs finished: each failure counts as a loss, by exact tests."


def _rates(stage: Stage, one: Contest) -> Iterator[str]:
    for arm in (one.own, one.base):
        choice, who = stage.study.choices[arm.name], "The baseline" if arm.name == BASELINE else arm.name
        if not choice.has_effect:
            yield f"{who} trained the same weights at every learning-rate factor: the factor has no effect on it."
        if one.name in stage.waiting or not arm.usable:
            continue
        if arm.open:
            factors = ",".join(f"{factor:g}" for factor in sorted({*stage.study.design.factors, *arm.open}))
            yield (
                f"{who} did best at the last learning rate tried (×{arm.factor:g}), so nothing else is shown to beat"
                f" it: a rate further out may be better still. Try --lr-factors {factors}."
            )
        elif arm.best:
            yield (
                f"Tuning chose ×{arm.factors[0]:g} for {who[:1].lower()}{who[1:]}; ×{arm.factor:g} did better on the"
                " seeds of the verdict, and is the rate that is compared."
            )
        aside = [factor for row, factor in enumerate(arm.factors) if row not in arm.usable]
        if aside:
            listed = ", ".join(f"×{factor:g}" for factor in aside)
            yield f"Too few runs of {who[:1].lower()}{who[1:]} finished at {listed}: only its failures count there."


def _withheld(one: Contest, call: Call, level: float) -> Iterator[str]:
    """Why a difference that a laxer rule would have found is not claimed."""
    if call in ("better", "worse"):
        return
    for word, claim, loser in (("better", one.better, one.base), ("worse", one.worse, one.own)):
        if 2 * claim.confirmed > level or 2 * claim.p <= level or loser.open:
            continue
        if 2 * claim.finished > level:
            yield (
                f"At the confirmed rates alone it looks {word}. A learning rate between them would explain that: try"
                f" --lr-factors {_finer(loser)}."
            )
        else:
            yield f"Among the finished runs it looks {word}, but not when failures count as the worst value seen."


def _finer(arm: Arm) -> str:
    """The rates of an arm with half steps around its best."""
    near = sorted(arm.factors[row] for row in arm.usable)
    place = near.index(arm.factor)
    halves = [math.sqrt(a * b) for a, b in itertools.pairwise(near) if arm.factor in (a, b)]
    return ",".join(f"{factor:g}" for factor in sorted([*near[max(0, place - 1) : place + 2], *halves]))


def _exact(stage: Stage, one: Contest, call: Call, p_flip: float) -> Iterator[str]:
    design = stage.study.design
    count, _, deviation = (float(part) for part in stats.moments(one.differences))
    least = stats.least_pairs(design.alpha)
    if count < least and one.own.usable and one.base.usable:
        yield f"{int(count)} pairs cannot show a difference: better and worse need {least} that finished."
    elif 0 <= deviation <= one.terms.step:
        yield "The differences spread by no more than one step of the metric: an exact test replaces the t-test."
    if call in ("better", "worse") and p_flip > design.alpha and not (one.by_failing or one.base_failing):
        yield (
            f"The exact sign-flip test alone does not reach {design.alpha:g} (p = {p_flip:.3g}; {int(count)} pairs"
            f" cannot go below {stats.sign_flip_floor(int(count)):.3g}): the verdict leans on differences being normal."
        )
    if call in ("better", "worse") and design.delta is not None:
        low, high = one.interval(design.alpha)
        if max(abs(low), abs(high)) < design.delta:
            yield f"The difference is real and smaller than delta ({design.delta:g})."


def _unnoticed(stage: Stage, one: Contest) -> Iterator[str]:
    """Why *equivalent* is withheld if a collapse would not show."""
    delta = stage.study.design.delta
    moved = max(collapse_moves(arm, one.terms.worst) for arm in (one.own, one.base))
    if delta is not None and one.terms.worst is not None and moved >= delta:
        yield (
            "It cannot be called equivalent: a run that collapsed does not show, and as many as may have could move the"
            f" mean by {moved:.3g}. Log {stage.study.design.metric or 'the metric'} once before training as well, or"
            " run more seeds."
        )


def noise_notes(design: Design, trials: Sequence[Trial], values: Mapping[Key, float]) -> Iterator[str]:
    """What is said of the study's randomness, beside every verdict."""
    for first, second in repeats_that_differ(trials)[:1]:
        gap = abs(_value(design, first) - _value(design, second))
        apart = "" if math.isnan(gap) else f", {gap:.3g} apart in {design.metric}"
        yield (
            f"Run-to-run noise: {first.key.activation} at seed {first.key.seed} was run twice and ended with different"
            f" weights{apart}. The seed does not fix everything that is random."
        )
    by_rate: dict[tuple[str, float], set[float]] = {}
    for (name, _, factor, _), value in values.items():
        by_rate.setdefault((name, factor), set()).add(value)
    if len(values) > len(by_rate) and all(len(different) == 1 for different in by_rate.values()):
        yield f"{design.metric or 'The metric'} is the same number for every seed: is it the right one?"


def _value(design: Design, trial: Trial) -> float:
    return trial_value(trial, design.metric, design.at, design.mode)

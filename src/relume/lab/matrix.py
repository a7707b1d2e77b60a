"""The matrix of a comparison before it runs: how many trials, and how long they would take."""

from __future__ import annotations

from collections.abc import Sequence

from relume.artifacts.matrix import Matrix
from relume.artifacts.trial import Design, Trial
from relume.lab.judging.schedule import STAGES, next_trials
from relume.lab.judging.tuning import CONFIRMED, MOST_EXTENSIONS, TRIES


def matrix(design: Design, done: Sequence[Trial], example: Trial, jobs: int) -> Matrix:
    """Lay out the trials of a design.

    Args:
        design: what is asked.
        done: what has ended.
        example: a run of the script, for its duration; an unchanged one in ``done`` is preferred.
        jobs: trials at a time.
    """
    grid = sorted(set(design.factors))
    per_factor = len(design.names) * len(design.tuning_seeds)
    tuning = per_factor * len(grid) if len(grid) > 1 else 0
    rates = min(CONFIRMED, len(grid))
    plain = [trial.seconds for trial in done if trial.status == "finished"]
    return Matrix(
        names=design.names,
        factors=tuple(grid),
        tuning_seeds=len(design.tuning_seeds),
        tuning=tuning,
        most_tuning=TRIES * len(design.names) * (len(grid) + 2 * MOST_EXTENSIONS) if tuning else 0,
        rates=rates,
        looks=tuple((times * design.seeds, times * design.seeds * rates * len(design.names)) for times in STAGES),
        done=len(done),
        next=tuple(next_trials(design, done)),
        seconds=sorted(plain)[len(plain) // 2] if plain else example.seconds,
        jobs=jobs,
    )

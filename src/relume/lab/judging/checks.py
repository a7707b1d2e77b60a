"""What must hold of the trials before any verdict: seeds that do something, runs that repeat themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

from relume.artifacts.trial import BASELINE, Trial, TrialKey
from relume.errors import StudyError


def check_seeds(trials: Sequence[Trial]) -> None:
    """Refuses a study in which two seeds trained the same weights.

    The digests of the trained weights are compared, not metrics, which may tie. Trials without a digest prove nothing.

    Raises:
        StudyError: two finished trials that differ in their seed alone have the same ``weights``.
    """
    seen: dict[tuple[str, float, str], int] = {}
    for trial in trials:
        if not trial.weights or trial.status != "finished":
            continue
        name, seed, factor, _ = trial.key
        first = seen.setdefault((name, factor, trial.weights), seed)
        if first != seed:
            raise StudyError(
                f"The seed has no effect: {name} ended with the same weights at seeds {first} and {seed} (learning rate"
                f" ×{factor:g}), so runs of the script are copies, not samples. Expected different weights. Let the"
                " script draw its initial weights or its batches from torch, numpy or random, or give it the seed:"
                " --seed={seed} among its arguments.",
                slug="seed-without-effect",
            )


FAIL_FAST = 2
"""After so many runs, all of which raised one and the same exception, a contender is not tried again."""


def broken(trials: Sequence[Trial]) -> dict[str, str]:
    """The contenders that cannot run, with the exception that each of their runs raised."""
    errors: dict[str, list[str]] = {}
    for trial in trials:
        if trial.key.activation != BASELINE:
            errors.setdefault(trial.key.activation, []).append(trial.error if trial.status == "failed" else "")
    return {
        name: seen[0]
        for name, seen in errors.items()
        if len(seen) >= FAIL_FAST and seen[0] and len({_ADDRESS.sub("", error) for error in seen}) == 1
    }


_ADDRESS = re.compile(r"0x[0-9a-f]+")
"""It differs in each run of one and the same error."""


def repeats_that_differ(trials: Sequence[Trial]) -> list[tuple[Trial, Trial]]:
    """Pairs of runs of one key whose trained weights differ: run-to-run noise."""
    first: dict[TrialKey, Trial] = {}
    pairs = []
    for trial in sorted(trials, key=lambda trial: trial.key.stage == "repeat"):
        again = trial.key.stage == "repeat"
        known = first.setdefault(trial.key._replace(stage="confirm") if again else trial.key, trial)
        if known is not trial and known.weights and trial.weights and known.weights != trial.weights:
            pairs.append((known, trial))
    return pairs

"""What a comparison would run, and how long that takes; made by the lab, shown by ``--dry-run``."""

from __future__ import annotations

from dataclasses import dataclass

from relume.artifacts.trial import TrialKey


@dataclass(frozen=True)
class Matrix:
    """What would be run.

    Attributes:
        names: the baseline and the contenders. ``factors``: the grid; ``tuning``: trials that choose from it.
        most_tuning: where the grid is extended, and runs that fail are made up for, as often as may be.
        confirming: trials of the first look, ``looks``: seeds and trials at each of them.
        done: of all these, those that are there. ``next``: what would be run next.
        seconds: of one run. ``jobs``: at a time.
    """

    names: tuple[str, ...]
    factors: tuple[float, ...]
    tuning_seeds: int
    tuning: int
    most_tuning: int
    rates: int
    looks: tuple[tuple[int, int], ...]
    done: int
    next: tuple[TrialKey, ...]
    seconds: float
    jobs: int

    @property
    def confirming(self) -> int:
        """Trials of the first look."""
        return self.looks[0][1]

    def hours(self, trials: int) -> float:
        """How long this many trials take."""
        return trials * self.seconds / self.jobs / 3600

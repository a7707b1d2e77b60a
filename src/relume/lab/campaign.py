"""From a design to verdicts: run the missing trials and judge at the planned looks; for scripts and functions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from relume.artifacts.study import Study, in_shard
from relume.artifacts.trial import Design, Stage, Trial, TrialKey, Verdict
from relume.lab.judging.checks import check_seeds
from relume.lab.judging.schedule import look_now, next_seeds, next_trials, runs_left
from relume.lab.judging.verdicts import judge

_POLL = 2.0
"""Seconds between two looks at what other shards and other processes have finished."""


class Trials(Protocol):
    """What runs trials: a script's on an executor, or a function's."""

    def run(self, keys: Iterable[TrialKey]) -> Iterator[Trial]:
        """Run these; yields each as soon as it ends."""


class Progress(Protocol):
    """Receives the progress of a campaign."""

    def planned(self, stage: Stage, done: int, left: int) -> None:
        """A stage begins: ``done`` runs have ended, and ``left`` are still to come, as far as is known."""

    def ended(self, trial: Trial) -> None:
        """A trial has ended and is kept."""

    def judged(self, verdict: Verdict, runs: int, waiting: int) -> None:
        """The first verdict of the study is there, after ``runs`` runs; ``waiting`` contenders have none yet."""


class Quiet(Progress):
    """Shows nothing."""


@dataclass(frozen=True)
class Terms:
    """How a campaign continues and when it ends.

    Attributes:
        until_decided: continue to the next look while a contender is undecided.
        shard: (K, N): run the K-th of N parts, and wait for the others'.
        until: the ``time.monotonic`` after which no trial is started; None for no limit.
    """

    until_decided: bool = False
    shard: tuple[int, int] = (1, 1)
    until: float | None = None


@dataclass
class Campaign:
    """One study in progress.

    Attributes:
        design: the current one; its seeds grow with ``until_decided``.
        study: keeps everything. ``trials``: runs it. ``terms``: when it ends. ``progress``: is notified.
        first: trials that are run before all others.
    """

    design: Design
    study: Study
    trials: Trials
    terms: Terms = field(default_factory=Terms)
    progress: Progress = field(default_factory=Quiet)
    first: tuple[TrialKey, ...] = ()
    out_of_time: bool = False
    _pending: Counter[str] = field(default_factory=Counter, repr=False)
    _stale: bool = field(default=False, repr=False)

    def carry_out(self) -> list[Verdict]:
        """Run the missing trials and judge.

        Returns: a verdict for each contender; all undecided if time ran out before the first look.

        Raises: StudyError: the seed has no effect, or the study cannot be written.
        """
        while True:
            self._run_missing()
            verdicts = self.judge()
            seeds = next_seeds(self.design, self.study.looks)
            open_ones = any(verdict.verdict == "undecided" and not verdict.dropped for verdict in verdicts)
            if not (self.terms.until_decided and open_ones and seeds) or self.out_of_time:
                return verdicts
            self.design = replace(self.design, seeds=seeds)
            assert self.study.subject is not None
            self.study.begin(self.design, self.study.subject)

    def judge(self) -> list[Verdict]:
        """The verdicts on the trials so far; the look is recorded before the verdicts are shown."""
        done, looks = self.study.trials(), self.study.looks
        look = look_now(self.design, done, looks)
        if look is not None and look not in looks:
            self.study.add_look(look)
        return judge(self.design, done, self.study.looks)

    def ahead(self) -> list[TrialKey]:
        """The trials to run until the stage is over."""
        done = self.study.trials()
        ended = {trial.key for trial in done}
        first = [key for key in self.first if key not in ended]
        return first + [key for key in next_trials(self.design, done, self.study.looks) if key not in first]

    def _left(self, done: Sequence[Trial]) -> int:
        return sum(runs_left(self.design, done, self.study.looks).values())

    def _run_missing(self) -> None:
        while ahead := self.ahead():
            done = self.study.trials()
            check_seeds(done)
            self.progress.planned(ahead[0].stage, len(done), self._left(done))
            ran = 0
            for trial in self.trials.run(self._claimed(ahead)):
                self.study.save(trial)
                self.progress.ended(trial)
                self._count(trial)
                ran += 1
            if self.out_of_time:
                return
            if not ran:
                self._wait(lambda: self.ahead() != ahead)
        check_seeds(self.study.trials())

    def _count(self, trial: Trial) -> None:
        """When all runs of a contender that were asked for have ended: its rates may grow, or its verdict be there."""
        self._pending[trial.key.activation] -= 1
        self._stale |= trial.status == "failed"  # it may be one that cannot run
        if trial.key.stage == "confirm" and not self._pending[trial.key.activation]:
            self._stale = True
            if not self.study.looks:
                verdicts = self.judge()
                there = [verdict for verdict in verdicts if verdict.look]
                if there:
                    self.progress.judged(there[0], len(self.study.trials()), len(verdicts) - len(there))

    def _claimed(self, ahead: Sequence[TrialKey]) -> Iterator[TrialKey]:
        """Those that this process should run, each claimed when its turn comes."""
        queue, asked = list(ahead), set[TrialKey]()
        self._pending, self._stale = Counter(key.activation for key in queue), False
        while queue:
            if self.terms.until is not None and time.monotonic() >= self.terms.until:
                self.out_of_time = True
                return
            key = queue.pop(0)
            asked.add(key)
            if in_shard(key, *self.terms.shard) and self.study.claim(key):
                yield key
            if self._stale:  # what is asked for now comes before the rest
                added = [key for key in self.ahead() if key not in asked]
                self._pending += Counter(key.activation for key in added if key not in queue)
                queue, self._stale = added, False
                done = self.study.trials()
                self.progress.planned(key.stage, len(done), self._left(done))

    def _wait(self, over: Callable[[], bool]) -> None:
        """Other processes run what is left."""
        while not over():
            if self.terms.until is not None and time.monotonic() >= self.terms.until:
                self.out_of_time = True
                return
            time.sleep(_POLL)

"""Where trials run: what every way has in common."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from types import TracebackType
from typing import Self

from relume.lab.trials.forked import BODY, Outcome, Place
from relume.lab.trials.spec import TrialSpec

Places = Callable[[TrialSpec], Place]
"""Says where an order runs and what file gets what it prints."""


TRIES = 3
"""Times that a trial is begun whose process was killed from outside, or whose server was."""

LOST = "its process was killed three times from outside: perhaps the machine was out of memory"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Executor(ABC):
    """Runs orders, several at a time; to be closed, or used as a context manager.

    Attributes:
        places: where each runs.
        threads: that each trial may use. ``body``: what a trial's process calls.
        preload: modules that the scripts import, as a survey found them; may be set between two calls of ``run``.
        until: the time at which everything is ended, as ``time.monotonic`` has it. ``out_of_time``: it was.
    """

    places: Places
    _: KW_ONLY
    threads: int = 1
    body: str = BODY
    preload: tuple[str, ...] = ()
    until: float | None = None
    out_of_time: bool = False

    @abstractmethod
    def run(self, orders: Iterable[TrialSpec]) -> Iterator[Outcome]:
        """Run them; each outcome is handed over as soon as it is there, and the next order taken when one has ended.

        Closing the iterator, as Ctrl-C does, ends what is running.
        """

    @abstractmethod
    def close(self) -> None:
        """End everything that was started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def left(self) -> float | None:
        """Seconds until everything is to be ended; None where there is no such time."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    def is_over(self) -> bool:
        """Whether the time is over, which is kept."""
        self.out_of_time = self.out_of_time or self.left() == 0.0
        return self.out_of_time

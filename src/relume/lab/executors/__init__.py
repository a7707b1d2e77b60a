"""Where trials run: what all executors have in common."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from types import TracebackType
from typing import Self

from relume.lab.trials.forked import BODY, Outcome, OutputPlace
from relume.lab.trials.spec import TrialSpec

Places = Callable[[TrialSpec], OutputPlace]
"""Says where a spec runs and which file gets its output."""


TRIES = 3
"""Times that a trial is started if its process, or its server, is killed from outside."""

LOST = "its process was killed three times from outside; the machine may be out of memory"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Executor(ABC):
    """Runs specs, several at a time. Close it, or use it as a context manager.

    Attributes:
        places: where each runs.
        threads: for each trial. ``body``: what a trial's process calls.
        preload: modules that the scripts import, found by a survey; may be set between two calls of ``run``.
        until: the ``time.monotonic`` at which everything is ended. ``out_of_time``: it has passed.
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
        """Run them; yields each outcome as soon as it is known, and takes the next spec when one has ended.

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
        """Seconds until everything is ended; None without a limit."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    def is_over(self) -> bool:
        """Whether the time is over; remembered."""
        self.out_of_time = self.out_of_time or self.left() == 0.0
        return self.out_of_time

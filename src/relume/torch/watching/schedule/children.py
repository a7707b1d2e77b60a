"""What a child of a watched process needs before it is watched itself: to know whether it trains, and with whom.

Most children do not train. So they have no probe, only an ear for the first sign of training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from relume.torch.watching.schedule import taps
from relume.torch.watching.schedule.clocks import living_optimizers


def when_training(begin: Callable[[], None]) -> None:
    """Call ``begin`` once, when an optimizer is constructed, a backward pass ends or a step begins."""
    taps.forget()
    first: Any = _FirstSign(begin)
    taps.subscribe(first)
    taps.attend(first, begins=True, backwards=True)


def group() -> tuple[int, int] | None:
    """(rank, number of ranks) in the script's process group; None where it has none. Asks no other process."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


class _FirstSign:
    """Waits for the first sign of training, and passes it on to later subscribers."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._stepped_by_one: bool | None = None
        self.countdowns: dict[int, Any] = {}

    def __getattr__(self, news: str) -> Callable[..., None]:
        """Ignore every other event until the watching begins."""
        return lambda *what: None

    def _break(self) -> None:
        taps.unsubscribe(self)
        self._begin()

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """Training is near."""
        self._break()
        taps.tell("optimizer_made", optimizer)

    def optimizer_steps(self, closure: bool) -> None:
        """A step begins, of an optimizer that was there before."""
        self._break()
        taps.tell("optimizer_steps", closure)

    def backward_ended(self, loss: float | None) -> None:
        """There is a gradient: steps are told by an optimizer that was there before, or there is none."""
        if self._stepped_by_one is None:
            self._stepped_by_one = bool(living_optimizers())
        if not self._stepped_by_one:
            self._break()
            taps.tell("backward_ended", loss)

    def fail(self, error: Exception) -> None:
        """This process continues unwatched."""
        taps.unsubscribe(self)

"""Run a callback in each process that the script starts, by ``fork`` or by ``multiprocessing``.

What multiprocessing starts by ``spawn`` or ``forkserver`` is a new interpreter, which gets its process object through a
pipe. A passenger in that object's private settings travels along, and so neither the environment nor a function of
multiprocessing's is changed. Nothing here may raise: a child that is not watched is no harm, one that fails is.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from relume.runner.imports import after_import

_KEY = "relume"
_PLACE = str(Path(__file__).parents[2])
_LOADERS = os.path.join("torch", "utils", "data", "dataloader.py")

_ARRIVAL = """
try:
    import sys
    path = sys.path[:]
    sys.path.append(place)
    try:
        from relume.observe.processes import arrive
    finally:
        sys.path[:] = path
    passenger = arrive(luggage)
except Exception:
    passenger = None
"""
"""Run in the child while it reads its process object. It is complete, so that the child works without relume."""


class Children:
    """Numbers the processes that this one starts, from 1; workers of data loaders are not counted.

    Args:
        forked: called in a forked child with its number; None for a worker of a data loader.
        luggage: returns the data for a spawned child with this number; it is pickled.
    """

    def __init__(self, forked: Callable[[int | None], None], luggage: Callable[[int], Any]) -> None:
        self._forked = forked
        self._luggage = luggage
        self._started = 0
        self._forking: dict[int, int | None] = {}

    def follow(self) -> None:
        """Begin; there is no end but the process's."""
        os.register_at_fork(before=self._fork, after_in_child=self._is_child)
        self.travel()

    def travel(self) -> None:
        """Send the passenger along with what multiprocessing starts, as soon as the script has loaded it."""
        after_import("multiprocessing.process", self._board)

    def _board(self) -> None:
        config = getattr(sys.modules["multiprocessing.process"].current_process(), "_config", None)
        if isinstance(config, dict):
            config[_KEY] = Passenger(self)

    def number(self) -> int | None:
        """The number of the child that is being started; None if it is a data loader's worker."""
        if in_loader(sys._getframe(1)):
            return None
        self._started += 1
        return self._started

    def pack(self) -> tuple[Any, ...]:
        """The pickled form of the passenger: a call that cannot fail and returns the child's own passenger."""
        number = self.number()
        if number is None:
            return (type(None), ())
        names = {"place": _PLACE, "luggage": self._luggage(number)}
        return (eval, (f"exec({_ARRIVAL!r}) or passenger", names))

    def _fork(self) -> None:
        self._forking[threading.get_ident()] = self.number()

    def _is_child(self) -> None:
        number = self._forking.pop(threading.get_ident(), None)
        self._forking.clear()
        self._started = 0
        try:
            self._forked(number)
        except Exception:  # noqa: BLE001 - it continues unwatched
            return


class Passenger:
    """What travels along with a process object of multiprocessing's."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return self._children.pack()
        except Exception:  # noqa: BLE001 - the child is not watched, and starts
            return (type(None), ())


def in_loader(frame: FrameType | None) -> bool:
    """Whether a data loader starts its workers."""
    while frame is not None:
        if frame.f_code.co_filename.endswith(_LOADERS):
            return True
        frame = frame.f_back
    return False

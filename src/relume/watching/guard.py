"""Own work inside the user's code: what it costs, and that an error of it never reaches the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relume.framework import now_ns


class Guard:
    """Does the own work of one probe. ``cost``: nanoseconds of it so far; ``fail`` is given its errors."""

    def __init__(self, fail: Callable[[BaseException], None], clock: Callable[[], int] = now_ns) -> None:
        self.cost = 0
        self.fail = fail
        self._clock = clock

    def __call__(self, work: Callable[..., Any], *what: Any) -> Any:
        """Return what ``work(*what)`` does; None if it fails."""
        began = self._clock()
        try:
            return work(*what)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training continues
            self.fail(error)
            return None
        finally:
            self.cost += self._clock() - began

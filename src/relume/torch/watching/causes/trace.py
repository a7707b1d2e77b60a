"""The band of a site's pre-activations over a run, at as few looks as a report draws, spread over all steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from relume.artifacts.history import Band, most_looks
from relume.torch.watching.causes.layer_calls import Array

_LARGEST = float(np.finfo(np.float16).max)


class Trace:
    """Keeps looks at least a stride apart; when there are too many, every second one goes and the stride doubles."""

    def __init__(self) -> None:
        self._stride, self._next = 1, 0
        self._looks: list[tuple[int, Array, Array, Array]] = []

    def is_due(self, step: int) -> bool:
        """Whether a look at this step is kept."""
        return step >= self._next

    def add(self, step: int, low: Array, high: Array, path: Array) -> None:
        """Keep a look; the arrays have the shape (units,)."""
        most = most_looks(len(low))
        if self._looks and len(self._looks[0][1]) != len(low):
            self._looks.clear()
        if most:
            self._looks.append((step, low, high, path))
        if len(self._looks) > most:
            self._looks, self._stride = self._looks[::2], 2 * self._stride
        self._next = step + self._stride

    def read(self) -> Band | None:
        """The trace so far; waits for a device. None if it is empty."""
        if not self._looks:
            return None
        steps, *columns = zip(*self._looks, strict=True)
        with np.errstate(all="ignore"):
            low, high, path = (_halved(column) for column in columns)
        return Band(tuple(steps), low, high, path)


def _halved(column: Any) -> Any:
    rows = [part if isinstance(part, np.ndarray) else part.float().cpu().numpy() for part in column]
    return np.clip(np.stack(rows), -_LARGEST, _LARGEST).astype(np.float16)

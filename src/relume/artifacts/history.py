"""How often each unit fired over the steps, in bounded size: stretches are joined when there are too many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_STRETCHES = 64
"""A curve with this many points shows when a unit fell."""

MOST_BYTES = 1 << 15
"""Bytes per site in the recording, one for each unit and stretch; wider sites have fewer stretches."""

FEWEST_STRETCHES = 8

MOST_UNITS = 1 << 16
"""Wider sites keep no history: eight stretches of 16.8 million latents would take 134 MB."""

SCALE = 255
"""A rate of 1; 0 is a rate of 0, and a rate above 0 is at least 1."""


class History(NamedTuple):
    """The firing rates of a site's units.

    Attributes:
        ends: the last step of each stretch, in order; the first stretch begins at step 0.
        rates: (stretches, units), in parts of ``SCALE``: the share of the samples on which a unit fired.
    """

    ends: tuple[int, ...]
    rates: NDArray[np.uint8]


class Band(NamedTuple):
    """What a site's units were given at some of the looks; arrays are float16 of shape (looks, units).

    Attributes:
        steps: of the looks, in order.
        low, high: the smallest and the largest pre-activation among the look's samples.
        path: how far weights and bias have moved so far: the sum of the ways between looks.
    """

    steps: tuple[int, ...]
    low: NDArray[np.float16]
    high: NDArray[np.float16]
    path: NDArray[np.float16]


def most_looks(units: int) -> int:
    """The most looks that a band of this width may have, within the bytes of a history; 0 for wide sites."""
    looks = min(MOST_STRETCHES, MOST_BYTES // (len(Band._fields[1:]) * 2 * units)) if units else 0
    return looks if looks >= FEWEST_STRETCHES else 0


class Firings:
    """The history of a site while the run goes."""

    def __init__(self, units: int) -> None:
        self._most = max(FEWEST_STRETCHES, min(MOST_STRETCHES, MOST_BYTES // units)) if 0 < units <= MOST_UNITS else 0
        self._ends: list[int] = []
        self._samples: list[int] = []
        self._fired: list[NDArray[np.float32]] = []

    def add(self, last_step: int, fired: NDArray[np.int64], samples: int) -> None:
        """Add a stretch: how often each unit fired up to a step, and on how many samples."""
        if not self._most or not samples:
            return
        self._ends.append(last_step)
        self._samples.append(samples)
        self._fired.append(fired.astype(np.float32))
        if len(self._ends) > self._most:
            self._halve()

    def _halve(self) -> None:
        """Join neighbors in pairs; if their number is odd, the latest stays single."""
        size = len(self._ends)
        self._ends = [self._ends[min(i + 1, size - 1)] for i in range(0, size, 2)]
        self._samples = [sum(self._samples[i : i + 2]) for i in range(0, size, 2)]
        self._fired = [np.sum(self._fired[i : i + 2], axis=0) for i in range(0, size, 2)]

    @property
    def history(self) -> History | None:
        """The history so far; None if nothing was seen."""
        if not self._ends:
            return None
        share = np.stack(self._fired) / np.array(self._samples, np.float32)[:, None]
        return History(tuple(self._ends), np.ceil(share * SCALE - 1e-3).clip(share > 0, SCALE).astype(np.uint8))

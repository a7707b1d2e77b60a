"""Dead or only rare: how often units fired lately, and whether their silence since then is a surprise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEMORY = 8.0
"""Firings that count towards the recent rate.

The fewer, the sooner a rate that fell is known; the more, the sooner a rare unit's silence is sure. Of 200 units each:
rates that fall from 50 % to 0.1 % in nine steps give 0 false deaths with 4 and 8, 3 with 16, 29 with 32; of units that
fire on 1 % and are killed, 9,600 silent examples show 199, 200, 200, 200, and 3,200 show 13, 169, 200, 200.
"""

SURE = 12.0
"""A silence is a death when chance would make it once in e¹² = 160,000 times.

A unit that fires on 1 % of examples falls silent dozens of times in a run. At e⁷, one in a thousand of these silences
was called a death.
"""


@dataclass
class Recent:
    """The recent firing rate of each unit, up to its last firing; arrays have the shape (units,).

    A unit is *dead* when it is silent in the latest window and its recent rate makes a silence this long a surprise.
    Until then it is *rare*. The recent rate covers its last :data:`MEMORY` firings: F firings on N examples. With
    a flat prior the rate has a Gamma(F + 1, N) distribution, so the unit stays silent on S more examples with
    probability (1 + S / N)^−(F + 1). A unit is dead when that is below e^−:data:`SURE`. With F = 8 this
    takes 2.8 N examples: 22 times as many as lie between two of its recent firings.

    Attributes:
        fired: F, at most :data:`MEMORY`. A sample is a part of an example: of k positions of an example any number may
            fire together, so k firings count as one, and a window with any firing as one at least.
        examples: N. ``silent``: examples since the last window part in which the unit fired.
    """

    fired: NDArray[np.float64]
    examples: NDArray[np.float64]
    silent: NDArray[np.float64]

    @classmethod
    def nothing(cls, units: int) -> Recent:
        """Nothing was seen yet."""
        return cls(np.zeros(units), np.zeros(units), np.zeros(units))

    def add(self, fired: NDArray[np.int64], examples: int, samples: int) -> None:
        """Add a stretch of steps: the number of ``samples``, of ``examples`` batch items, on which each unit fired."""
        fires = fired > 0
        firings = np.where(fires, np.maximum(fired * (examples / max(samples, 1)), 1.0), 0.0)
        self.examples = np.where(fires, self.examples + self.silent + examples, self.examples)
        self.silent = np.where(fires, 0.0, self.silent + examples)
        share = np.minimum(1.0, MEMORY / np.maximum(self.fired + firings, 1.0))  # of what is kept: older firings fade
        self.fired, self.examples = (self.fired + firings) * share, self.examples * share

    def surprised(self, examples: int = 0) -> NDArray[np.bool_]:
        """Which units have been silent for too long to be alive; ``examples``: seen since, in silence too."""
        seen = np.maximum(self.examples, 1.0)
        return np.asarray((self.fired + 1) * np.log1p((self.silent + examples) / seen) >= SURE)

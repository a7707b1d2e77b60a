"""Sites to judge, made of counts."""

from __future__ import annotations

import numpy as np

from relume.artifacts.recording import Clock, Count, Site, SiteRecord

CLOCK = Clock(0, "SGD", "optimizer", steps=100, looked=20)
N = 1000


def record(activation="relu", fired=(0, 5, 500, N), *, flat=None, magnitude=None, examples=N, slope=None, **parameters):
    """A site whose units fired so often on N samples."""
    fired = np.asarray(fired, np.int64)
    units = len(fired)
    site = Site(
        "net.1@train.py:8", "Net", "1", "nn.ReLU", "train.py", 8, activation, parameters, "0", 1, units, False, 0
    )
    flat = np.zeros(units, np.int64) if flat is None else np.asarray(flat, np.int64)
    magnitude = fired.astype(float) if magnitude is None else np.asarray(magnitude, float)
    count = Count(20, examples, N, fired, flat, magnitude)
    made = SiteRecord.new(site)
    made.total = made.window = count
    made.first_fired = np.where(fired > 0, 0, -1)
    made.last_fired = np.where(fired > 0, 99, -1)
    made.slope = slope
    return made

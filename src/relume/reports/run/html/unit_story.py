"""A unit's story as data for ``units.js``: how often it fired over the steps, when it died, and why."""

from __future__ import annotations

from typing import Any

import numpy as np

from relume.artifacts.findings import Judged, Timeline
from relume.artifacts.history import SCALE
from relume.reports.run.html.drawing import LETTERS
from relume.reports.run.html.story import shown

MOST_LETTERS = 60_000
"""Letters of a site's rates, one for each stretch and unit; wider sites keep every second stretch, or every fourth."""

MOST_DEATHS = 500
"""Units of a site whose death is described."""

MOST_NUMBERS = 20_000
"""Numbers of a band in the page: 100 kB."""

MOST_CHANGES = 200
"""Changes of the learning rate that are drawn."""


def story(judged: Judged, clock: Timeline | None) -> dict[str, Any] | None:
    """The story of a site's units; None if their history is not known.

    Returns:
        ``ends``, ``rates``: the last step of each stretch, and a letter for each stretch and unit; ``steps``: of the
        run; ``deaths``: unit → last step that fired, first silent step, cause and evidence; ``learning``: (step, rate);
        ``band``: pre-activations and ways of the parameters at some looks.
    """
    history = judged.history
    if history is None or len(history.ends) < 2:
        return None
    every = 1
    while history.rates.size // every > MOST_LETTERS:
        every *= 2
    ends = history.ends[every - 1 :: every]
    whole = history.rates[: len(ends) * every].reshape(len(ends), every, -1).max(1)
    letters = np.ceil(whole.astype(int) * (len(LETTERS) - 1) / SCALE).astype(int)
    return {
        "ends": list(ends),
        "rates": "".join(LETTERS[code] for code in letters.ravel().tolist()),
        "steps": clock.steps if clock is not None else ends[-1] + 1,
        "deaths": _deaths(judged),
        "learning": _learning(clock),
        "band": _band(judged),
    }


def _band(judged: Judged) -> dict[str, Any] | None:
    """Pre-activations and ways of the parameters at some looks: for each its step, and three numbers of each unit."""
    band = judged.band
    if band is None or band.low.size * 3 > MOST_NUMBERS:
        return None
    columns = {"low": band.low, "high": band.high, "path": band.path}
    told = {name: [[_short(x) for x in row] for row in column.T.tolist()] for name, column in columns.items()}
    return {"steps": list(band.steps)} | told


def _short(number: float) -> float | None:
    """Three digits of a number, None if it is not finite."""
    return float(f"{number:.3g}") if np.isfinite(number) else None


def _deaths(judged: Judged) -> dict[int, tuple[int, int, str, str]]:
    found = {}
    for unit, (after, at) in list(judged.deaths().items())[:MOST_DEATHS]:
        cause = judged.cause.get(unit)
        known = cause is not None and cause.kind != "unknown"
        found[unit] = (after, at, cause.kind if known else "", shown(cause.says, 300) if known else "")  # type: ignore[union-attr]
    return found


def _learning(clock: Timeline | None) -> list[tuple[int, float]]:
    """The learning rate of the first parameter group at each change."""
    if clock is None:
        return []
    changes = [(step, rates[0]) for step, rates in clock.rates if rates and np.isfinite(rates[0])]
    return changes if 1 < len(changes) <= MOST_CHANGES else []

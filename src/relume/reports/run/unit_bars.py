"""A site's units on a terminal: a bar of their states, and a sparkline of how many were dead over the run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from relume.artifacts.findings import Judged
from relume.reports.run import states
from relume.reports.run.states import STATES

DRAWN = {
    "broken": ("×", "bold red"),
    "dead": ("█", "red"),
    "stuck": ("▓", "yellow"),
    "rare": ("▒", "yellow"),
    "on": ("━", "cyan"),
    "healthy": ("░", "green"),
}
"""The character and the style of each state; either is enough to recognize it."""

HEIGHTS = "▁▂▃▄▅▆▇█"
POINTS = 8
"""Of a sparkline."""


def bar(counts: Sequence[int], cells: int) -> Text:
    """The states of a site's units as shares of this many cells."""
    text = Text(no_wrap=True)
    for state, number in zip(STATES, shared(counts, cells), strict=True):
        mark, style = DRAWN[state.key]
        text.append(mark * number, style=style)
    return text


def shared(counts: Sequence[int], cells: int) -> list[int]:
    """Distribute cells by counts: a count above 0 gets at least one, as long as there are enough cells.

    Example:
        >>> shared([0, 1, 0, 0, 0, 999], 10)
        [0, 1, 0, 0, 0, 9]
    """
    exact = [cells * count / max(sum(counts), 1) for count in counts]
    given = [max(1, int(share)) if count else 0 for share, count in zip(exact, counts, strict=True)]
    while any(given) and sum(given) != cells:
        step = 1 if sum(given) < cells else -1
        free = [i for i, number in enumerate(given) if number > (step < 0)] or range(len(given))
        given[max(free, key=lambda i: step * (exact[i] - given[i]))] += step
    return given


def legend(sites: Sequence[Judged]) -> Text:
    """The legend of the states that occur."""
    total = np.sum([states.counts(states.codes(site)) for site in sites], axis=0).tolist()
    text = Text()
    for state, _ in states.present(total):
        mark, style = DRAWN[state.key]
        text.append(f"{'  ' * bool(text)}{mark}", style=style).append(f" {state.label}", style="dim")
    return text


def sparkline(site: Judged, steps: int) -> str:
    """How many units were dead from the first step to the last; "" if it is the same number throughout."""
    dead = _dead_at(site, np.linspace(steps / POINTS, steps, POINTS))
    if len(set(dead)) == 1:
        return ""
    top = max(site.site.units, 1)
    return "".join(HEIGHTS[min(int(np.ceil(number / top * (len(HEIGHTS) - 1))), len(HEIGHTS) - 1)] for number in dead)


def _dead_at(site: Judged, steps: NDArray[np.float64]) -> list[int]:
    changes = [(step, 1 if what == "died" else -1) for _, step, what in site.events]
    at_last = len(site.dead)
    return [at_last - sum(change for step, change in changes if step > limit) for limit in steps.tolist()]

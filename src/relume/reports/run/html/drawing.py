"""Bars and grids of units as the numbers that an SVG takes: no markup here, the templates have that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from relume.reports.run.states import HEALTHY, STATES, ranges

MOST_CELLS = 4096
"""A grid of more units has several in a cell: more cells could not be distinguished."""

COLUMNS = ((128, 16), (512, 32), (2048, 64), (MOST_CELLS, 96))
"""(cells, cells per row): the first entry with enough cells counts."""

SIDE = 18
"""Size of a cell in points if there is room."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""Two of them are a rate, as units.js reads it: from 0 to ``MOST_RATE``, which is 1, or ``UNKNOWN``."""

MOST_RATE, UNKNOWN = 4094, 4095


@dataclass(frozen=True)
class Segment:
    """A stretch of a bar: state, where it begins and how long it is, in % of the bar."""

    state: str
    start: float
    length: float
    units: int


@dataclass(frozen=True)
class Grid:
    """A site's units in rows of cells, which are squares of side 1.

    ``paths``: for each state its key, a path along the middle of all its cells, and their units in words.
    ``rates``: how often each cell fires, the least of its units, as two of ``LETTERS``.
    """

    columns: int
    rows: int
    width: int
    together: int
    paths: tuple[tuple[str, str, str], ...]
    rates: str


def bar(counts: Sequence[int]) -> tuple[Segment, ...]:
    """The states of a site, or of several, as shares of a bar; what matters most comes first."""
    total, start, parts = sum(counts), 0, []
    for state, number in zip(STATES, counts, strict=True):
        if number:
            parts.append(Segment(state.key, round(100 * start / total, 3), round(100 * number / total, 3), number))
        start += number
    return tuple(parts)


def grid(states: NDArray[np.uint8], rates: Sequence[float | None]) -> Grid:
    """Draw each unit as a cell, or the worst of several, in the order of their numbers."""
    together = ceil(len(states) / MOST_CELLS) or 1
    padded = np.full(ceil(len(states) / together) * together, HEALTHY, np.uint8)
    padded[: len(states)] = states
    cells = padded.reshape(-1, together).min(axis=1)
    columns = min(next(columns for most, columns in COLUMNS if len(cells) <= most), max(len(cells), 1))
    rows = max(ceil(len(cells) / columns), 1)
    paths = tuple(
        (state.key, path, f"{state.label}: {ranges(np.flatnonzero(states == place).tolist())}")
        for place, state in enumerate(STATES)
        if (path := _path(cells == place, columns))
    )
    return Grid(columns, rows, columns * SIDE, together, paths, _letters(rates, together))


def _letters(rates: Sequence[float | None], together: int) -> str:
    """The least rate of each cell; one above 0 stays above 0."""
    known = np.full(ceil(len(rates) / together) * together, np.nan)
    known[: len(rates)] = [np.nan if rate is None else rate for rate in rates]
    least = np.fmin.reduce(known.reshape(-1, together), axis=1)
    codes = np.where(np.isnan(least), UNKNOWN, np.ceil(np.nan_to_num(least) * MOST_RATE)).astype(int)
    return "".join(LETTERS[code // 64] + LETTERS[code % 64] for code in codes.tolist())


def _path(mask: NDArray[np.bool_], columns: int) -> str:
    """One line for each run of neighbors within a row."""
    pieces = []
    for row in range(ceil(len(mask) / columns)):
        line = np.concatenate([[False], mask[row * columns : (row + 1) * columns], [False]])
        edges = np.flatnonzero(line[1:] != line[:-1])
        pieces += [f"M{start} {row}h{end - start}" for start, end in edges.reshape(-1, 2).tolist()]
    return "".join(pieces)

"""The table of all sites as the data that its script pages through: as many rows as there is room for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from relume.reports.run.html.contents import PAGE, Row, RunReport
from relume.reports.run.states import STATES

MOST_BYTES = 1_480_000
"""Bytes of a whole report: it can be mailed, and opens at once."""

REPEATED = (2, 3)
"""Columns whose text often repeats: the call, and the file."""


class Column(NamedTuple):
    """A column; ``place``: of its cell in ``Row.cells``."""

    place: int
    label: str


def columns(report: RunReport) -> list[Column]:
    """The columns in which there is something."""
    counted = [
        Column(5 + place, state.label)
        for place, state in enumerate(STATES[:-1])
        if state.key == "dead" or report.totals[place]
    ]
    first = [Column(0, "no."), Column(1, "site"), Column(3, "source"), Column(4, "units")]
    ran = any(row.examples for row in report.rows)  # of a checkpoint nothing ran
    return [*first, *counted, *([Column(10, "fires"), Column(11, "examples")] if ran else [])]


def data(rows: Sequence[Row], shown: Sequence[Column], room: int) -> dict[str, Any]:
    """The rows for the script, the worst first, in at most ``room`` bytes; a repeated text is its number."""
    texts: dict[str, int] = {}
    told: list[list[Any]] = []
    for row in rows:
        cells = row.cells()
        new = []
        for place in REPEATED:
            if cells[place] not in texts:
                texts[cells[place]] = len(texts)
                new.append(cells[place])
            cells[place] = texts[cells[place]]
        room -= _size(cells) + sum(_size(text) for text in new)
        if room < 0:
            break
        told.append(cells)
    places = [column.place for column in shown]
    return {"rows": told, "texts": list(texts), "columns": places, "page": PAGE, "sites": len(rows)}


def _size(data: Any) -> int:
    """Bytes in the page, and a comma; what JSON in a script element writes out is six letters at most."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode("utf-8", "replace")) + 5 * sum(map(text.count, "<>&\u2028\u2029")) + 1

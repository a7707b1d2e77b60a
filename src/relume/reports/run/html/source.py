"""The user's source, each line that applies an activation marked with the states of its units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relume.artifacts.findings import Judged
from relume.reports.run import states
from relume.reports.run.html import drawing
from relume.reports.run.states import STATES

MOST_LETTERS = 160
"""Letters of a line; a longer line is generated code, and its beginning is enough."""

MOST_BYTES = 400_000
"""Of all files in a page: together with the charts a page stays below 1.5 MB."""


@dataclass(frozen=True)
class Mark:
    """What a line's activations do: units by state, and the sites in the order of the network, from 1."""

    counts: tuple[int, ...]
    parts: tuple[drawing.Segment, ...]
    sites: tuple[int, ...]

    @property
    def worst(self) -> str:
        """The key of the gravest state that a unit has."""
        return next(state.key for state, number in zip(STATES, self.counts, strict=True) if number)

    @property
    def found(self) -> bool:
        """Whether there is something to look at: units that are lost, or nearly."""
        return self.worst not in ("on", "healthy")


@dataclass(frozen=True)
class Line:
    """One line of a file; ``mark`` is None if it applies no activation."""

    number: int
    text: str
    mark: Mark | None


@dataclass(frozen=True)
class SourceFile:
    """A whole file."""

    name: str
    lines: tuple[Line, ...]
    total: Mark


@dataclass(frozen=True)
class Sources:
    """Finds the files that sites name: they are relative to where the script was run.

    Args:
        folders: where to look, in this order. No folder: no source is shown.
    """

    folders: Sequence[Path] = ()

    def files(self, sites: Sequence[Judged]) -> list[SourceFile]:
        """The files of these sites that fit in a page, those with the most lost units first."""
        marks: dict[str, dict[int, list[int]]] = {}
        for number, judged in enumerate(sites, 1):
            marks.setdefault(judged.site.file, {}).setdefault(judged.site.line, []).append(number)
        counts = [states.counts(states.codes(judged)) for judged in sites]
        found, room = [], MOST_BYTES
        for file, lines in marks.items():
            text = self.read(file)
            size = sum(map(len, text))
            if text and size <= room:
                room -= size
                found.append(_marked(file, text, {line: _mark(numbers, counts) for line, numbers in lines.items()}))
        return sorted(found, key=lambda file: tuple(-number for number in file.total.counts))

    def read(self, file: str) -> list[str]:
        """The lines of a Python file in one of the folders; none if there is no such file, or it is too large."""
        for folder in self.folders:
            try:
                path = (folder / file).resolve()
                if not path.is_relative_to(folder.resolve()):
                    continue
                if path.suffix == ".py" and path.is_file() and path.stat().st_size <= MOST_BYTES:
                    return path.read_text(encoding="utf-8", errors="replace").splitlines()
            except (OSError, ValueError):  # a name that no file can have
                continue
        return []


def _mark(numbers: Sequence[int], counts: Sequence[tuple[int, ...]]) -> Mark:
    together = tuple(np.sum([counts[number - 1] for number in numbers], axis=0).tolist())
    return Mark(together, drawing.bar(together), tuple(numbers))


def _marked(file: str, text: Sequence[str], marks: dict[int, Mark]) -> SourceFile:
    lines = tuple(Line(number, _clipped(line), marks.get(number)) for number, line in enumerate(text, 1))
    together = tuple(np.sum([mark.counts for mark in marks.values()], axis=0).tolist())
    numbers = tuple(number for mark in marks.values() for number in mark.sites)
    return SourceFile(file, lines, Mark(together, drawing.bar(together), numbers))


def _clipped(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} …"

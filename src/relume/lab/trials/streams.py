"""A trial's output: stdout, which has its metrics, and stderr, separate while it runs and one log afterwards."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_JOINED_IN_MEMORY = 100_000_000
"""Bytes; in a longer log stderr comes last."""

_MOST_MARKS = 10_000

Marks = Sequence[Sequence[int]]
"""(bytes on stdout, bytes on stderr) before each write to stderr."""


class Stderr(io.FileIO):
    """Python's stderr, which records how much had been written to stdout before each part.

    Attributes:
        marks: see :data:`Marks`. Writes of child processes are not marked.
    """

    def __init__(self) -> None:
        super().__init__(2, "w", closefd=False)
        self.name = "<stderr>"
        self.marks: list[tuple[int, int]] = []
        self._process = os.getpid()

    def write(self, data: Any) -> int:
        """As ever."""
        if os.getpid() == self._process and len(self.marks) < _MOST_MARKS:
            with contextlib.suppress(OSError):
                said = os.fstat(1).st_size
                if not self.marks or self.marks[-1][0] != said:
                    self.marks.append((said, os.fstat(2).st_size))
        return super().write(data)


def redirect(stdout: str, stderr: str) -> Stderr:
    """Give this process an empty stdin, and redirect its output to these files; returns its new stderr."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    files = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666) for path in (stdout, stderr)]
    opened = [nothing, *files]
    for source, target in zip(opened, range(3), strict=True):
        os.dup2(source, target)
    for each in {*opened} - {0, 1, 2}:
        os.close(each)
    made, before = Stderr(), sys.stderr
    if isinstance(before, io.TextIOWrapper):  # otherwise an import has replaced it
        buffer = made if isinstance(before.buffer, io.RawIOBase) else io.BufferedWriter(made)
        buffering = {"line_buffering": before.line_buffering, "write_through": before.write_through}
        sys.stderr = io.TextIOWrapper(buffer, before.encoding, before.errors, **buffering)  # type: ignore[arg-type]
        vars(sys)["__stderr__"] = sys.stderr
    return made


def join(log: Path, stderr: Path, marks: Marks) -> None:
    """Merge stderr into the log, each part in its place; without marks it comes last."""
    try:
        errors = stderr.read_bytes()
        said = log.read_bytes() if log.stat().st_size < _JOINED_IN_MEMORY else b""
    except OSError:
        return
    if not errors:
        return
    if not said:
        with contextlib.suppress(OSError), log.open("ab") as file:
            file.write(errors)
        return
    parts, at, told = [], 0, 0
    ends = [*(begin for _, begin in marks[1:]), len(errors)]
    for (before, _), end in zip(marks, ends, strict=False):
        parts += [said[at:before], errors[told:end]]
        at, told = before, end
    with contextlib.suppress(OSError):
        log.write_bytes(b"".join([*parts, said[at:], errors[told:]]))

"""One quiet line at the foot of the terminal while a script runs: its step, its dead units, its worst site.

The script writes to the same terminal at any time, even without a newline, from C or from child processes. So
the last row is taken out of the scrolling region, as package managers do for their progress; the script keeps the rows
above, and each drawing puts the cursor back. Each drawing is one write to stderr; stdout is never written to.

A killed process cannot give the row back; resizing the window or ``reset`` does.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from relume.artifacts.recording import Site, SiteRecord

_LEAST_SECONDS = 0.5
_LEAST_ROWS, _LEAST_COLUMNS = 10, 40
_FULL_SCREEN = ("curses", "_curses", "textual")  # these take over the whole terminal

_SAVE, _RESTORE = "\x1b7", "\x1b8"
_CLEAR_ROW = "\x1b[2K"
_DIM, _RED = "\x1b[0;2m", "\x1b[0;1;31m"


def wanted(stream: TextIO | None, environment: Mapping[str, str]) -> bool:
    """Whether the stream is an interactive terminal that can show the line."""
    if os.name != "posix" or stream is None or environment.get("CI") or environment.get("NO_COLOR"):
        return False
    if environment.get("TERM", "dumb") in ("", "dumb", "unknown"):
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


class Status:
    """The line. Called at the observer's flushes; :meth:`close` gives the row back."""

    def __init__(self, terminal: int, *, literal: bool = False) -> None:
        """``terminal``: the file descriptor. ``literal``: the user set the windows' length."""
        from relume.doctor.judge import judged_dead

        self._judged_dead = judged_dead
        self._terminal = terminal
        self._literal = literal
        self._process = os.getpid()
        self._size: os.terminal_size | None = None  # of the terminal whose last row is ours
        self._drawn = 0.0
        self._closed = False

    def __call__(self, steps: int, records: Sequence[SiteRecord]) -> None:
        """Draw, if half a second has passed and relume is in the foreground."""
        now = time.monotonic()
        if self._closed or os.getpid() != self._process or now - self._drawn < _LEAST_SECONDS:
            return
        self._drawn = now
        try:
            if any(name in sys.modules for name in _FULL_SCREEN):
                self.close()
            elif self._in_front():
                self._draw(self.text(steps, records), _RED if _broken(records) else _DIM)
        except Exception:  # noqa: BLE001 - a missing line must not end the watching
            self.close()

    def close(self) -> None:
        """Erase the line and give its row back; nothing is drawn any more."""
        self._closed = True
        if self._size is None or os.getpid() != self._process:
            return
        row, self._size = self._size.lines, None
        with contextlib.suppress(OSError):
            self._write(f"{_SAVE}\x1b[{row};1H{_CLEAR_ROW}\x1b[r{_RESTORE}")

    def text(self, steps: int, records: Sequence[SiteRecord]) -> str:
        """``relume: step 1,200, 40 of 192 units dead, most in relu2 (train.py:32): 40 of 64``; NaN comes first.

        ``relume: step 1,200, 128 of 128 units NaN or infinite since step 946, first in relu1 (train.py:30)``
        """
        if broken := _broken(records):
            return f"relume: step {steps:,}, {broken}"
        found = []
        for record in records:
            mask = self._judged_dead(record, literal=self._literal)
            if mask is not None:
                found.append((int(mask.sum()), record.site))
        if not found:
            return f"relume: step {steps:,}, too little seen so far"
        dead, units = sum(number for number, _ in found), sum(site.units for _, site in found)
        line = f"relume: step {steps:,}, {dead:,} of {units:,} units dead"
        most, site = max(found, key=lambda each: each[0])
        if most:
            line += f", most in {_place(site)}: {most:,} of {site.units:,}"
        return line

    def _in_front(self) -> bool:
        """Whether the process is in the foreground of the terminal, and nobody has stopped its output."""
        with contextlib.suppress(OSError):  # it is not the controlling terminal
            if os.tcgetpgrp(self._terminal) != os.getpgrp():
                return False
        return bool(select.select([], [self._terminal], [], 0)[1])

    def _draw(self, text: str, style: str) -> None:
        size = os.get_terminal_size(self._terminal)
        if size.lines < _LEAST_ROWS or size.columns < _LEAST_COLUMNS:
            self._give_back()
            return
        begin = "" if size == self._size else self._begin(size)
        self._size = size
        # Other characters may be wider than a column, or have no width.
        plain = "".join(c if " " <= c <= "~" else "?" for c in text)
        shown = plain if len(plain) < size.columns else f"{plain[: size.columns - 4]}..."
        self._write(f"{begin}{_SAVE}\x1b[{size.lines};1H{style}{_CLEAR_ROW}{shown}\x1b[0m{_RESTORE}")

    def _begin(self, size: os.terminal_size) -> str:
        """Take the last row; if the script was writing there, its lines move up by one."""
        room = "\x1bD\x1b[A"  # down, which scrolls on the last row, and up again in the same column
        free = f"{_SAVE}\x1b[r{_RESTORE}" if self._size is not None else ""
        return f"{free}{room}{_SAVE}\x1b[1;{size.lines - 1}r{_RESTORE}"

    def _give_back(self) -> None:
        """The terminal has become too small."""
        self.close()
        self._closed = False

    def _write(self, text: str) -> None:
        os.write(self._terminal, text.encode("ascii"))


def _broken(records: Sequence[SiteRecord]) -> str:
    """How many units are NaN or infinite, since when and where first; "" if none is."""
    found = [(int((~record.finite).sum()), _since(record), record.site) for record in records]
    number = sum(units for units, _, _ in found)
    if not number:
        return ""
    total = sum(site.units for _, _, site in found)
    _, step, site = min((each for each in found if each[0]), key=lambda each: each[1])
    return f"{number:,} of {total:,} units NaN or infinite since step {step:,}, first in {_place(site)}"


def _since(record: SiteRecord) -> int:
    """The first step at which a unit of a site was not finite; 0 if none was."""
    steps = [] if record.non_finite_since is None else [s for s in record.non_finite_since.tolist() if s >= 0]
    return min(steps, default=0)


def _place(site: Site) -> str:
    return f"{site.module or site.model} ({os.path.basename(site.file)}:{site.line})"

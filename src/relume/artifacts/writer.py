"""Writing a recording, through the run."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from relume.artifacts.curve import LossCurve, LossPoint
from relume.artifacts.reader import read_database
from relume.artifacts.recording import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    SQLITE_MAGIC,
    Clock,
    Death,
    Rates,
    Recording,
    SiteRecord,
    Window,
    header,
)
from relume.errors import RecordingError

_busy = threading.RLock()
"""Held while SQLite works: a process must not be forked then, or its child waits for locks forever."""

_LONGEST_WAIT = 1.0  # seconds for which a fork may be held up


def _hold() -> None:
    _busy.acquire(timeout=_LONGEST_WAIT)


def _let_go() -> None:
    with contextlib.suppress(RuntimeError):  # it was not to be had in time
        _busy.release()


def _begin_anew() -> None:
    global _busy
    _busy = threading.RLock()


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_begin_anew)


class RecordingWriter:
    """Writes a recording as the run goes; nothing is lost that was committed.

    Args:
        path: the file; with None the recording is in memory, and :meth:`save` puts it into a file.
        later: gives the file into which a recording in memory moves at :meth:`move`.
    """

    def __init__(self, path: Path | None, later: Callable[[], Path] | None = None) -> None:
        self.path: Path | None = None
        self._later = later
        self._open(path)

    def _open(self, path: Path | None) -> None:
        if path is not None:
            _make_way(path)
        self.path = path
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA synchronous = OFF")  # a crash of the process loses nothing; one of the machine may
            # What the file is goes into the file itself, by one write; the rest by one transaction of its log. So a
            # kill in between leaves an empty recording, and never a journal that only a writer could roll back.
            self._db.execute("PRAGMA journal_mode = MEMORY")
            self._db.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(f"BEGIN; {SCHEMA} COMMIT")
        except sqlite3.Error as error:
            raise _not_writable(path, error) from error
        if path is None:  # nobody has to close it; left open, Python 3.13 warns in the user's stderr
            self._closing = weakref.finalize(self, self._db.close)

    @property
    def waits(self) -> bool:
        """Whether its file is still to come."""
        return self._later is not None

    def move(self) -> None:
        """Continue in the file that was meant for later; if that fails, in memory.

        Raises: RecordingError: the file cannot be written.
        """
        if self._later is None:
            return
        memory, later, self._later = self._db, self._later, None
        with _busy:
            try:
                self._open(later())
                memory.backup(self._db)
            except BaseException:
                self._db = memory
                raise
            memory.close()

    def abandon(self) -> None:
        """In a forked child: never touch the parent's connection again. Closing it would use it."""
        if self.path is None:
            self._closing.detach()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is committed, or nothing is.

        Raises: RecordingError: it cannot be written.
        """
        with self._writing():
            self._db.execute("BEGIN")
            yield
            self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with _busy:
            try:
                yield
            except BaseException as error:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise _not_writable(self.path, error) from error
                raise

    def settle(self) -> None:
        """Bring what was committed from the log into the file itself, which may be copied without its log."""
        with self._writing():
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def meta(self, **values: Any) -> None:
        """Set facts of the run."""
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def clock(self, clock: Clock) -> None:
        """Set a clock's row."""
        self._db.execute(
            "INSERT OR REPLACE INTO clock VALUES (?, ?, ?, ?, ?)",
            (clock.id, clock.name, clock.kind, clock.steps, clock.looked),
        )

    def site(self, number: int, record: SiteRecord) -> None:
        """Set all of a site but its events."""
        self._db.execute(
            "INSERT OR REPLACE INTO site VALUES (?, ?)", (number, json.dumps(asdict(record.site), allow_nan=False))
        )
        spans = {"total": record.total, "window": record.window, "open": record.open}
        self._db.executemany(
            "INSERT OR REPLACE INTO count VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    number,
                    span,
                    c.looks,
                    c.examples,
                    c.samples,
                    c.fired.tobytes(),
                    c.flat.tobytes(),
                    c.magnitude.tobytes(),
                )
                for span, c in spans.items()
                if c is not None
            ),
        )
        per_unit = {
            "first_fired": record.first_fired,
            "last_fired": record.last_fired,
            "silent_since": record.silent_since,
        }
        rows = [(number, name, numbers.tobytes()) for name, numbers in per_unit.items()]
        if record.non_finite_since is not None:
            rows.append((number, "non_finite_since", record.non_finite_since.tobytes()))
        floats = {} if record.slope is None else {"slope": record.slope}
        if record.recent is not None:
            floats |= {f"recent_{name}": numbers for name, numbers in vars(record.recent).items()}
        rows += [(number, name, np.ascontiguousarray(x, np.float64).tobytes()) for name, x in floats.items()]
        self._db.executemany("INSERT OR REPLACE INTO unit VALUES (?, ?, ?)", rows)

        if record.history is not None:
            ends, rates = record.history
            row = (number, json.dumps(ends), rates.tobytes())
            self._db.execute("INSERT OR REPLACE INTO history VALUES (?, ?, ?)", row)

        if record.band is not None:
            row = (number, json.dumps(record.band.steps), np.stack(record.band[1:]).astype(np.float16).tobytes())
            self._db.execute("INSERT OR REPLACE INTO band VALUES (?, ?, ?)", row)

        statistics = ((number, name, value) for name, value in record.statistics.items())
        self._db.executemany("INSERT OR REPLACE INTO statistic VALUES (?, ?, ?)", statistics)

    def events(self, site: int, events: Iterable[tuple[int, int, str]]) -> None:
        """Append (unit, step, "died" | "revived")."""
        self._db.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", ((site, *event) for event in events))

    def deaths(self, site: int, deaths: Iterable[Death]) -> None:
        """Set how units fell silent; nan and infinite numbers become null."""
        rows = ((site, death.unit, json.dumps({k: _finite(v) for k, v in death._asdict().items()})) for death in deaths)
        self._db.executemany("INSERT OR REPLACE INTO death VALUES (?, ?, ?)", rows)

    def window(self, window: Window, silent: Iterable[tuple[int, int, int]]) -> None:
        """Append a closed window, and for each of its sites (site, silent units, examples)."""
        self._db.execute(
            "INSERT INTO window VALUES (?, ?, ?, ?)",
            (window.clock, window.first_step, window.last_step, window.looked),
        )
        self._db.executemany(
            "INSERT INTO timeline VALUES (?, ?, ?, ?)", ((s, window.first_step, n, e) for s, n, e in silent)
        )

    def rates(self, changes: Iterable[Rates]) -> None:
        """Append learning rates, each from its step on."""
        self._db.executemany(
            "INSERT INTO rate VALUES (?, ?, ?)",
            ((c.clock, c.step, json.dumps([_finite(rate) for rate in c.rates])) for c in changes),
        )

    def losses(self, curve: LossCurve) -> None:
        """Write the new part of a loss curve."""
        points, start = curve.points, curve.changed_from
        if start < len(points):
            self._db.execute(
                "DELETE FROM loss WHERE clock = ? AND first_step >= ?", (curve.clock, points[start].first_step)
            )
            self.loss_points(points[start:])
            curve.changed_from = len(points)

    def loss_points(self, points: Iterable[LossPoint]) -> None:
        """Append points of loss curves."""
        self._db.executemany(
            "INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (tuple(map(_finite, point)) for point in points)
        )

    def not_observed(self, what: str, place: str, why: str) -> None:
        """Append what could not be watched."""
        with self._writing():
            self._db.execute("INSERT INTO not_observed VALUES (?, ?, ?)", (what, place, why))

    def read(self) -> Recording:
        """What has been written so far."""
        return read_database(self._db)

    def save(self, path: Path) -> None:
        """Copy what has been written so far into a file."""
        _make_way(path)
        try:
            with contextlib.closing(sqlite3.connect(path)) as target:
                self._db.backup(target)
        except sqlite3.Error as error:
            raise _not_writable(path, error) from error

    def close(self) -> None:
        """Close the file; a single one is left."""
        with _busy:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.close()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _make_way(path: Path) -> None:
    """Remove an older recording of this name; anything else that has the name stays, and is an error."""
    try:
        if path.exists():
            _demand_ours(path)
        remove(path)
    except OSError as error:
        raise _not_writable(path, error.strerror) from error


def remove(path: Path) -> None:
    """Remove a recording, with all that SQLite keeps next to it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _demand_ours(path: Path) -> None:
    start = header(path) if path.is_file() else b"no file"
    if start and not (start.startswith(SQLITE_MAGIC) and start[68:72] == APPLICATION_ID.to_bytes(4, "big")):
        raise RecordingError(
            f"{path} exists and is not a recording made by relume, so it is not overwritten. Give another --out FILE.",
            slug="recording-in-the-way",
        )
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path, timeout=1)) as db:
        try:
            db.execute("PRAGMA journal_mode = DELETE")  # refused while anyone else has it open
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise RecordingError(
                    f"{path} is being written by another run. Wait until that run ends, or give another --out FILE.",
                    slug="recording-in-use",
                ) from error


def _not_writable(path: Path | None, why: object) -> RecordingError:
    return RecordingError(
        f"Cannot write the recording {path}: {why}. Give a file in a writable folder that has room (--out FILE).",
        slug="recording-not-writable",
    )

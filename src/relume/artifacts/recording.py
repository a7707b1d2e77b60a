"""The recording: what the watching of one run kept.

One SQLite file, written through the run and readable at any moment, after a ``kill -9`` too. It grows with what
changes (sites met, windows closed, units that died or revived), not with steps × units.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from relume.errors import RecordingError

SCHEMA_VERSION = 1
"""1: the first."""

_APPLICATION_ID = 0x524C4D45  # "RLME": how a recording is told from any other SQLite file
_SQLITE = b"SQLite format 3\0"
_HEADER = 100

SCHEMA = """
CREATE TABLE meta (             -- the run: script, argv, exit, versions, budget, cost; values are JSON
    key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE clock (            -- a source of steps
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, steps INTEGER NOT NULL, looked INTEGER NOT NULL);
CREATE TABLE site (             -- a place that applies an activation, in the order of the first call
    id INTEGER PRIMARY KEY, description TEXT NOT NULL);
CREATE TABLE count (            -- what was counted at a site in a span: 'total', 'window' (the latest closed) or 'open'
    site INTEGER NOT NULL, span TEXT NOT NULL, looks INTEGER NOT NULL, examples INTEGER NOT NULL,
    samples INTEGER NOT NULL, fired BLOB NOT NULL, flat BLOB NOT NULL, magnitude BLOB NOT NULL,
    PRIMARY KEY (site, span));
CREATE TABLE unit (             -- a number for each unit of a site: first_fired, last_fired, silent_since, slope
    site INTEGER NOT NULL, name TEXT NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (site, name));
CREATE TABLE event (            -- a unit died or revived, at the first step of the window that shows it
    site INTEGER NOT NULL, unit INTEGER NOT NULL, step INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE TABLE window (           -- a closed window of a clock
    clock INTEGER NOT NULL, first_step INTEGER NOT NULL, last_step INTEGER NOT NULL, looked INTEGER NOT NULL,
    rates TEXT NOT NULL, loss REAL);
CREATE TABLE timeline (         -- how many units of a site were silent in a closed window
    site INTEGER NOT NULL, first_step INTEGER NOT NULL, silent INTEGER NOT NULL, examples INTEGER NOT NULL);
CREATE TABLE not_observed (
    what TEXT NOT NULL, place TEXT NOT NULL, why TEXT NOT NULL);
"""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
ClockKind = Literal["optimizer", "backward", "forward"]


@dataclass(frozen=True)
class Site:
    """One place where an activation is applied.

    Attributes:
        key: the site's stable name. ``model``: its tree's root. ``module``: path in the tree.
        call: how it is written (``nn.ReLU``, ``F.relu``). ``file``, ``line``: in the user's code.
        activation: stem in ``activations/``; ``parameters``: as given in the call.
        layer: path of the layer that produces its input, "" where unknown.
        unit_axis: axis of the units; ``axis_assumed``: it was not followed from a layer.
        clock: the id of the clock that it counts by.
    """

    key: str
    model: str
    module: str
    call: str
    file: str
    line: int
    activation: str
    parameters: Mapping[str, float]
    layer: str
    unit_axis: int
    units: int
    axis_assumed: bool
    clock: int


@dataclass
class Count:
    """What was counted at a site in a span of steps; arrays have the shape (units,)."""

    looks: int
    examples: int
    samples: int
    fired: Integers
    flat: Integers
    magnitude: Floats

    @classmethod
    def zero(cls, units: int) -> Count:
        """Nothing counted yet."""
        return cls(0, 0, 0, np.zeros(units, np.int64), np.zeros(units, np.int64), np.zeros(units))

    def __add__(self, other: Count) -> Count:
        return Count(
            self.looks + other.looks,
            self.examples + other.examples,
            self.samples + other.samples,
            self.fired + other.fired,
            self.flat + other.flat,
            self.magnitude + other.magnitude,
        )


@dataclass
class SiteRecord:
    """All that a recording keeps of one site. Steps are −1 for never; ``window`` is None before one has closed."""

    site: Site
    total: Count
    window: Count | None
    open: Count
    first_fired: Integers
    last_fired: Integers
    silent_since: Integers
    slope: Floats | None = None
    events: list[tuple[int, int, str]] = field(default_factory=list)

    @classmethod
    def new(cls, site: Site) -> SiteRecord:
        """A site that was just met."""
        zero, never = Count.zero(site.units), np.full(site.units, -1, np.int64)
        return cls(site, zero, None, zero, never, never.copy(), never.copy())


@dataclass(frozen=True)
class Clock:
    """A source of steps: ``kind`` is "optimizer", "backward" or "forward"."""

    id: int
    name: str
    kind: str
    steps: int
    looked: int


@dataclass(frozen=True)
class Window:
    """A closed window of a clock: steps ``first_step`` … ``last_step``, its last learning rates, its mean loss."""

    clock: int
    first_step: int
    last_step: int
    looked: int
    rates: tuple[float, ...]
    loss: float | None


@dataclass
class Recording:
    """A recording as read."""

    meta: dict[str, Any]
    clocks: list[Clock]
    sites: list[SiteRecord]
    windows: list[Window]
    timeline: list[tuple[int, int, int, int]]
    not_observed: list[tuple[str, str, str]]


class RecordingWriter:
    """Writes a recording as the run goes; nothing is lost that was committed."""

    def __init__(self, path: Path | None) -> None:
        """Begin a recording in a file, or with None in memory (:meth:`save` puts it into one)."""
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
                f"BEGIN; PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
            )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(f"BEGIN; {SCHEMA} COMMIT")
        except sqlite3.Error as error:
            raise _not_writable(path, error) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def meta(self, **values: Any) -> None:
        """Set facts of the run."""
        rows = ((key, json.dumps(value)) for key, value in values.items())
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
        if record.slope is not None:
            rows.append((number, "slope", np.ascontiguousarray(record.slope, np.float64).tobytes()))
        self._db.executemany("INSERT OR REPLACE INTO unit VALUES (?, ?, ?)", rows)

    def events(self, site: int, events: Iterable[tuple[int, int, str]]) -> None:
        """Append (unit, step, "died" | "revived")."""
        self._db.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", ((site, *event) for event in events))

    def window(self, window: Window, silent: Iterable[tuple[int, int, int]]) -> None:
        """Append a closed window, and for each of its sites (site, silent units, examples)."""
        self._db.execute(
            "INSERT INTO window VALUES (?, ?, ?, ?, ?, ?)",
            (window.clock, window.first_step, window.last_step, window.looked, json.dumps(window.rates), window.loss),
        )
        self._db.executemany(
            "INSERT INTO timeline VALUES (?, ?, ?, ?)", ((s, window.first_step, n, e) for s, n, e in silent)
        )

    def not_observed(self, what: str, place: str, why: str) -> None:
        """Append what could not be watched."""
        self._db.execute("INSERT INTO not_observed VALUES (?, ?, ?)", (what, place, why))

    def read(self) -> Recording:
        """What has been written so far."""
        return _read(self._db)

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
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()


def read(path: Path) -> Recording:
    """Read a recording.

    Raises: RecordingError: absent, empty, damaged, of a newer relume, or no recording at all.
    """
    if not os.path.isfile(path):
        raise RecordingError(
            f"There is no recording {path}. Make one with `relume run SCRIPT`, or give the file that it named.",
            slug="recording-absent",
        )
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            _check(db, path)
            return _read(db)
    except (sqlite3.DatabaseError, OSError, ValueError, LookupError, TypeError) as error:
        raise RecordingError(
            f"{path} is damaged or no recording of relume's ({error}). Copy it again from where it was made, or "
            "record again with `relume run SCRIPT`.",
            slug="recording-damaged",
        ) from error


def _check(db: sqlite3.Connection, path: Path) -> None:
    header = _header(path)
    if not header:
        raise _never_began(path)
    if not header.startswith(_SQLITE) or len(header) < _HEADER:
        raise ValueError("not an SQLite file")
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise RecordingError(
            f"{path} is an SQLite file, but not a recording of relume's. Give the file that `relume run` named.",
            slug="recording-foreign",
        )
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise RecordingError(
            f"{path} has schema {version}; this relume reads up to {SCHEMA_VERSION}. Upgrade: pip install -U relume.",
            slug="recording-newer",
        )
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        raise _never_began(path)
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _never_began(path: Path) -> RecordingError:
    return RecordingError(f"{path} is empty: its run never began. Record again.", slug="recording-empty")


def _read(db: sqlite3.Connection) -> Recording:
    sites = {number: _site(db, number, text) for number, text in db.execute("SELECT * FROM site ORDER BY id")}
    for number, unit, step, kind in db.execute("SELECT * FROM event ORDER BY rowid"):
        sites[number].events.append((unit, step, kind))
    recording = Recording(
        meta={key: json.loads(value) for key, value in db.execute("SELECT * FROM meta")},
        clocks=[Clock(*row) for row in db.execute("SELECT * FROM clock ORDER BY id")],
        sites=list(sites.values()),
        windows=[
            Window(clock, first, last, looked, tuple(json.loads(rates)), loss)
            for clock, first, last, looked, rates, loss in db.execute("SELECT * FROM window ORDER BY rowid")
        ],
        timeline=db.execute("SELECT * FROM timeline ORDER BY rowid").fetchall(),
        not_observed=db.execute("SELECT * FROM not_observed ORDER BY rowid").fetchall(),
    )
    _verify(recording)
    return recording


def _verify(recording: Recording) -> None:
    """Raises: ValueError: what was read does not fit together, so that the stages behind need not ask."""
    clocks = {clock.id for clock in recording.clocks}
    for clock in recording.clocks:
        _demand(clock.kind in get_args(ClockKind), f"clock {clock.id} is of kind {clock.kind!r}")
        _demand(all(isinstance(n, int) for n in (clock.steps, clock.looked)), f"clock {clock.id} counts no steps")
    for record in recording.sites:
        site = record.site
        spans = [record.total, record.open, *([record.window] if record.window is not None else [])]
        arrays: list[NDArray[Any]] = [record.first_fired, record.last_fired, record.silent_since]
        arrays += [record.slope] if record.slope is not None else []
        for span in spans:
            arrays += [span.fired, span.flat, span.magnitude]
        numbers = [site.units, site.line, site.unit_axis, *(n for s in spans for n in (s.looks, s.examples, s.samples))]
        _demand(site.clock in clocks, f"site {site.key} counts by an absent clock")
        _demand(all(isinstance(number, int) for number in numbers), f"a number of site {site.key} is none")
        _demand(isinstance(site.parameters, dict), f"the parameters of site {site.key} are none")
        _demand(all(len(array) == site.units for array in arrays), f"the units of site {site.key} differ in number")
        for unit, step, kind in record.events:
            fits = unit in range(site.units) and isinstance(step, int) and kind in ("died", "revived")
            _demand(fits, f"site {site.key} has an event of unit {unit}: {kind} at {step}")


def _demand(fits: bool, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)


def _site(db: sqlite3.Connection, number: int, text: str) -> SiteRecord:
    record = SiteRecord.new(Site(**json.loads(text)))
    for span, looks, examples, samples, fired, flat, magnitude in db.execute(
        "SELECT span, looks, examples, samples, fired, flat, magnitude FROM count WHERE site = ?", (number,)
    ):
        count = Count(
            looks,
            examples,
            samples,
            np.frombuffer(fired, np.int64),
            np.frombuffer(flat, np.int64),
            np.frombuffer(magnitude, np.float64),
        )
        _demand(span in ("total", "window", "open"), f"there is a count over {span!r}")
        setattr(record, span, count)
    for name, numbers in db.execute("SELECT name, numbers FROM unit WHERE site = ?", (number,)):
        _demand(name in ("first_fired", "last_fired", "silent_since", "slope"), f"units have numbers {name!r}")
        setattr(record, name, np.frombuffer(numbers, np.float64 if name == "slope" else np.int64))
    return record


def _make_way(path: Path) -> None:
    """Remove an older recording of this name; anything else that has the name stays, and is an error."""
    try:
        if path.exists():
            _demand_ours(path)
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise _not_writable(path, error.strerror) from error


def _demand_ours(path: Path) -> None:
    header = _header(path) if path.is_file() else b"no file"
    if header and not (header.startswith(_SQLITE) and header[68:72] == _APPLICATION_ID.to_bytes(4, "big")):
        raise RecordingError(
            f"{path} exists and is no recording of relume's; it is not overwritten. Give another --out FILE.",
            slug="recording-in-the-way",
        )
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path, timeout=1)) as db:
        try:
            db.execute("PRAGMA journal_mode = DELETE")  # refused while anyone else has it open
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise RecordingError(
                    f"{path} is being written by another run. Wait for its end, or give another --out FILE.",
                    slug="recording-in-use",
                ) from error


def _not_writable(path: Path | None, why: object) -> RecordingError:
    return RecordingError(
        f"Cannot write the recording {path}: {why}. Give a file in a folder that exists and can be written "
        "(--out FILE).",
        slug="recording-not-writable",
    )


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER)

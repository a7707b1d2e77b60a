"""Reading a recording: any file gives either its content or an error that names it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from relume.artifacts.curve import LossPoint
from relume.artifacts.history import Band, History
from relume.artifacts.recent import Recent
from relume.artifacts.recording import (
    APPLICATION_ID,
    HEADER_SIZE,
    SCHEMA_VERSION,
    SQLITE_MAGIC,
    Clock,
    ClockKind,
    Count,
    Death,
    Rates,
    Recording,
    Site,
    SiteRecord,
    Window,
    header,
)
from relume.artifacts.typed import harmless, strict_json, typed
from relume.errors import RecordingError


def read(path: Path) -> Recording:
    """Read a recording.

    Raises: RecordingError: absent, empty, damaged, of a newer relume, or no recording at all.
    """
    if not os.path.isfile(path):
        raise RecordingError(
            f"There is no recording {path}. Make one with `relume run SCRIPT`, or give the file that it wrote.",
            slug="recording-absent",
        )
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            _check(db, path)
            return read_database(db)
    except (sqlite3.DatabaseError, OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise RecordingError(
            f"{path} is damaged, or not a recording made by relume ({error}). Copy it again from its original place, "
            "or record again with `relume run SCRIPT`.",
            slug="recording-damaged",
        ) from error


def _check(db: sqlite3.Connection, path: Path) -> None:
    start = header(path)
    if not start:
        raise _never_began(path)
    if not start.startswith(SQLITE_MAGIC) or len(start) < HEADER_SIZE:
        raise ValueError("not an SQLite file")
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise RecordingError(
            f"{path} is an SQLite file, but not a recording made by relume. Give the file that `relume run` wrote.",
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


def read_database(db: sqlite3.Connection) -> Recording:
    """Read an open database; ValueError if its parts do not fit together."""
    sites = {number: _site(db, number, text) for number, text in db.execute("SELECT * FROM site ORDER BY id")}
    for number, unit, step, kind in db.execute("SELECT * FROM event ORDER BY rowid"):
        sites[number].events.append(typed(tuple[int, int, str], (unit, step, kind), "event"))
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version >= 2:
        for number, unit, facts in db.execute("SELECT * FROM death"):
            if (death := _death(facts)) is not None:
                sites[number].deaths[typed(int, unit, "unit")] = death
        for number, name, value in db.execute(f"SELECT * FROM {'statistic' if version >= 4 else 'vital'}"):
            sites[number].statistics[name] = typed(float, value, name)
    if version >= 5:
        for number, ends, rates in db.execute("SELECT * FROM history"):
            sites[number].history = _history(strict_json(ends), rates, sites[number].site.units)
        for number, steps, numbers in db.execute("SELECT * FROM band"):
            sites[number].band = _band(strict_json(steps), numbers, sites[number].site.units)
    recording = Recording(
        meta={key: harmless(json.loads(value)) for key, value in db.execute("SELECT * FROM meta")},
        clocks=_objects(db, "clock", Clock),
        sites=list(sites.values()),
        windows=_objects(db, "window", Window),
        timeline=_rows(db, "timeline", tuple[int, int, int, int]),
        not_observed=_rows(db, "not_observed", tuple[str, str, str]),
    )
    if version >= 3:
        rows = db.execute("SELECT * FROM rate ORDER BY rowid")
        recording.rates = [
            typed(Rates, (clock, step, _numbers(strict_json(rates))), "rate") for clock, step, rates in rows
        ]
        rows = db.execute("SELECT * FROM loss ORDER BY clock, first_step")
        recording.losses = [typed(LossPoint, (*row[:4], *_numbers(row[4:7]), *row[7:]), "loss") for row in rows]
    else:
        _take_from_windows(recording, db)
    _verify(recording)
    for record in recording.sites:
        record.dead_after = recording.meta.get("dead_after")
    return recording


def _rows(db: sqlite3.Connection, table: str, kind: Any) -> list[Any]:
    return [typed(kind, row, table) for row in db.execute(f"SELECT * FROM {table} ORDER BY rowid")]


def _objects(db: sqlite3.Connection, table: str, kind: Any) -> list[Any]:
    names = [field.name for field in fields(kind)]  # an older schema has more columns
    rows = db.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid")
    return [typed(kind, dict(zip(names, row, strict=True)), table) for row in rows]


def _verify(recording: Recording) -> None:
    """Raises: ValueError: the parts do not fit together; later stages need not check."""
    clocks = {clock.id for clock in recording.clocks}
    for clock in recording.clocks:
        _demand(clock.kind in get_args(ClockKind), f"clock {clock.id} is of kind {clock.kind!r}")
    for record in recording.sites:
        site = record.site
        spans = [record.total, record.open, *([record.window] if record.window is not None else [])]
        arrays: list[NDArray[Any]] = [record.first_fired, record.last_fired, record.silent_since]
        arrays += [x for x in (record.slope, record.non_finite_since) if x is not None]
        arrays += list(vars(record.recent).values()) if record.recent is not None else []
        for span in spans:
            arrays += [span.fired, span.flat, span.magnitude]
        numbers = [n for span in spans for n in (span.looks, span.examples, span.samples)]
        _demand(site.clock in clocks, f"the clock of site {site.key} is missing")
        _demand(all(isinstance(number, int) for number in numbers), f"site {site.key} has a value that is not a number")
        _demand(all(len(array) == site.units for array in arrays), f"the units of site {site.key} differ in number")
        for unit, step, kind in record.events:
            fits = unit in range(site.units) and kind in ("died", "revived")
            _demand(fits, f"site {site.key} has an event of unit {unit}: {kind} at {step}")


def _take_from_windows(recording: Recording, db: sqlite3.Connection) -> None:
    """Before version 3 a window kept its last learning rates and its mean loss, and nothing else was kept of them."""
    rows = db.execute("SELECT rates, loss FROM window ORDER BY rowid")
    for w, (text, loss) in zip(recording.windows, rows, strict=True):
        rates = tuple(strict_json(text))
        if rates and rates != next((r.rates for r in reversed(recording.rates) if r.clock == w.clock), ()):
            recording.rates.append(Rates(w.clock, w.last_step, rates))
        if loss is not None:
            finite = math.isfinite(loss)
            mean, broken = (loss, 0) if finite else (math.nan, w.looked)
            since = -1 if finite else w.first_step
            recording.losses.append(
                LossPoint(w.clock, w.first_step, w.last_step, w.looked, mean, mean, mean, broken, since)
            )


def _numbers(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else value for value in values)


def _death(text: str) -> Death | None:
    """The numbers of a death; None in a file of an older schema."""
    facts: dict[str, Any] = strict_json(text)
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in facts.items()}
    return typed(Death, known, "death") if facts.keys() == set(Death._fields) else None


def _history(ends: Any, rates: bytes, units: int) -> History:
    fits = isinstance(ends, list) and all(isinstance(end, int) for end in ends) and len(rates) == len(ends) * units
    _demand(fits and ends == sorted(ends), "the history of a site does not fit its units")
    return History(tuple(ends), np.frombuffer(rates, np.uint8).reshape(len(ends), units))


def _band(steps: Any, numbers: bytes, units: int) -> Band:
    fits = isinstance(steps, list) and all(isinstance(step, int) for step in steps)
    _demand(fits and len(numbers) == 6 * len(steps) * units, "the band of a site does not fit its units")
    return Band(tuple(steps), *np.frombuffer(numbers, np.float16).reshape(3, len(steps), units))


def _demand(fits: bool, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)


def _site(db: sqlite3.Connection, number: int, text: str) -> SiteRecord:
    record = SiteRecord.new(typed(Site, strict_json(text), "site"))
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
    recent = {}
    for name, numbers in db.execute("SELECT name, numbers FROM unit WHERE site = ?", (number,)):
        if name in _RECENT:
            recent[name.removeprefix("recent_")] = np.frombuffer(numbers, np.float64)
            continue
        _demand(name in _STEPS or name == "slope", f"units have numbers {name!r}")
        setattr(record, name, np.frombuffer(numbers, np.float64 if name == "slope" else np.int64))
    record.recent = Recent(**recent) if recent else None
    return record


_STEPS = ("first_fired", "last_fired", "silent_since", "non_finite_since")
_RECENT = ("recent_fired", "recent_examples", "recent_silent")

"""The files of an older run that a new recording replaces."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from relume.artifacts.parts import others, roles
from relume.artifacts.recording import APPLICATION_ID
from relume.artifacts.writer import remove


def clear(path: Path, ranks: int, old: Any, new: str) -> None:
    """Remove the files of a replaced run next to this one that no process of the new run replaces. Raises nothing.

    These are the recordings of its children and, next to the first file, those of ranks that are gone. What yet another
    run left stays and is listed in the report; so does a file that is being written.

    Args:
        path: the file that the calling process writes.
        ranks: how many ranks the new run has.
        old: the id of the run that is replaced.
        new: the id of the new one.
    """
    if old is None or old == new:
        return
    own_rank = roles(path)[0]
    for other in others(path):
        rank, child = roles(other)
        replaced = not child and rank < ranks
        if not replaced and (rank == own_rank or rank >= ranks) and fact(other, "run_id") == old:
            with contextlib.suppress(OSError):
                if not is_being_written(other):
                    remove(other)


def fact(path: Path, name: str) -> Any:
    """One fact of a recording; None if it lacks it, or is not a recording."""
    if not os.path.isfile(path):
        return None
    with contextlib.suppress(sqlite3.Error, OSError, ValueError):
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as db:
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                return None
            row = db.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
            return None if row is None else json.loads(row[0])
    return None


def is_being_written(path: Path) -> bool:
    """Whether a process has this recording open, or was killed over it; the file itself is not opened."""
    return os.path.isfile(path) and os.path.exists(f"{path}-wal")

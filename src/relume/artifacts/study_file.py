"""The files of a study: strict JSON with a schema, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from relume.artifacts.typed import strict_json
from relume.errors import StudyError

SCHEMA = 1
"""Of study.json and of the trials; new keys may come within a schema."""


def read_json(path: Path, what: str, advice: str) -> dict[str, Any]:
    """The content of a file of ours.

    Raises: StudyError: it cannot be read, is no JSON, not ours, or of a newer relume.
    """
    try:
        told = strict_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise damaged(path, error.strerror or str(error), advice) from error
    except ValueError as error:
        raise damaged(path, "it is not JSON" if path.stat().st_size else "it is empty", advice) from error
    if not isinstance(told, dict) or told.get("is") != what or not isinstance(told.get("schema"), int):
        raise StudyError(
            f"{path} was not written by relume as a {what} of a study. Nothing was changed. Move it elsewhere, or give "
            "another folder with --study.",
            slug="study-foreign",
        )
    if told["schema"] > SCHEMA:
        raise StudyError(
            f"{path} has schema {told['schema']}, but this relume reads up to {SCHEMA}: a newer relume wrote it. "
            "Update relume to continue this study.",
            slug="study-newer",
        )
    return told


def damaged(path: Path, why: str, advice: str) -> StudyError:
    """The error for a file that is ours and does not hold together."""
    return StudyError(f"{path} is damaged and cannot be read ({why}). {advice}", slug="study-damaged")


def write_json(path: Path, told: Mapping[str, Any]) -> None:
    """Write a file whole or not at all, and bring it to the disk.

    Raises: StudyError: it could not be written; the old content is unchanged.
    """
    text = json.dumps(told, allow_nan=False, separators=(",", ":"))
    passing = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with passing.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(passing, path)
        except BaseException:
            with contextlib.suppress(OSError):
                passing.unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in our words that something cannot be written."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cure = "Make room" if full else "Give a writable folder"
        raise StudyError(
            f"Cannot write {path} ({error.strerror}). Earlier trials are intact. {cure}, and give the same "
            "command again to continue.",
            slug="study-unwritable",
        ) from error

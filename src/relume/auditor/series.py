"""Files and folders → the checkpoints of one run, in the order of their steps."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from relume.auditor.checkpoint import Checkpoint, assemble
from relume.auditor.files import SUFFIXES
from relume.auditor.tree import CheckpointFile, read_part
from relume.errors import CheckpointError


def read_series(paths: Sequence[Path]) -> list[Checkpoint]:
    """The checkpoints in these files and folders, the earliest first.

    A folder is one checkpoint, with weights that may be in shards and the optimizer's state next to them, or several,
    each a file or a folder in it.

    Raises: CheckpointError: nothing to read, or a given file cannot be read.
    """
    found = [checkpoint for path in paths for checkpoint in (_folder(path) if os.path.isdir(path) else [_file(path)])]
    return sorted(found, key=lambda checkpoint: checkpoint.step if checkpoint.step is not None else -1)


def _file(path: Path) -> Checkpoint:
    return assemble([read_part(path)], path.name)


def _folder(folder: Path) -> list[Checkpoint]:
    files = sorted((path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()), key=_natural)
    if not files:
        inner = sorted((path for path in folder.iterdir() if path.is_dir()), key=_natural)
        found = [checkpoint for path in inner if _has_files(path) for checkpoint in _folder(path)]
        if not found:
            raise CheckpointError(
                f"There is no checkpoint in {folder}: no {', '.join(SUFFIXES)} file in it or one folder below. Give "
                "the files themselves.",
                slug="checkpoint-absent",
            )
        return found
    parts, refused = [], []
    for path in files:
        try:
            parts.append(read_part(path))
        except CheckpointError as error:
            refused.append((path.name, error))
    holders = [part for part in parts if part.weights]
    if not holders and refused:
        raise refused[0][1]
    unread = [("a file", name, str(error).rpartition(" [")[0]) for name, error in refused]
    if _are_shards(holders):
        found = [assemble([*holders, *(part for part in parts if not part.weights)], folder.name)]
    else:
        found = [assemble([part], part.path.name) for part in holders]
    found[-1].unread += unread
    return found


def _has_files(folder: Path) -> bool:
    return any(path.suffix in SUFFIXES for path in folder.iterdir())


def _are_shards(parts: Sequence[CheckpointFile]) -> bool:
    """Whether no weight is in two of the files."""
    names = [name for part in parts for name in part.weights]
    return len(names) == len(set(names))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort ``step-9`` before ``step-10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]

"""The files of one run: the first, and next to it those of its other ranks and of its children.

``run.relume`` has its company in the same folder: ``run.rank1.relume``, ``run.rank2.relume`` are the other processes of
a distributed training, which do the same on other data; ``run.child2.relume`` is the second process that the script
started, which may do anything; ``run.rank1.child2.relume`` is the child of a rank. All files of a run have the same
``run_id`` among their facts, so that files of an earlier run are not mistaken for parts of this one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from relume.artifacts.reader import read
from relume.artifacts.recording import Recording
from relume.errors import RecordingError

Unseen = tuple[str, str, str]
"""(what, where, why) of something that was not observed."""

_ROLES = re.compile(r"((?:\.(?:rank|child)\d+)*)$")


@dataclass(frozen=True)
class Part:
    """One file of a run.

    Attributes:
        name: the file's, without its folder. ``rank``: 0 for the first.
        child: "" or the way to it from the first process: ``child2``, ``child2.child1``.
    """

    name: str
    rank: int
    child: str
    recording: Recording


def beside(first: Path, *roles: str) -> Path:
    """The file of another process of a run: ``beside(Path("run.relume"), "rank1", "child2")``.

    Example:
        >>> beside(Path("run.relume"), "rank1").name
        'run.rank1.relume'
    """
    return first.with_name(".".join([first.stem, *roles]) + first.suffix)


def roles(path: Path) -> tuple[int, str]:
    """The rank and the child in a file's name: (0, "") if it has none."""
    found = _ROLES.search(path.stem)
    words = found[1].split(".")[1:] if found is not None else []
    ranks = [int(word[4:]) for word in words if word.startswith("rank")]
    return (ranks[-1] if ranks else 0), ".".join(word for word in words if word.startswith("child"))


def others(first: Path) -> list[Path]:
    """The files next to the first that by their names belong to its run, children after the ranks."""
    if not first.parent.is_dir():
        return []
    pattern = re.compile(re.escape(first.stem) + r"(\.(rank|child)\d+)+" + re.escape(first.suffix))
    found = [path for path in first.parent.iterdir() if pattern.fullmatch(path.name)]
    return sorted(found, key=lambda path: (roles(path)[1], roles(path)[0]))


def read_run(first: Path) -> tuple[list[Part], list[Unseen]]:
    """Read a recording and those next to it, and say which of these could not be taken.

    Raises: RecordingError: the first cannot be read. A file next to it that cannot be read is listed instead.
    """
    parts, unseen = [Part(first.name, 0, "", read(first))], []
    for path in others(first):
        rank, child = roles(path)
        try:
            part = Part(path.name, rank, child, read(path))
        except RecordingError as error:
            unseen.append(("a recording", path.name, f"it could not be read: {error.slug}"))
            continue
        if strangers(parts[0], part):
            unseen.append(("a recording", path.name, "it belongs to another run than the file next to it"))
        else:
            parts.append(part)
    return parts, unseen


def strangers(first: Part, other: Part) -> bool:
    """Whether two recordings are of different runs: by their ``run_id``, and ranks by their script too."""
    facts = ("run_id",) if first.child != other.child else ("run_id", "script")
    return any(first.recording.meta.get(fact) != other.recording.meta.get(fact) for fact in facts)

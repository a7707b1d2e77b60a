"""The subject of a study: a script with its arguments, and everything else that its numbers depend on."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any


@dataclass(frozen=True)
class Subject:
    """What is run: trials may be compared as long as this is the same.

    Attributes:
        script: as it was given, without its absolute folder. ``argv``: its arguments, the same.
        sources: digests of the script and of the modules next to it, by their paths from the folder.
        versions: of Python and of what the script trains with. ``threads``: that each trial may use.
        settings: everything else that a trial's numbers depend on, such as ``only``; text by name.
        arguments: a digest of the arguments as they were given, folders included.
    """

    script: str
    argv: tuple[str, ...]
    sources: Mapping[str, str]
    versions: Mapping[str, str]
    threads: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    arguments: str = ""

    @classmethod
    def of(cls, script: str, argv: Sequence[str], folder: Path, local: Iterable[str] = (), **facts: Any) -> Subject:
        """The subject of a command that was given in ``folder``; ``local`` are its modules' paths from there.

        Files above the folder and missing files are omitted from ``sources``.
        """
        names = [*local, script] if (folder / script).is_file() else [*local]
        return cls(
            script=without_folder(script),
            argv=tuple(without_folder(arg) for arg in argv),
            sources=digests(folder, names),
            arguments=hashlib.sha256("\0".join(argv).encode(errors="surrogateescape")).hexdigest()[:16],
            **facts,
        )

    def differences(self, other: Subject) -> tuple[str, ...]:
        """The differences from the other subject, in words."""
        found = [
            f"{word} {name}"
            for word, mine, theirs in (
                ("", self.sources, other.sources),
                ("version of", self.versions, other.versions),
                ("setting", self.settings, other.settings),
            )
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
        plain = {"script": "script", "arguments": "arguments", "threads": "threads"}
        found += [word for name, word in plain.items() if getattr(self, name) != getattr(other, name)]
        return tuple(text.strip() for text in found)


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """A digest of each of these files below the folder; "" for a missing file."""
    found = {}
    for name in sorted({os.path.normpath(name) for name in names}):
        content = b""
        with contextlib.suppress(OSError):
            content = (folder / name).read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()[:16] if content else ""
    return found


def without_folder(argument: str) -> str:
    """An argument as relume stores it: of an absolute path, also after ``=``, only the last part."""
    option, equals, value = argument.rpartition("=")
    return f"{option}{equals}{PurePath(value).name}" if PurePath(value).is_absolute() else argument

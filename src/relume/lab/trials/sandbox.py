"""The folder in which a trial runs: it sees the user's folder, and its writes are kept apart.

There are three kinds, in ``isolation.py``. Each fails closed: if one of its own steps fails, so does the trial.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_ROOTS = (".git", "pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class Sandbox(ABC):
    """Where one trial runs.

    Attributes:
        work: a folder outside ``root`` that holds what the trial writes.
        folder: the user's working folder. ``root``: the top of the protected folders.
        hidden: absolute paths below ``root`` that the trial does not see: the study, and files of earlier runs.
        script: the script's path, absolute; "" for a module.
        caution: what this kind cannot do, as a sentence for the user; "" for nothing.
    """

    work: Path
    folder: Path
    root: Path
    hidden: Collection[str] = ()
    script: str = ""
    caution: ClassVar[str] = ""

    @classmethod
    def of(cls, work: Path, folder: Path, hidden: Iterable[str | Path] = (), script: str = "") -> Sandbox:
        """The sandbox of an absolute working folder; ``hidden`` and ``script`` may be relative to it."""
        folder = folder.resolve()
        root = root_of(folder)
        paths = {os.path.normpath(folder / path) for path in hidden}
        below = frozenset(path for path in paths if path.startswith(f"{root}{os.sep}"))
        script = script and str(Path(folder, os.path.dirname(script)).resolve() / os.path.basename(script))
        return cls(work, folder, root, below, script)

    @property
    @abstractmethod
    def base(self) -> Path:
        """Where the trial sees ``root``."""

    @property
    def cwd(self) -> Path:
        """The trial's working folder."""
        return self.inside(self.folder)

    def inside(self, path: Path) -> Path:
        """Where the trial sees one of the user's paths."""
        return self.base / path.relative_to(self.root) if path.is_relative_to(self.root) else path

    def outside(self, path: str) -> str:
        """The user's path for the trial's ``path``."""
        base = str(self.base)
        return f"{self.root}{path[len(base) :]}" if f"{path}/".startswith(f"{base}/") else path

    @abstractmethod
    def enter(self) -> None:
        """Enter it, with this process and its descendants.

        Raises: OSError: this machine does not allow it.
        """

    @abstractmethod
    def changed(self) -> Iterator[tuple[str, int]]:
        """(path, bytes) of the user's files that the trial made, changed or removed; absolute, 0 for what is gone.

        Call it in a process that has not entered.
        """


def root_of(folder: Path) -> Path:
    """The top of the protected folders: the project's root, or its parent, which may contain outputs too."""
    home = {Path("/"), Path.home(), Path(tempfile.gettempdir())}
    if folder in home:
        return folder
    for above in (folder, *folder.parents):
        if above in home:
            break
        if any((above / mark).exists() for mark in _ROOTS):
            return above
    return folder if folder.parent in home else folder.parent


def files_below(path: str) -> Iterator[str]:
    """A file itself, or all files of a folder; nothing if it does not exist."""
    if os.path.islink(path) or not os.path.isdir(path):
        if os.path.lexists(path):
            yield path
        return
    for folder, subfolders, files in os.walk(path):
        subfolders[:] = [name for name in subfolders if name != "__pycache__"]
        yield from (f"{folder}/{name}" for name in files)


def is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether a file is still an unchanged copy of another, even if it was opened for writing."""
    facts = [(found.st_mode, found.st_size, found.st_mtime_ns) for found in (one, other)]
    return facts[0] == facts[1]


def remove(work: Path) -> None:
    """Delete a trial's files without following links."""
    shutil.rmtree(work, onerror=_open_and_remove)


def _open_and_remove(_: object, path: str, __: object) -> None:
    """A folder that nobody may enter, such as the kernel's own in an overlay, or in which nothing may be removed."""
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)

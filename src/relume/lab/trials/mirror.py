"""A mirror of the user's folder, if the kernel allows no overlay: small files are copied, large ones linked.

Writes to the user's files, through a link or by their own paths, are denied: by Landlock if the kernel has it, and in
Python before a file is opened or changed. A large file that Python writes replaces its link.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relume.lab.trials.events import listen
from relume.lab.trials.landlock import deny_writes_below
from relume.lab.trials.sandbox import Sandbox, files_below, is_same

SMALL = 1_000_000
"""Bytes: copying that many takes 0.5 ms, copying a kilobyte 0.09 ms, and a link 0.04 ms (2 cores, ext4)."""

MOST = 64_000_000
"""Bytes copied for one trial: 30 to 60 ms."""

AT_LEAST = 250_000
"""Bytes that a copied file counts for at least, as creating it costs that much: 256 small files take 25 ms."""

MANY = 1_000
"""Entries, copied in 0.1 s: a folder with more is linked as one, and nothing can be written there."""

MOST_ENTRIES = 4 * MANY
"""Entries in all mirrored folders below the working folder."""

_WHOLE = {".git", ".hg", ".svn", ".venv", "venv", "node_modules", ".tox", ".mypy_cache", ".ruff_cache"}


class Mirror(Sandbox):
    """A sandbox of copies and links; Python refuses to write elsewhere in the user's folder."""

    caution = (
        "This machine supports neither overlays nor Landlock, so each trial runs in a mirror of the folder, and your "
        "files are protected only from Python: if other code (HDF5, safetensors, another program) overwrites files of "
        "the folder larger than 1 MB, or uses absolute paths, let it write elsewhere."
    )

    @property
    def base(self) -> Path:
        """A folder of the root's name."""
        return self.work / "mirror" / (self.root.name or "root")

    def enter(self) -> None:
        """Make it, and refuse writes that would leave it."""
        if self.root == Path("/"):
            raise OSError("the folder / cannot be mirrored; run the command in another folder")
        left = MOST
        for folder in self._folders():
            left = self._fill(folder, left)
        main = self.inside(Path(self.script))
        if self.script and main.is_symlink():  # so that what it writes next to its resolved path stays here
            main.unlink()
            shutil.copy2(self.script, main)
        os.chdir(self.cwd)
        self._protect()
        _Refusal(self).start()

    def changed(self) -> Iterator[tuple[str, int]]:
        """What differs from the user's folders."""
        for here in self._folders():
            with os.scandir(here) as entries:
                gone = [each.path for each in entries if not os.path.lexists(self.inside(Path(each.path)))]
            yield from ((each, 0) for path in gone if path not in self.hidden for each in files_below(path))
        for folder, subfolders, files in os.walk(self.base):
            subfolders[:] = [name for name in subfolders if name != "__pycache__"]
            for name in (*files, *(name for name in subfolders if os.path.islink(f"{folder}/{name}"))):
                path = f"{folder}/{name}"
                yours, found = self.outside(path), os.lstat(path)
                if not self._is_as_yours(path, yours, found):
                    yield yours, found.st_size

    def _is_as_yours(self, path: str, yours: str, found: os.stat_result) -> bool:
        if os.path.islink(path):
            return os.readlink(path) == self._target(yours)
        return os.path.exists(yours) and is_same(found, os.stat(yours))

    def _protect(self) -> None:
        """The part that the kernel does."""

    def _folders(self) -> list[Path]:
        """The user's folders that are mirrored, parents first; the others are linked as a whole."""
        whole = {self.folder, *([Path(self.script).parent] if self.script.startswith(f"{self.root}/") else [])}
        above = {each for folder in whole for each in folder.parents if each.is_relative_to(self.root)}
        made, ahead, entries = sorted(above - whole), sorted(whole), 0
        while ahead:
            here = ahead.pop(0)
            made.append(here)
            for each in sorted(Path(entry.path) for entry in os.scandir(here) if entry.is_dir(follow_symlinks=False)):
                number = self._entries(each)
                holds_hidden = any(path.startswith(f"{each}{os.sep}") for path in self.hidden)
                if each not in whole and (holds_hidden or (number <= MANY and entries + number <= MOST_ENTRIES)):
                    entries += number
                    ahead.append(each)
        return made

    def _entries(self, folder: Path) -> int:
        """The number of entries of a folder; above every limit if it should not be mirrored."""
        if folder.name in _WHOLE or str(folder) in self.hidden:
            return MOST_ENTRIES + 1
        try:
            return len(os.listdir(folder))
        except OSError:
            return MOST_ENTRIES + 1

    def _fill(self, folder: Path, left: int) -> int:
        """Mirror one folder; returns how many bytes may still be copied."""
        target = self.inside(folder)
        if target.is_symlink():  # made when the folder above was filled
            target.unlink()
        target.mkdir(parents=True, exist_ok=True)
        with os.scandir(folder) as entries:
            for entry in entries:
                place, small = target / entry.name, min(SMALL, left)
                if entry.path in self.hidden or os.path.lexists(place):
                    continue
                if entry.is_file(follow_symlinks=False) and entry.stat().st_size <= small:
                    shutil.copy2(entry.path, place)
                    left -= max(entry.stat().st_size, AT_LEAST)
                else:
                    place.symlink_to(self._target(entry.path))
        return left

    def _target(self, path: str) -> str:
        """The target of the link that replaces a path; for a user's own link, its target."""
        target = os.readlink(path) if os.path.islink(path) else path
        return str(self.inside(Path(target))) if os.path.islink(path) and os.path.isabs(target) else target


class LockedMirror(Mirror):
    """A mirror whose links lead to files that the kernel write-protects."""

    caution = (
        "This machine does not support overlays, so each trial runs in a mirror of the folder, and the kernel denies "
        "changes to your files: give the script output paths relative to the folder. Only Python can replace files "
        "larger than 1 MB."
    )

    def _protect(self) -> None:
        if Path(tempfile.gettempdir()) in self.root.parents:  # a rule for the folder above would hold for the root
            passing = self.work / "temporary"
            passing.mkdir()
            os.environ["TMPDIR"] = tempfile.tempdir = str(passing)
        deny_writes_below(str(self.root))


class NotYours(PermissionError):
    """A trial was about to change one of the user's files."""


class _Refusal:
    """Listens to Python's file operations, and refuses those that would reach the user's files."""

    def __init__(self, mirror: Mirror) -> None:
        self._root = f"{mirror.root}{os.sep}"
        self._base = f"{mirror.base}{os.sep}"
        self._own = threading.local()  # whether a thread runs relume's own code, which raises events too

    def start(self) -> None:
        """Listen until the process ends."""
        listen({"open", *_ALTERS}, self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if getattr(self._own, "now", False):
            return
        self._own.now = True
        try:
            if event != "open":
                for path, folder in _ALTERS[event]:
                    self._heed(_joined(args[path], args[folder] if folder < len(args) else -1))
            elif isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT):
                self._heed(_joined(args[0], -1), anew=bool(args[2] & os.O_TRUNC))
        finally:
            self._own.now = False

    def _heed(self, path: str, anew: bool = False) -> None:
        """Replace the link by which a path leaves the mirror by a copy, or refuse the path."""
        real = os.path.realpath(path)
        if not real.startswith(self._root):
            return
        for _ in range(_MOST_LINKS):
            path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            if not path.startswith(self._base) or not os.path.islink(path):
                break
            target = os.path.join(os.path.dirname(path), os.readlink(path))
            if target.startswith(self._root) and not os.path.isdir(target):
                os.unlink(path)
                if not anew and os.path.exists(target):
                    shutil.copy2(target, path)
                return
            path = target
        hint = "relume keeps trials from changing this file; give the script a path relative to its folder"
        raise NotYours(errno.EACCES, hint, real)


_MOST_LINKS = 40
"""As many as Linux follows."""

_NO_FOLDER = 9
_ALTERS: dict[str, tuple[tuple[int, int], ...]] = {
    **dict.fromkeys(("os.remove", "os.rmdir"), ((0, 1),)),
    **dict.fromkeys(("os.mkdir", "os.chmod"), ((0, 2),)),
    **dict.fromkeys(("os.chown", "os.utime"), ((0, 3),)),
    **dict.fromkeys(("os.truncate", "os.setxattr", "os.removexattr", "sqlite3.connect"), ((0, _NO_FOLDER),)),
    **dict.fromkeys(("os.rename", "os.link"), ((0, 2), (1, 3))),
    "os.symlink": ((1, 2),),
}
"""Event → (path, descriptor of its base folder) of each path, as positions of its arguments."""


def _joined(path: Any, folder: int) -> str:
    if isinstance(path, int):
        return f"/proc/self/fd/{path}"
    above = os.getcwd() if folder < 0 else os.readlink(f"/proc/self/fd/{folder}")
    return os.path.join(above, os.fsdecode(path).rstrip(os.sep))

"""The folder in which a trial runs: it sees what the user's folder holds, without a copy of the data.

The user's tree is made anew of real folders and links to the files; a folder with many entries is one link. That
nothing which a trial writes goes through a link is the work of ``guard.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MANY = 1_000
"""Entries from which on a folder is linked as one."""

_MOST = 4_000
"""Entries that are linked one by one; what lies deeper is linked by folders."""

_COPIED = 64
"""Files of Python that are copied, so that ``Path(__file__).resolve()`` stays in the sandbox."""

_WHOLE = {".git", ".hg", ".svn", ".venv", "venv", "node_modules", ".tox", ".mypy_cache", ".ruff_cache"}
_ROOTS = (".git", "pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class Sandbox:
    """A mirror of the user's tree.

    Attributes:
        base: the mirror's top, which stands for ``root``, the user's. ``folder``: the user's working folder.
        copies: files that were copied, with their times of change in nanoseconds.
        shared: files of the user's tree, absolute, that the script itself has made there: every trial writes them.
    """

    base: Path
    root: Path
    folder: Path
    copies: Mapping[str, int] = field(default_factory=dict)
    shared: tuple[str, ...] = ()

    @property
    def cwd(self) -> Path:
        """The working folder of the trial."""
        return self.inside(self.folder)

    def inside(self, path: Path) -> Path:
        """Where the mirror has a path of the user's; the path itself where the mirror does not reach."""
        try:
            return self.base / path.relative_to(self.root)
        except ValueError:
            return path

    def argument(self, text: str) -> str:
        """An argument of the script's, ``/path`` or ``--name=/path``: a path in the user's tree is the mirror's.

        One that the mirror does not show, though it is there, is left as it is.
        """
        before, sign, path = text.partition("=") if text.startswith("-") else ("", "", text)
        if not os.path.isabs(path):
            return text
        there = self.inside(Path(os.path.normpath(path)))
        return f"{before}{sign}{there}" if os.path.lexists(there) or not os.path.lexists(path) else text


def root_of(folder: Path) -> Path:
    """The top of what is mirrored: the project's root, or the folder above, so that ``../data`` is found."""
    home = {Path("/"), Path.home(), Path(tempfile.gettempdir())}
    for above in (folder, *folder.parents):
        if above in home:
            break
        if any((above / mark).exists() for mark in _ROOTS):
            return above
    return folder if folder.parent in home else folder.parent


def pool(work: Path) -> Path:
    """Where a sandbox has its links from, and those beside it; it may be taken away at any time."""
    return work.parent / ".links"


class _Links:
    """Links that sandboxes have in common, each under a name of its own.

    To make a link anew has been seen to take 270 µs, one more name for it 15: a project has a thousand of them.
    """

    def __init__(self, work: Path) -> None:
        self._pool = f"{pool(work)}{os.sep}"
        with contextlib.suppress(OSError):  # another driver of the study may be taking it away
            os.makedirs(self._pool, exist_ok=True)

    def put(self, target: str, place: str | Path) -> None:
        """Make ``place`` a link to ``target``."""
        shared = self._pool + hashlib.blake2b(os.fsencode(target), digest_size=16).hexdigest()
        try:
            try:
                os.link(shared, place, follow_symlinks=False)
            except FileNotFoundError:
                os.symlink(target, shared)
                os.link(shared, place, follow_symlinks=False)
        except OSError:  # a file system without such names, too many of one link, or another process is at it
            os.symlink(target, place)


def build(
    work: Path, folder: Path, hidden: Iterable[str] = (), without: Iterable[Path] = (), script: str = ""
) -> Sandbox:
    """Make the sandbox of a working folder.

    Args:
        work: where it is made.
        folder: the user's, absolute.
        hidden: files that an earlier run wrote, relative to the folder; absolute ones it wrote past its sandbox.
        without: folders that are left out, such as the study.
        script: a file, relative to the folder, that is copied before any other.
    """
    folder, hidden = folder.resolve(), tuple(hidden)
    root = root_of(folder)
    hide = {os.path.normpath(folder / path) for path in hidden}
    hide |= {os.path.normpath(path.resolve()) for path in (*without, work, pool(work))}
    base = work / (root.name or "root")
    base.mkdir(parents=True)
    links = _Links(work)
    copies: dict[str, int] = {}
    sandbox = Sandbox(base, root, folder, copies, tuple(path for path in hidden if os.path.isabs(path)))
    for above in reversed([p for p in folder.parents if p == root or root in p.parents]):
        way = folder.relative_to(above).parts[0]
        if _count(str(above)) <= MANY:
            _fill(above, sandbox.inside(above), hide | {str(above / way)}, copies, links, deep=False)
        sandbox.inside(above / way).mkdir()
    main = sandbox.inside(Path(os.path.normpath(folder / script)))
    ahead, seen = [folder], 0
    while ahead:
        here = ahead.pop(0)
        subfolders = _fill(here, sandbox.inside(here), hide, copies, links, deep=True)
        for each, entries in subfolders:
            seen += entries
            there = sandbox.inside(each)
            holds_hidden = any(path.startswith(f"{each}{os.sep}") for path in hide)
            if holds_hidden or (entries <= MANY and seen <= _MOST):
                there.mkdir()
                ahead.append(each)
            else:
                links.put(str(each), there)
    if script and main.is_symlink() and main.is_file():
        source = main.readlink()
        main.unlink()
        _copy(source, main, copies)
    return sandbox


def _fill(
    source: Path, target: Path, hide: set[str], copies: dict[str, int], links: _Links, *, deep: bool
) -> list[tuple[Path, int]]:
    """Link a folder's entries; returns its subfolders, with the number of their entries, where it goes deeper."""
    deeper = []
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.path in hide:
                continue
            place = f"{target}{os.sep}{entry.name}"
            if deep and entry.is_dir(follow_symlinks=False) and entry.name not in _WHOLE:
                deeper.append((Path(entry.path), _count(entry.path)))
            elif deep and entry.name.endswith(".py") and len(copies) < _COPIED and entry.is_file():
                with contextlib.suppress(OSError):
                    _copy(entry.path, place, copies)
            else:
                links.put(entry.path, place)
    return sorted(deeper)


def _copy(source: str | Path, place: str | Path, copies: dict[str, int]) -> None:
    shutil.copy2(source, place)
    copies[str(place)] = os.stat(place).st_mtime_ns


def _count(folder: str) -> int:
    try:
        return len(os.listdir(folder))
    except OSError:
        return MANY + 1


def remove(work: Path) -> None:
    """Take a sandbox away; the links in it are not followed."""
    shutil.rmtree(work, ignore_errors=True)

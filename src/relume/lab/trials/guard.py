"""Keep what a trial writes in its sandbox, and remember it.

Python tells through its audit events when a file is about to be written: a link that leads to the user's files is then
replaced by a real folder or by a copy, before it happens. What writes without Python's knowledge is told by the kernel
(``syscalls.py``), by PyTorch's own writer through :meth:`Guard.writing`, or is found in the sandbox afterwards.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from relume.lab.trials.events import listen
from relume.lab.trials.sandbox import Sandbox

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_TRUNC | os.O_CREAT


@dataclass(frozen=True)
class Touched:
    """What a run did with files; paths are relative to its working folder.

    Attributes:
        written: files that it wrote, made, renamed or removed. ``resumed``: those of them that were there, and that it
            read before, or moved: it may go on from a checkpoint of its own, or need them.
        outside: what it wrote elsewhere, absolute; temporary files and caches are left out.
    """

    written: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


OWN = "own"
"""A file beside the sandbox; see :meth:`Guard._by_itself`."""


class NotYours(PermissionError):
    """A trial was about to alter a file of the user's, by a path that leaves the sandbox."""


class Guard:
    """Keeps a trial's writes in its sandbox, and remembers them. It is part of the process until that ends."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._base = f"{sandbox.base}{os.sep}"
        self._root = f"{sandbox.root}{os.sep}"
        self._process = 0
        self._ours = f"{sandbox.base.parent}{os.sep}"
        self._busy = threading.local()
        self._walked: tuple[str, ...] = ()
        self._read: set[str] = set()
        self._written: set[str] = set()
        self._resumed: set[str] = set()
        self._outside: set[str] = set()
        self._passing = _passing_places()

    def start(self) -> None:
        """From now on, in this process."""
        self._process = os.getpid()
        listen({"open", *_EVENTS}, self.hear)

    @property
    def is_child(self) -> bool:
        """Whether this is not the process that it was made in, but one that that has forked."""
        return os.getpid() != self._process

    def ours(self, name: str) -> str:
        """The path of a file of relume's own beside the sandbox."""
        return self._ours + name

    def touched(self, heard: Touched | None = None) -> Touched:
        """What was touched so far; files that nobody has told of are found in the sandbox.

        Args:
            heard: what was told elsewhere.
        """
        self._busy.now = True  # this walk is not the script's
        try:
            for folder, _, files in os.walk(self._sandbox.base):
                for name in files:
                    path = os.path.join(folder, name)
                    if path not in self._written and self._is_new(path):
                        self._written.add(path)
        finally:
            self._busy.now = False
        own, told = astuple(self.noted()), astuple(heard or Touched())
        return Touched(*(tuple(sorted({*mine, *theirs})) for mine, theirs in zip(own, told, strict=True)))

    def noted(self) -> Touched:
        """What it was told of so far."""
        changed = {path for path in self._written if not self._is_as_yours(path)}
        return Touched(
            tuple(sorted(map(self._shown, changed))),
            tuple(sorted(map(self._shown, changed & self._resumed))),
            tuple(sorted(self._outside)),
        )

    def writing(self, path: Any) -> None:
        """A file is about to be written anew, by something that does not tell Python."""
        self._guarded(self._will_write, path, False)

    # ---- events ----------------------------------------------------------------------------------------------------

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """One of Python's audit events, before what it tells of happens.

        Raises: NotYours: it may not happen.
        """
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & os.O_EXCL:
                self._guarded(self._will_create, path)
            elif isinstance(flags, int) and flags & _WRITES:
                if flags & os.O_RDWR and not flags & os.O_TRUNC:
                    self._guarded(self._will_read, path)
                self._guarded(self._will_write, path, not flags & os.O_TRUNC)
            else:
                self._guarded(self._will_read, path)
            return
        work = _EVENTS.get(event)
        if work is not None:
            self._guarded(getattr(self, work), *args)

    def _guarded(self, work: Any, *args: Any) -> None:
        if getattr(self._busy, "now", False) or isinstance(args[0], int):
            return
        self._busy.now = True
        try:
            work(*args)
        except NotYours:
            raise
        except (OSError, ValueError, TypeError, RecursionError):
            pass  # the call itself meets the same trouble, and says it in its own words
        finally:
            self._busy.now = False

    def _will_read(self, path: Any) -> None:
        there = self._absolute(path)
        if there.startswith(self._base) and there not in self._written and not there.endswith((".py", ".pyc")):
            if os.path.exists(there):
                self._read.add(there)

    def _will_write(self, path: Any, keeps: bool = True) -> None:
        there = self._settle(self._absolute(path))
        if there is None:
            return
        self._note(there)
        if self._leads_out(there):
            source = os.path.realpath(there)
            if os.path.isdir(source):
                self._make_real(there)
                return
            with self._by_itself():
                os.unlink(there)
                if keeps and os.path.exists(source):
                    shutil.copy2(source, there)
                    os.chmod(there, stat.S_IMODE(os.stat(there).st_mode) | stat.S_IWUSR)

    def _will_create(self, path: Any) -> None:
        there = self._settle(self._absolute(path))
        if there is not None and not os.path.lexists(there):
            self._note(there)

    def _will_alter(self, path: Any, *_: Any) -> None:
        self._will_write(path)

    def _will_connect(self, path: Any, *_: Any) -> None:
        if path not in ("", ":memory:") and not str(path).startswith("file:"):
            self._will_write(path)

    def _will_remove(self, path: Any, folder: Any = -1) -> None:
        there = self._settle(self._absolute(path, folder))
        if there is not None:
            self._note(there, anew=False)

    def _will_make(self, path: Any, _mode: int = 0, folder: Any = -1) -> None:
        self._settle(self._absolute(path, folder))

    def _will_link(self, _old: Any, new: Any, *folders: Any) -> None:
        self._settle(self._absolute(new, folders[-1] if folders else -1))

    def _will_rename(self, old: Any, new: Any, old_folder: Any = -1, new_folder: Any = -1) -> None:
        source = self._absolute(old, old_folder)
        is_folder = os.path.isdir(source)
        settled = self._settle(source), self._settle(self._absolute(new, new_folder))
        for there, anew in zip(settled, (False, True), strict=True):
            if there is not None and not is_folder:
                self._note(there, anew=anew)

    def _will_enter(self, path: Any, *_: Any) -> None:
        there = self._settle(self._absolute(path), writes=False)
        if there is not None and self._leads_out(there) and os.path.isdir(there):
            self._make_real(there)

    def _will_walk(self, top: Any, *_: Any) -> None:
        """Walking follows no links: where it passes, the folders must be real."""
        self._will_enter(top)
        self._walked += (self._absolute(top),)

    def _will_scan(self, path: Any) -> None:
        if not self._walked:
            return
        there = self._absolute(path)
        if os.path.realpath(there) != there:  # behind a link of the user's own, which walking does not follow
            return
        if any(there == top or there.startswith(f"{top}{os.sep}") for top in self._walked):
            for name in os.listdir(there):
                link = os.path.join(there, name)
                if os.path.islink(link) and not os.path.islink(os.readlink(link)):  # the user's own are not followed
                    self._will_enter(link)

    # ---- paths -----------------------------------------------------------------------------------------------------

    def _absolute(self, path: Any, folder: Any = -1) -> str:
        text = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0 and not os.path.isabs(text):
            return os.path.normpath(os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text))
        return os.path.normpath(os.path.join(os.getcwd(), text))

    def _settle(self, path: str, writes: bool = True) -> str | None:
        """Make the folders above a path real; None where it lies elsewhere, which is noted."""
        for _ in range(40):  # links of the script's own may lead on
            if not path.startswith(self._base):
                if writes:
                    self._note_outside(path)
                return None
            parts = path[len(self._base) :].split(os.sep)
            here = self._base.rstrip(os.sep)
            for part in parts[:-1]:
                here = os.path.join(here, part)
                if self._leads_out(here):
                    self._make_real(here)
                elif os.path.islink(here):
                    path = os.path.realpath(here) + path[len(here) :]
                    break
            else:
                return path
        return None

    def _leads_out(self, link: str) -> bool:
        """Whether a link leads to the user's tree, or whatever that links to."""
        if not os.path.islink(link):
            return False
        target = os.readlink(link)
        return os.path.isabs(target) and not target.startswith(self._base) and target.startswith(self._root)

    def _make_real(self, link: str) -> None:
        """Put a folder of links in the place of a link to a folder."""
        source = os.path.realpath(link)
        entries = os.listdir(source)
        with self._by_itself():
            os.unlink(link)
            os.mkdir(link)
            for name in entries:
                os.symlink(os.path.join(source, name), os.path.join(link, name))

    @contextlib.contextmanager
    def _by_itself(self) -> Iterator[None]:
        """What is done in it is not the script's doing: opening the file says so to a supervisor, and takes it back."""
        self._tell_own()
        try:
            yield
        finally:
            self._tell_own()

    def _tell_own(self) -> None:
        os.close(os.open(self.ours(OWN), os.O_WRONLY | os.O_CREAT, 0o600))

    def _note(self, path: str, anew: bool = True) -> None:
        if os.path.basename(os.path.dirname(path)) == "__pycache__":
            return
        if path not in self._written and (path in self._read if anew else os.path.exists(path)):
            self._resumed.add(path)
        self._written.add(path)

    def _note_outside(self, path: str) -> None:
        if path.startswith(self._ours) or "__pycache__" in path:
            return
        of_the_user = path.startswith(self._root)
        known = path in self._outside or path in self._sandbox.shared
        if of_the_user and not known and os.path.isfile(path):
            raise NotYours(
                errno.EACCES, "relume keeps a trial from altering this file; give its path relative to the folder", path
            )
        if of_the_user or not path.startswith(self._passing):
            self._outside.add(path)

    def _is_new(self, path: str) -> bool:
        try:
            found = os.lstat(path)
        except OSError:
            return False
        if stat.S_ISLNK(found.st_mode) or "__pycache__" in path:
            return False
        return self._sandbox.copies.get(path) != found.st_mtime_ns

    def _is_as_yours(self, path: str) -> bool:
        """Whether it is still the copy of the user's file: it was opened to be written, and was not."""
        try:
            found, yours = os.lstat(path), os.stat(self._root + path.removeprefix(self._base))
        except OSError:
            return False
        facts = [(each.st_size, each.st_mtime_ns, each.st_mode | stat.S_IWUSR) for each in (found, yours)]
        return stat.S_ISREG(found.st_mode) and facts[0] == facts[1]

    def _shown(self, path: str) -> str:
        return os.path.relpath(path, self._sandbox.cwd)


_EVENTS = {
    "os.chdir": "_will_enter",
    "os.rmdir": "_will_enter",
    "shutil.rmtree": "_will_enter",
    "os.walk": "_will_walk",
    "os.fwalk": "_will_walk",
    "pathlib.Path.glob": "_will_walk",
    "pathlib.Path.rglob": "_will_walk",
    "os.scandir": "_will_scan",
    "os.listdir": "_will_scan",
    "os.rename": "_will_rename",
    "os.remove": "_will_remove",
    "os.mkdir": "_will_make",
    "os.link": "_will_link",
    "os.symlink": "_will_link",
    "os.truncate": "_will_alter",
    "os.chmod": "_will_alter",
    "os.chown": "_will_alter",
    "os.utime": "_will_alter",
    "os.setxattr": "_will_alter",
    "os.removexattr": "_will_alter",
    "sqlite3.connect": "_will_connect",
}


def _passing_places() -> tuple[str, ...]:
    """Where everybody writes: devices, temporary files, caches."""
    caches = [os.environ.get("XDG_CACHE_HOME", ""), str(Path.home() / ".cache"), str(Path.home() / ".config")]
    places = ["/dev", "/proc", "/sys", tempfile.gettempdir(), *caches, "/var/tmp", "/dev/shm"]
    return tuple(f"{os.path.abspath(place)}{os.sep}" for place in places if place)

"""Locks that a dead process does not hold: the kernel takes ``flock`` back when the holder's last descriptor closes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""A file system without locks, as some cluster file systems are: there, ``--shard`` keeps the processes apart."""


class Lock:
    """A lock file that is held from :meth:`take` to :meth:`release`, or until the process is gone.

    The file goes with the release. A process that opened it earlier and gets the lock of a file that was removed
    takes the new one's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: int | None = None

    def take(self) -> bool:
        """Whether it could be had at once."""
        while True:
            held = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(held)
                    if isinstance(error, BlockingIOError):
                        return False
                    raise
            if _same(held, self._path):
                self._held = held
                return True
            os.close(held)

    def release(self) -> None:
        """Give it back; nothing if it is not held."""
        if self._held is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._held)
            self._held = None


@contextlib.contextmanager
def waiting_for(path: Path, longest: float = 30.0) -> Iterator[None]:
    """Hold the lock of a file for a moment; after ``longest`` seconds without it, continue as if it had it.

    Files written under it are complete either way: at worst one of two simultaneous writers is not read.
    """
    lock, latest = Lock(path), time.monotonic() + longest
    while not (had := lock.take()) and time.monotonic() < latest:
        time.sleep(0.01)
    try:
        yield
    finally:
        if had:
            lock.release()


def _same(held: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    own = os.fstat(held)
    return (own.st_ino, own.st_dev) == (there.st_ino, there.st_dev)

"""Processes that end together: the kernel settings, and how descendants are found and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from relume.lab.trials import kernel

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


DEVICES: tuple[str, ...] = ("/dev/nvidia", "/dev/kfd", "/dev/dri")
"""Files that a process on a GPU has open."""


def uses_gpu() -> bool:
    """Whether this process has started to use a GPU; asks no framework, as that would start it."""
    with contextlib.suppress(OSError):
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{number}").startswith(DEVICES):
                    return True
    return False


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Get this signal when the parent dies, at once if it is already dead. Does nothing outside Linux."""
    with contextlib.suppress(OSError):
        kernel.prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os.kill(os.getpid(), by)


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, so that none is out of reach. Linux only."""
    with contextlib.suppress(OSError):
        kernel.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> list[int]:
    """The children of this process."""
    own = os.getpid()
    try:
        found = "".join(path.read_text() for path in Path(f"/proc/{own}/task").glob("*/children"))
        return [int(number) for number in found.split()]
    except OSError:  # a kernel without these files, or no /proc
        return [int(p.name) for p in Path("/proc").glob("[0-9]*") if _parent(p) == own]


def reap(pid: int) -> None:
    """Wait for a killed child; does nothing if it is gone."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def end_all() -> None:
    """Kill and reap this process's children, and the orphans it inherits, until none is left."""
    while True:
        for pid in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            reap(pid)
        try:  # the kernel's list may miss a new child
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.001)
        except ChildProcessError:
            return


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0

"""What a script does besides training that matters to a comparison: files, processes and downloads.

Python reports them through its audit events. Only the survey's process listens.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from relume.lab.trials.events import listen
from relume.lab.trials.sandbox import Sandbox
from relume.runner.children import in_loader
from relume.runner.imports import after_import

_PYTHON = re.compile(r"(^|[/\s])(python[\d.]*|pypy[\d.]*|torchrun|accelerate|deepspeed)(\s|$)")
_HERE = re.compile(r"localhost$|127\.|::1$|0\.0\.0\.0$|unix:|$")
_HOST = re.compile(r"[\w+.-]+://(?:[^/@]*@)?\[?([^/\]:]*)")
_FETCHED = 1_000_000
"""Bytes of new files; with more, a script that used the network may have fetched data."""

_RELUME = f"{Path(__file__).parents[2]}{os.sep}"

_SPAWNING = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")


class SideEffects:
    """Records what the script's process reads, writes, starts and requests after :meth:`start`.

    Args:
        sandbox: the script's.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._process = os.getpid()
        self._top = f"{sandbox.base}{os.sep}"
        self._children: list[tuple[str, str]] = []
        self._hosts: list[str] = []
        self._read: set[str] = set()
        self._written: dict[str, bool] = {}
        self._outside: set[str] = set()
        self._passing = _passing_places()

    def start(self) -> None:
        """Listen until the process ends."""
        listen(_EVENTS, self._hear)
        for name in _SPAWNING:
            after_import(name, functools.partial(self._await_spawning, name))

    def to_dict(self) -> dict[str, Any]:
        """What was recorded, as JSON.

        ``children``: unique (what, where) of processes in which the script's own code may train. ``hosts``: the
        machines it contacted. ``fresh``: files of the user's folder that it wrote without having read them.
        ``outside``: files that it wrote elsewhere; temporary files and caches are left out.
        """
        fresh = sorted(path for path, was_read in self._written.items() if not was_read)
        return {
            "children": self._children,
            "hosts": self._hosts,
            "fresh": fresh,
            "outside": sorted(self._outside),
        }

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        with contextlib.suppress(Exception):  # it only listens
            if os.getpid() == self._process:
                _EVENTS[event](self, *args)

    # ---- files -----------------------------------------------------------------------------------------------------

    def _will_open(self, path: Any, _mode: Any, flags: Any) -> None:
        if isinstance(path, int) or not isinstance(flags, int):
            return
        there = os.path.abspath(os.fsdecode(path))
        reads = not flags & (os.O_WRONLY | os.O_TRUNC)
        if there.startswith(self._top):
            there = self._sandbox.outside(os.path.realpath(there))
            if reads and os.path.exists(path):
                self._read.add(there)
        if not reads or flags & os.O_RDWR:
            self._will_write(there)

    def _will_rename(self, _old: Any, new: Any, *_: Any) -> None:
        self._will_write(self._sandbox.outside(os.path.abspath(os.fsdecode(new))))

    def _will_write(self, path: str) -> None:
        if path.startswith(f"{self._sandbox.root}{os.sep}"):
            self._written.setdefault(path, path in self._read)
        elif not path.startswith(self._passing) and "__pycache__" not in path:
            self._outside.add(path)

    # ---- processes and hosts ---------------------------------------------------------------------------------------

    def _will_run(self, command: Any, arguments: Any = None, *_: Any) -> None:
        words = [arguments] if isinstance(arguments, str | bytes) else list(arguments or [command])
        texts = [os.fsdecode(word) for word in words]
        program = os.path.basename(texts[0])
        by_shell = arguments is None or program in ("sh", "bash")
        told = texts[-1] if by_shell else " ".join([program, *texts[1:]])
        if _PYTHON.search(told if by_shell else program):
            self._note(f"`{told[:60]}`")

    def _will_fork(self) -> None:
        if not in_loader(sys._getframe(1)):
            self._note("a process that it forks")

    def _will_ask(self, host: Any, *_: Any) -> None:
        name = os.fsdecode(host or "")
        if not _HERE.match(name) and name not in self._hosts:
            self._hosts.append(name)

    def _will_request(self, url: str, *_: Any) -> None:
        host = _HOST.match(url)
        self._will_ask(host and host[1])

    def _await_spawning(self, name: str) -> None:
        kind = sys.modules[name].Popen
        launch: Callable[..., Any] = kind._launch

        @functools.wraps(launch)
        def launched(*args: Any, **kwargs: Any) -> Any:
            if not in_loader(sys._getframe(1)):
                self._note("a process that multiprocessing spawns")
            return launch(*args, **kwargs)

        kind._launch = launched

    def _note(self, what: str) -> None:
        said = what, self._where()
        if said not in self._children:
            self._children.append(said)

    def _where(self) -> str:
        """The innermost running line of the user's code."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            file = os.path.join(self._sandbox.cwd, frame.f_code.co_filename)
            if file.startswith(self._top) and not file.startswith(_RELUME) and "site-packages" not in file:
                return f"{os.path.relpath(file, self._sandbox.cwd)}:{frame.f_lineno}"
            frame = frame.f_back
        return ""


_EVENTS: dict[str, Callable[..., None]] = {
    "open": SideEffects._will_open,
    "os.rename": SideEffects._will_rename,
    "subprocess.Popen": SideEffects._will_run,
    "os.posix_spawn": SideEffects._will_run,
    "os.system": SideEffects._will_run,
    "os.fork": SideEffects._will_fork,
    "socket.getaddrinfo": SideEffects._will_ask,
    "urllib.Request": SideEffects._will_request,
}


def _passing_places() -> tuple[str, ...]:
    """Places where any program writes: devices, temporary files, caches."""
    caches = [os.environ.get("XDG_CACHE_HOME", ""), str(Path.home() / ".cache"), str(Path.home() / ".config")]
    places = ["/dev", "/proc", "/sys", tempfile.gettempdir(), *caches, "/var/tmp"]
    return tuple(f"{os.path.abspath(place)}{os.sep}" for place in places if place)


# ---- what they mean ------------------------------------------------------------------------------------------------


def summarize(heard: Mapping[str, Any], changed: Mapping[str, int], folder: Path) -> dict[str, Any]:
    """The survey's findings on files, as JSON; call it in a process that has not entered the sandbox.

    Args:
        heard: from :meth:`SideEffects.to_dict`.
        changed: from :meth:`Sandbox.changed`.
        folder: the user's working folder.

    Returns: ``written``: the changed files, relative to the working folder. ``resumed``: those that existed before and
        that the run may have needed, as it read them first, moved them, or let non-Python code write them. ``outside``
        and ``children``: as heard. ``remarks``: sentences.
    """
    new = {path: size for path, size in changed.items() if not os.path.lexists(path)}
    needed = changed.keys() - new.keys() - set(heard["fresh"])
    return {
        "written": relative(changed, folder),
        "resumed": relative(needed, folder),
        "outside": heard["outside"],
        "children": heard["children"],
        "remarks": [*_fetched(heard["hosts"], relative(new, folder), sum(new.values()))],
    }


def relative(paths: Iterable[str], folder: Path) -> list[str]:
    """Paths relative to the working folder, sorted."""
    return sorted(os.path.relpath(path, folder) for path in paths)


def _fetched(hosts: list[str], names: list[str], size: int) -> Iterator[str]:
    if hosts and size >= _FETCHED:
        tops = dict.fromkeys(Path(name).parts[0] if name[:2] != ".." else name for name in names)
        yield (
            f"The script contacted {_listed(hosts)}, and wrote {size / 1e6:.3g} MB of new files ({_listed(tops)}). "
            "Each trial starts without the script's output: if these are data, each would download them again. Run "
            "the script with `python` once before the comparison."
        )


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")

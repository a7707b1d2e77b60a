"""What a script does besides training that a comparison should know of: processes that it starts, and what it fetches.

Python tells of both through its audit events. Only a survey has a witness.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
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
"""Bytes of new files from which on a script that has asked the network for something may have fetched data."""

_SPAWNING = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")


class Witness:
    """Hears what the script's process starts and whom it asks, from :meth:`start` on.

    Args:
        sandbox: in which the script runs. ``supervised``: what code other than Python's writes there is told, too.

    Attributes:
        children: (what, where) of processes in which the script's own code may train, each once.
        hosts: the machines that it asked.
    """

    def __init__(self, sandbox: Sandbox, supervised: bool = True) -> None:
        self._sandbox = sandbox
        self._supervised = supervised
        self._process = os.getpid()
        self.children: list[tuple[str, str]] = []
        self.hosts: list[str] = []

    def start(self) -> None:
        """From now on, to the end of the process."""
        listen(_EVENTS, self._hear)
        for name in _SPAWNING:
            after_import(name, functools.partial(self._await_spawning, name))

    def remarks(self, written: Iterable[str]) -> Iterator[str]:
        """Sentences on what it does.

        Args:
            written: the files that it wrote, from its working folder.
        """
        if not self._supervised:
            yield (
                "This machine does not tell relume what code other than Python's is about to write (HDF5, safetensors, "
                "other programs): if the script writes files of this folder over in that way, give it another to write."
            )
        new = [path for path in written if not os.path.lexists(self._sandbox.folder / path)]
        size = sum(_size(self._sandbox.cwd / path) for path in new)
        if self.hosts and size >= _FETCHED:
            tops = dict.fromkeys(Path(path).parts[0] if path[:2] != ".." else path for path in new)
            yield (
                f"It asked {_listed(self.hosts)} for something, and made {size / 1e6:.3g} MB of new files "
                f"({_listed(tops)}). A trial begins without what the script writes: if these are data, each would "
                "fetch them anew. Let `python` fetch them once, before the comparison begins."
            )

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if os.getpid() == self._process:
            with contextlib.suppress(Exception):  # it only listens
                _EVENTS[event](self, *args)

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
        if not _HERE.match(name) and name not in self.hosts:
            self.hosts.append(name)

    def _will_request(self, url: str, *_: Any) -> None:
        host = _HOST.match(url)
        self._will_ask(host and host[1])

    def _await_spawning(self, name: str) -> None:
        kind = sys.modules[name].Popen
        launch: Callable[..., Any] = kind._launch

        @functools.wraps(launch)
        def launched(*args: Any, **kwargs: Any) -> Any:
            if not in_loader(sys._getframe(1)):
                self._note("a process that multiprocessing starts anew")
            return launch(*args, **kwargs)

        kind._launch = launched

    def _note(self, what: str) -> None:
        said = what, self._where()
        if said not in self.children:
            self.children.append(said)

    def _where(self) -> str:
        """The innermost line of the user's that is running."""
        top = f"{self._sandbox.base}{os.sep}"
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            file = os.path.join(self._sandbox.cwd, frame.f_code.co_filename)
            if file.startswith(top):
                return f"{os.path.relpath(file, self._sandbox.cwd)}:{frame.f_lineno}"
            frame = frame.f_back
        return ""


_EVENTS: dict[str, Callable[..., None]] = {
    "subprocess.Popen": Witness._will_run,
    "os.posix_spawn": Witness._will_run,
    "os.system": Witness._will_run,
    "os.fork": Witness._will_fork,
    "socket.getaddrinfo": Witness._will_ask,
    "urllib.Request": Witness._will_request,
}


def _size(file: Path) -> int:
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")

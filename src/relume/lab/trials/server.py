"""The server from which a study's trials are forked: it has made their imports.

It runs no user code. The driver sends it specs over a pipe; when the pipe closes, or the driver dies, it ends itself
and all trials.

``python -c "from relume.lab.trials.server import main; main(DESCRIPTOR)"``
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import traceback
import weakref
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from relume.framework import FRAMEWORKS
from relume.lab import capture
from relume.lab.trials.forked import OutputPlace
from relume.lab.trials.isolation import Isolation
from relume.lab.trials.processes import adopt_orphans, die_with_parent, end_all, uses_gpu
from relume.lab.trials.sandbox import remove
from relume.lab.trials.spec import TrialSpec
from relume.lab.trials.supervise import Supervised, begin, finish

UNFORKABLE = ("tensorflow", "jax", "jaxlib")
"""Packages that start their own threads: a process that has loaded them is not forked."""

_TICK = 1.0
_HEARD = (signal.SIGCHLD, signal.SIGTERM)


def main(descriptor: int) -> None:
    """Serve the driver at the other end of this descriptor, until it closes it.

    The server is a child of this process, which ends everything when either of the two, driver or server, is killed.
    """
    driver, folder = os.getppid(), Path.cwd()
    adopt_orphans()
    above = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    server = os.fork()
    if server == 0:
        try:
            signal.signal(signal.SIGTERM, _leave)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            die_with_parent(above, signal.SIGTERM)
            adopt_orphans()
            _serve(descriptor)
        except (EOFError, OSError):
            pass
        except BaseException:  # noqa: BLE001 - there is nobody above it
            traceback.print_exc()
        finally:
            remove(folder)  # the process above may be gone
            os._exit(0)
    os.close(descriptor)
    _await_end(driver, server)
    end_all()
    remove(folder)


def _await_end(driver: int, server: int) -> None:
    """Wait until either has ended, or a signal arrives. The signals are blocked."""
    while os.getppid() == driver and os.waitpid(server, os.WNOHANG)[0] == 0:
        heard = signal.sigtimedwait(_HEARD, _TICK)
        if heard is not None and heard.si_signo == signal.SIGTERM:
            return


def _serve(descriptor: int) -> None:
    with Connection(descriptor) as pipe:
        body, root = pipe.recv()
        capture.prepare()
        _ForkServer(pipe, body, root).serve()


def load(modules: Iterable[str], root: str) -> None:
    """Import these as far as possible, and trigger the frameworks' first-use work.

    No user code runs here: modules below ``root`` are left to the trials, except an environment's.
    """
    for name in modules:
        top = name.partition(".")[0]
        if name not in sys.modules and top not in UNFORKABLE and not _is_below(top, root):
            with contextlib.suppress(BaseException):  # the script will meet the error itself
                import_module(name)
    if "numpy" in sys.modules:
        import_module("numpy.polynomial")  # loaded late, by the gains of activations
    for framework in FRAMEWORKS:
        if framework.package in sys.modules and framework.trials is not None:
            framework.load_trials().warm()
            framework.load_treatment()
            framework.load_probe()


def _is_below(module: str, root: str) -> bool:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # gone, or without a spec
        return False
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    below = [place for place in places if os.path.realpath(place).startswith(f"{root}{os.sep}")]
    return any("site-packages" not in place for place in below)


def unforkable() -> str:
    """Why this process may not be forked; "" if it may."""
    loaded = [name for name in UNFORKABLE if name in sys.modules]
    if loaded:
        return f"{loaded[0]} is loaded"
    with contextlib.suppress(OSError):
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            return f"{threads - 1} other threads are running"
    return "a GPU is in use" if uses_gpu() else ""


def _keep_finalizers() -> list[Any]:
    """Run the libraries' exit handlers when this process ends, not at the end of every trial.

    They delete temporary folders; and running the others touches, and so copies, much of the shared memory.
    """
    found = [each for each in list(weakref.finalize._registry) if each.atexit]  # type: ignore[attr-defined]
    for each in found:
        each.atexit = False
    return found


class _ForkServer:
    """Forks a process for each spec, and tells the driver which have ended."""

    def __init__(self, pipe: Connection, body: str, root: str) -> None:
        self._pipe = pipe
        self._body = body
        self._root = root
        self._isolation = Isolation()
        self._finalizers: list[Any] = []
        self._above = os.getppid()
        self._running: dict[int, tuple[int, Supervised]] = {}
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Serve until the driver closes its end."""
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                left = [kept.left for _, kept in self._running.values() if kept.left is not None]
                ready = wait([self._pipe, self._woken], min(left, default=None))
                if self._woken in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                self._reap()
                if os.getppid() != self._above:  # an import may have hidden its signal
                    return
                if self._pipe in ready:
                    self._heed(*self._pipe.recv())
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_all()
            for _, kept in self._running.values():
                remove(Path(kept.place.work))
            for finalizer in self._finalizers:
                with contextlib.suppress(Exception):
                    finalizer()

    def _heed(self, what: str, *given: Any) -> None:
        """Handle a message of the driver: ``load`` modules, or ``run`` a trial."""
        if what == "load":
            self._load(*given)
        else:
            self._begin(*given)

    def _load(self, modules: Iterable[str]) -> None:
        """Import these, and report why this process may not be forked afterwards. No trial runs meanwhile."""
        load(modules, self._root)
        with contextlib.suppress(ImportError):
            import_module(self._body.partition(":")[0])
        self._finalizers += _keep_finalizers()
        gc.collect()
        gc.freeze()  # their garbage collections do not touch shared memory
        self._pipe.send(unforkable())

    def _begin(self, number: int, told: dict[str, Any], place: OutputPlace, look: bool) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)  # their handlers are only ours
        closing = (self._pipe.fileno(), self._woken, self._wake)
        try:
            order = TrialSpec.from_dict(told)
            kept = begin(order, place, self._body, isolation=self._isolation, look=look, closing=closing)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
        if kept.pid:
            self._running[kept.pid] = number, kept
        else:
            self._pipe.send(number)

    def _reap(self) -> None:
        """Report ended trials, and end those that have run too long."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._running:
                number, kept = self._running.pop(pid)
                finish(kept, status, usage, self._running)
                self._pipe.send(number)
        for _, kept in self._running.values():
            if kept.left == 0.0:
                kept.end()


def _leave(*_: Any) -> None:
    raise EOFError


def alone() -> None:
    """Run one trial, given as JSON on stdin, and exit: for a node without a server."""
    told = json.load(sys.stdin)
    parent = os.getppid()
    adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    kept = begin(TrialSpec.from_dict(told["order"]), OutputPlace(*told["place"]), told["body"], isolation=Isolation())
    while kept.pid and os.getppid() == parent:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if pid == kept.pid:
            finish(kept, status, usage, ())
            return
        if pid == 0:
            heard = signal.sigtimedwait(_HEARD, _TICK if kept.left is None else min(_TICK, kept.left))
            if heard is not None and heard.si_signo == signal.SIGTERM:
                break
            if kept.left == 0.0:
                kept.end()
    end_all()


def command(what: str, *args: object) -> list[str]:
    """The command line for a function of this module, in an interpreter like this one."""
    import subprocess

    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    given = ", ".join(map(repr, args))
    return [sys.executable, *flags, "-c", f"from relume.lab.trials.server import {what}; {what}({given})"]

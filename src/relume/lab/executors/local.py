"""Trials on this machine, forked from a server that has imported what they need."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Pipe, wait
from pathlib import Path

from relume.artifacts.trial import Trial
from relume.errors import StudyError
from relume.lab.executors import LOST, TRIES, Executor, Places
from relume.lab.executors import cores as cores
from relume.lab.trials.forked import Outcome, OutputPlace, environment
from relume.lab.trials.sandbox import root_of
from relume.lab.trials.server import command
from relume.lab.trials.spec import TrialSpec
from relume.lab.trials.supervise import read_outcome

LEAST_ROOM = 1_000_000
"""Bytes: with less left, the disk counts as full."""

_PATIENCE = 20.0
"""Seconds that a server has to end after it is asked to."""


@dataclass
class _Running:
    order: TrialSpec
    place: OutputPlace
    gpus: tuple[str, ...]
    tries: int = 1
    server: _Server | None = None


@dataclass
class LocalExecutor(Executor):
    """Runs trials here. If ``preload`` is empty, it becomes what the first trial imports.

    Attributes:
        jobs: how many at a time; 0: one per core, or one per GPU once a trial has used one.
        gpus: names of the GPUs, as in CUDA_VISIBLE_DEVICES; None: those that this process would see.
        why_not_forked: why the server imports nothing beforehand; "" if it does.
    """

    jobs: int = 0
    gpus: tuple[str, ...] | None = None
    why_not_forked: str = ""
    _each: float = field(default=0.0, repr=False)
    _servers: list[_Server] = field(default_factory=list, repr=False)

    def close(self) -> None:
        """End the server and all that runs."""
        while self._servers:
            self._servers.pop().close()

    def run(self, orders: Iterable[TrialSpec]) -> Iterator[Outcome]:
        """Run them; see :class:`~relume.lab.executors.Executor`."""
        queue = _Queue(orders, self.places, _Devices(gpus() if self.gpus is None else self.gpus), self._each)
        running: dict[int, _Running] = {}
        number = 0
        try:
            while True:
                while len(running) < (self.jobs or cores()) and (entry := queue.next()) is not None:
                    number += 1
                    server = self._server(running.values(), entry.order)
                    place = replace(entry.place, work=server.work(number))
                    running[number] = replace(entry, server=server, place=place)
                    server.send(number, running[number], look=not self.preload)
                if not running:
                    return
                for each in self._ended(running):
                    entry = running.pop(each)
                    outcome = queue.ended(entry)
                    if outcome is not None:
                        if outcome.trial.status == "failed":
                            _demand_room(os.path.dirname(entry.place.log))
                            _demand_room(os.path.dirname(entry.place.work), outcome.found.get("room"))
                        self.preload = self.preload or tuple(outcome.found.get("installed", ()))
                        if outcome.found.get("gpu") and not self.jobs:
                            self._each = queue.each = 1.0
                        yield outcome
                if self.is_over():
                    return
        finally:
            if running:
                self.close()

    def _server(self, running: Iterable[_Running], order: TrialSpec) -> _Server:
        """The server for the next trial, with its imports made; a new one if that one is busy."""
        busy = {id(entry.server) for entry in running}
        latest = self._servers[-1] if self._servers else None
        if latest is None or (latest.preload != self.preload and not self.why_not_forked):
            idle_one = self._servers.pop() if latest is not None and id(latest) not in busy else None
            self._servers.append(self._ready(order, idle_one))
        for idle in [each for each in self._servers[:-1] if id(each) not in busy]:
            self._servers.remove(idle)
            idle.close()
        return self._servers[-1]

    def _ended(self, running: dict[int, _Running]) -> list[int]:
        """Wait; returns the numbers of ended trials, including those of a lost server."""
        found: list[int] = []
        ready = wait([each.pipe for each in self._servers], self.left())
        for server in [each for each in self._servers if each.pipe in ready]:
            try:
                found += server.ended()
            except (EOFError, OSError):
                self._servers.remove(server)
                server.close()
                found += [number for number, entry in running.items() if entry.server is server]
        return list(dict.fromkeys(found))

    def _ready(self, order: TrialSpec, server: _Server | None = None) -> _Server:
        """A server, this or a new one, that has imported what trials of this script import."""
        server = server or self._start(order)
        why_not = server.load(self.preload)
        if why_not:
            self.why_not_forked = why_not
            server = self._start(order)
            if why_not := server.load(()):
                raise StudyError(
                    f"The process that starts trials does not run here: {why_not}. Expected an interpreter that "
                    f"imports relume. To see the cause, run `{sys.executable} -c 'import relume.lab.trials.server'`; "
                    "then repeat the command.",
                    slug="no-server",
                )
        server.preload = self.preload
        return server

    def _start(self, order: TrialSpec) -> _Server:
        return _Server(self.threads, self.body, root_of(Path(order.script.folder).resolve()))


class _Queue:
    """What is still to be started: specs, and those to be started again."""

    def __init__(self, orders: Iterable[TrialSpec], places: Places, devices: _Devices, each: float) -> None:
        self._orders = iter(orders)
        self._places = places
        self._devices = devices
        self.each = each
        self._waiting: TrialSpec | None = None
        self._again: list[_Running] = []

    def next(self) -> _Running | None:
        """What can be started now; None if nothing is left, or a GPU must become free first."""
        if self._again:
            return self._again.pop()
        order = self._waiting or next(self._orders, None)
        if order is None:
            return None
        if not order.gpus and self._devices:
            order = replace(order, gpus=self.each)
        given = self._devices.take(order.gpus)
        self._waiting = order if given is None else None
        if given is None:
            return None
        if given:
            order = replace(order, environment={**order.environment, "CUDA_VISIBLE_DEVICES": ",".join(given)})
        return _Running(order, self._places(order), given)

    def ended(self, entry: _Running) -> Outcome | None:
        """Its outcome; None if it was killed from outside and is started again."""
        outcome = read_outcome(entry.order, entry.place)
        if outcome is None and entry.tries < TRIES:
            self._again.append(replace(entry, tries=entry.tries + 1))
            return None
        self._devices.give_back(entry.gpus, entry.order.gpus)
        return outcome or Outcome(entry.order, Trial(entry.order.key, "failed", error=LOST), {})


class _Server:
    """The driver's end of a server, which works in its own folder outside the user's.

    Attributes:
        preload: the executor's, when it was last told to load.
    """

    def __init__(self, threads: int, body: str, root: Path) -> None:
        self.preload: tuple[str, ...] = ()
        self._folder = tempfile.TemporaryDirectory(prefix="relume-", dir=_outside(root), ignore_cleanup_errors=True)
        self.pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                command("main", theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._folder.name,
                env=environment(threads, os.environ),
                start_new_session=True,  # Ctrl-C is the driver's to hear
            )
        with contextlib.suppress(OSError):  # gone: `load` will tell
            self.pipe.send((body, str(root)))

    def load(self, modules: tuple[str, ...]) -> str:
        """Make it import these, while it runs no trial.

        Returns: why trials cannot be forked from it then, in which case it is closed; "" if they can.
        """
        try:
            self.pipe.send(("load", modules))
            why_not: str = self.pipe.recv()
        except (EOFError, OSError):
            why_not = "it ended during its imports"
        except BaseException:
            self.close()
            raise
        if why_not:
            self.close()
        return why_not

    def work(self, number: int) -> str:
        """The folder of a trial."""
        return os.path.join(self._folder.name, str(number))

    def send(self, number: int, entry: _Running, look: bool) -> None:
        """Run a trial; ``look``: whether it reports what it writes and imports."""
        with contextlib.suppress(OSError):  # gone: `ended` will tell
            self.pipe.send(("run", number, entry.order.to_dict(), entry.place, look))

    def ended(self) -> list[int]:
        """The numbers of trials that have ended.

        Raises: EOFError, OSError: the server is gone.
        """
        found: list[int] = []
        while self.pipe.poll():
            found.append(self.pipe.recv())
        return found

    def close(self) -> None:
        """End it, and everything below it."""
        self.pipe.close()
        try:
            self._process.wait(_PATIENCE)
        except BaseException as error:
            self._process.kill()
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
        finally:
            self._folder.cleanup()


def _outside(root: Path) -> str:
    """A folder for temporary files that is not below ``root``: an overlay cannot write into what it shows.

    Raises: StudyError: no such folder is writable.
    """
    places = [tempfile.gettempdir(), "/var/tmp", str(Path.home() / ".cache")]
    for place in places:
        if os.access(place, os.W_OK) and not Path(place).resolve().is_relative_to(root):
            return place
    raise StudyError(
        f"Trials write outside {root}, but {', '.join(places)} are inside it or not writable. Set TMPDIR to a folder "
        "outside it, or run the command in a subfolder.",
        slug="no-room-for-trials",
    )


class _Devices:
    """Which GPUs are taken, and how much of each."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._free = dict.fromkeys(names, 1.0)

    def __len__(self) -> int:
        return len(self._free)

    def take(self, wanted: float) -> tuple[str, ...] | None:
        """GPUs for a trial, whole or a part of one; None while too few are free.

        Raises: StudyError: there are fewer.
        """
        whole = max(1, round(wanted)) if wanted > 0 else 0
        if whole > len(self._free):
            raise StudyError(
                f"A trial needs {wanted:g} GPUs, but this machine shows {len(self._free)}. Give --gpus-per-trial a "
                "smaller number, or omit it.",
                slug="too-few-gpus",
            )
        share = min(wanted, 1.0)
        found = [name for name, free in self._free.items() if free >= share - 1e-9][:whole]
        if len(found) < whole:
            return None
        self._add(found, -share)
        return tuple(found)

    def give_back(self, names: Iterable[str], wanted: float) -> None:
        """Free them again."""
        self._add(names, min(wanted, 1.0))

    def _add(self, names: Iterable[str], share: float) -> None:
        for name in names:
            self._free[name] += share


def gpus() -> tuple[str, ...]:
    """The GPUs that a process here would see, without starting CUDA."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return tuple(name.strip() for name in shown.split(",") if name.strip() not in ("", "-1"))
    with contextlib.suppress(OSError):
        return tuple(str(number) for number in range(len(os.listdir("/proc/driver/nvidia/gpus"))))
    return ()


def _demand_room(folder: str, left: int | None = None) -> None:
    """A trial that failed on a full disk is not the script's failure.

    Raises: StudyError: the disk of a folder is full, or was with this number of bytes left.
    """
    with contextlib.suppress(OSError):
        if (shutil.disk_usage(folder).free if left is None else left) < LEAST_ROOM:
            raise StudyError(
                f"The disk of {folder} is full, so a trial failed. It was not recorded; earlier results are intact. "
                "Free some space, or set TMPDIR to a folder with more, and run the same command again: it continues "
                "from there.",
                slug="study-unwritable",
            )

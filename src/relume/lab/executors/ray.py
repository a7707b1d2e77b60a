"""Trials on a Ray cluster, as Ray Core tasks: the study stays with the driver, the nodes only run.

Each task starts a fresh interpreter, as a worker of Ray has threads and is no place to fork from. A node that sees the
user's folder at the same path uses it; another gets a copy without data. relume and what the script imports must be
installed on every node.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from relume.artifacts.trial import Trial
from relume.artifacts.trial_json import trial_from_json, trial_to_json
from relume.errors import MissingExtra, StudyError
from relume.lab.executors import LOST, TRIES, Executor, cores
from relume.lab.trials.forked import Outcome, Place, environment
from relume.lab.trials.server import command
from relume.lab.trials.spec import TrialSpec
from relume.lab.trials.supervise import read_outcome

LARGE = 1_000_000
"""Bytes from which on a file is taken for data, and not uploaded."""

DATA_FOLDERS = frozenset(
    "data dataset datasets checkpoints runs wandb mlruns lightning_logs outputs node_modules __pycache__ venv".split()
)
"""Folders that are not uploaded, besides hidden ones."""

_MOST = 100_000_000
_LONGEST_LOG = 10_000_000
_NODE_LOST = 3
"""Times that Ray begins a task again whose node or worker is lost."""


@dataclass
class RayExecutor(Executor):
    """Runs trials on Ray: the log lies here, the work folder on the node. ``preload`` is not used.

    Attributes:
        address: of the cluster, or "local": one that is started here and ends with this executor.
        left_out: files and folders that are not uploaded to nodes that do not see the user's folder.
    """

    address: str = "local"
    left_out: tuple[str, ...] = ()
    _ray: Any = field(default=None, repr=False)
    _began_ray: bool = field(default=False, repr=False)

    def close(self) -> None:
        """Leave the cluster; end it where it was started here."""
        if self._ray is not None and self._began_ray:
            self._ray.shutdown()
        self._ray, self._began_ray = None, False

    def run(self, orders: Iterable[TrialSpec]) -> Iterator[Outcome]:
        """Run them; see :class:`~relume.lab.executors.Executor`.

        Raises:
            MissingExtra: Ray is not installed.
            StudyError: the cluster cannot be reached, or the folder is too large to be uploaded.
        """
        ray = self._connect()
        ahead, again, running = iter(orders), list[tuple[TrialSpec, int]](), dict[Any, tuple[TrialSpec, int]]()
        folders: dict[str, Any] = {}
        try:
            while True:
                while len(running) < self._room(ray):
                    order, tries = again.pop() if again else (next(ahead, None), 1)
                    if order is None:
                        break
                    folder = order.script.folder
                    if folder not in folders:
                        folders[folder] = ray.put(self._packed(Path(folder)))
                    running[self._submit(ray, order, folders[folder])] = order, tries
                if not running:
                    return
                for task in ray.wait(list(running), timeout=self.left())[0]:
                    order, tries = running.pop(task)
                    outcome = self._outcome(ray, order, task)
                    if outcome is None and tries < TRIES:
                        again.append((order, tries + 1))
                    else:
                        yield outcome or Outcome(order, Trial(order.key, "failed", error=LOST), {})
                if self.is_over():
                    return
        finally:
            for task in running:
                ray.cancel(task, force=True)

    def _connect(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # half a minute of trying, instead of ten
        try:
            import ray
        except ImportError as absent:
            raise MissingExtra(
                f"--ray needs a package that is not installed ({absent}): pip install 'relume[ray]'",
                slug="missing-extra",
            ) from absent
        if self._ray is None:
            if not ray.is_initialized():
                asked: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
                if self.address == "local":
                    asked["num_cpus"] = cores()
                try:
                    ray.init(self.address, include_dashboard=False, **asked)
                except (ConnectionError, ValueError, RuntimeError) as error:
                    raise StudyError(
                        f"Cannot reach a Ray cluster at {self.address} ({error}). Give the address that `ray status` "
                        "knows, or `--ray local`.",
                        slug="ray-unreachable",
                    ) from error
                self._began_ray = True
                _speak_to_stderr()
            self._ray = ray
        return self._ray

    def _room(self, ray: Any) -> int:
        """Trials that the cluster can run at a time, as it is now; nodes may come and go."""
        processors = ray.cluster_resources().get("CPU", 0.0)
        return max(1, int(processors // self.threads))

    def _submit(self, ray: Any, order: TrialSpec, packed: Any) -> Any:
        options = {"num_cpus": self.threads, "num_gpus": order.gpus, "max_calls": 1, "max_retries": _NODE_LOST}
        return ray.remote(**options)(run_here).remote(order.to_dict(), self.body, _mark(order), packed)

    def _outcome(self, ray: Any, order: TrialSpec, task: Any) -> Outcome | None:
        try:
            told, log = ray.get(task)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.RaySystemError, ray.exceptions.ObjectLostError):
            return None
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Outcome(order, Trial(order.key, "failed", error=f"Ray: {lines[-1]}"), {})
        Path(self.places(order).log).write_bytes(log)
        return None if told is None else Outcome(order, trial_from_json(told["trial"]), told["found"])

    def _packed(self, folder: Path) -> bytes:
        """The folder as an archive, without what is taken for data."""
        archive, left, size = io.BytesIO(), [], 0
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for above, folders, names in os.walk(folder):
                kept = [name for name in folders if name not in DATA_FOLDERS and not _is_private(Path(above, name))]
                left += [f"{Path(above, name).relative_to(folder)}/" for name in folders if name not in kept]
                folders[:] = kept
                for name in names:
                    path = Path(above, name)
                    with contextlib.suppress(OSError):
                        if path.stat().st_size > LARGE:
                            left.append(str(path.relative_to(folder)))
                            continue
                        file.write(path, path.relative_to(folder))
                        size += path.stat().st_size
                if size > _MOST:
                    raise StudyError(
                        f"{folder} holds more than {_MOST // 1_000_000} MB without what is taken for data. Start from "
                        "the folder that holds the script, or on a file system that all nodes share.",
                        slug="too-much-to-upload",
                    )
        self.left_out = tuple(sorted(left))
        return archive.getvalue()


def _speak_to_stderr() -> None:
    """Ray prints what its nodes complain of to stdout, which is the results'; there is no setting for it."""
    from ray._private import worker

    with contextlib.suppress(AttributeError):
        own = worker.print_to_stdstream
        worker.print_to_stdstream = lambda data, *args, **options: own({**data, "is_err": True}, *args, **options)


# ---- on the node ---------------------------------------------------------------------------------------------------


def run_here(told: dict[str, Any], body: str, mark: str, packed: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """One trial on the node on which this is called: its outcome as JSON, None where it was killed, and its log."""
    order = TrialSpec.from_dict(told)
    with tempfile.TemporaryDirectory(prefix="relume-", ignore_cleanup_errors=True) as top:
        if _mark(order) != mark:  # another file system
            folder = Path(top, "uploaded", Path(order.script.folder).name)
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                archive.extractall(folder)
            order = replace(order, script=replace(order.script, folder=str(folder)))
        place = Place(f"{top}/log", work=f"{top}/work")
        (Path(top) / "server").mkdir()
        task = json.dumps({"order": order.to_dict(), "place": [place.log, place.study, place.work], "body": body})
        subprocess.run(
            command("alone"),
            input=task.encode(),
            stdout=subprocess.DEVNULL,
            cwd=f"{top}/server",
            env=environment(order.threads, os.environ),
            check=False,
        )
        outcome = read_outcome(order, place)
        log = Path(place.log).read_bytes()[-_LONGEST_LOG:] if Path(place.log).exists() else b""
        return outcome and {"trial": trial_to_json(outcome.trial), "found": outcome.found}, log


def _mark(order: TrialSpec) -> str:
    """What tells whether two nodes see the same folder."""
    folder = Path(order.script.folder)
    try:
        info = folder.stat()
        text = "" if order.script.is_module else (folder / order.script.script).read_bytes().hex()
        return hashlib.sha256(f"{info.st_mtime_ns} {text}".encode()).hexdigest()
    except OSError:
        return ""


def _is_private(path: Path) -> bool:
    return path.name.startswith(".") or (path / "study.json").exists()

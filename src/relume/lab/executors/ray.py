"""Trials on a Ray cluster, as Ray Core tasks: the study stays with the driver, the nodes only run trials.

Each task starts a fresh interpreter, as a Ray worker has threads and cannot fork safely. Every node must see the user's
folder at the same path, and have relume and what the script imports installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relume.artifacts.trial import Trial
from relume.artifacts.trial_json import trial_from_json, trial_to_json
from relume.errors import MissingExtra, StudyError
from relume.lab.executors import LOST, TRIES, Executor, cores
from relume.lab.trials.forked import Outcome, OutputPlace, environment
from relume.lab.trials.server import command
from relume.lab.trials.spec import TrialSpec
from relume.lab.trials.supervise import read_outcome

_LONGEST_LOG = 10_000_000
_NODE_LOST = 3
"""Times that Ray restarts a task whose node or worker is lost."""


@dataclass
class RayExecutor(Executor):
    """Runs trials on Ray: the log is here, the work folder on the node. ``preload`` is not used.

    Attributes:
        address: of the cluster, or "local" to start one here that ends with this executor.
    """

    address: str = "local"
    _ray: Any = field(default=None, repr=False)
    _began_ray: bool = field(default=False, repr=False)

    def close(self) -> None:
        """Leave the cluster; end it if it was started here."""
        if self._ray is not None and self._began_ray:
            self._ray.shutdown()
        self._ray, self._began_ray = None, False

    def run(self, orders: Iterable[TrialSpec]) -> Iterator[Outcome]:
        """Run them; see :class:`~relume.lab.executors.Executor`.

        Raises:
            MissingExtra: Ray is not installed.
            StudyError: the cluster cannot be reached.
        """
        ray = self._connect()
        ahead, again, running = iter(orders), list[tuple[TrialSpec, int]](), dict[Any, tuple[TrialSpec, int]]()
        try:
            while True:
                while len(running) < self._room(ray):
                    order, tries = again.pop() if again else (next(ahead, None), 1)
                    if order is None:
                        break
                    running[self._submit(ray, order)] = order, tries
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
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # try for half a minute instead of ten
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
                        "shows, or `--ray local`.",
                        slug="ray-unreachable",
                    ) from error
                self._began_ray = True
                _speak_to_stderr()
            self._ray = ray
        return self._ray

    def _room(self, ray: Any) -> int:
        """Trials that the cluster can run at once now; nodes may come and go."""
        processors = ray.cluster_resources().get("CPU", 0.0)
        return max(1, int(processors // self.threads))

    def _submit(self, ray: Any, order: TrialSpec) -> Any:
        options = {"num_cpus": self.threads, "num_gpus": order.gpus, "max_calls": 1, "max_retries": _NODE_LOST}
        return ray.remote(**options)(run_here).remote(order.to_dict(), self.body, _mark(order))

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


def _speak_to_stderr() -> None:
    """Ray prints its nodes' complaints to stdout, which is for results; no setting changes that."""
    from ray._private import worker

    with contextlib.suppress(AttributeError):
        own = worker.print_to_stdstream
        worker.print_to_stdstream = lambda data, *args, **options: own({**data, "is_err": True}, *args, **options)


# ---- on the node ---------------------------------------------------------------------------------------------------


def run_here(told: dict[str, Any], body: str, mark: str) -> tuple[dict[str, Any] | None, bytes]:
    """Run one trial on this node: its outcome as JSON, None if it was killed, and its log."""
    order = TrialSpec.from_dict(told)
    if _mark(order) != mark:
        error = f"this node does not see {order.script.folder}: put it on a file system that all nodes share"
        return {"trial": trial_to_json(Trial(order.key, "failed", error=error)), "found": {}}, b""
    with tempfile.TemporaryDirectory(prefix="relume-", ignore_cleanup_errors=True) as top:
        place = OutputPlace(f"{top}/log", work=f"{top}/work")
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
    """The digest of the script, by which a node knows whether it sees the driver's; "" if its folder is not there."""
    folder = Path(order.script.folder)
    try:
        text = b"" if order.script.is_module else (folder / order.script.script).read_bytes()
        return hashlib.sha256(text).hexdigest() if folder.is_dir() else ""
    except OSError:
        return ""

"""The parent's part of a trial: make its sandbox, start it, wait for it, clean up, and report its outcome.

If a trial cannot report its outcome, because it was killed, timed out or called ``os._exit``, the parent does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from relume.artifacts.trial import Trial
from relume.artifacts.trial_json import trial_from_json, trial_to_json
from relume.lab.trials.forked import BODY, RESULT, STDERR, Here, Outcome, OutputPlace, live, write_whole
from relume.lab.trials.isolation import Isolation
from relume.lab.trials.processes import children, reap
from relume.lab.trials.sandbox import Sandbox, remove
from relume.lab.trials.side_effects import relative, summarize
from relume.lab.trials.spec import TrialSpec
from relume.lab.trials.streams import join


@dataclass
class Supervised:
    """A running trial, as its parent sees it.

    Attributes:
        order, place: its spec and folders. ``look``: whether it reports what it has written and imported.
        sandbox: its sandbox. ``caution``: what that cannot do; "" for nothing.
        pid: its process, the first of its session; 0 if none could be started.
        began: by ``time.perf_counter``. ``timed_out``: it was ended.
    """

    order: TrialSpec
    place: OutputPlace
    look: bool = False
    sandbox: Sandbox | None = None
    caution: str = ""
    pid: int = 0
    began: float = field(default_factory=time.perf_counter)
    timed_out: bool = False

    @property
    def left(self) -> float | None:
        """Seconds until its timeout; None without one."""
        if self.order.timeout is None or self.timed_out:
            return None
        return max(0.0, self.began + self.order.timeout - time.perf_counter())

    def end(self) -> None:
        """It has run too long."""
        self.timed_out = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def begin(
    order: TrialSpec,
    place: OutputPlace,
    body: str = BODY,
    *,
    isolation: Isolation,
    look: bool = False,
    closing: tuple[int, ...] = (),
) -> Supervised:
    """Start a trial in a forked process, which never returns from here.

    Args:
        order: which trial.
        place: where.
        body: ``package.module:function``, see :data:`~relume.lab.trials.forked.BODY`.
        isolation: makes its sandbox.
        look: whether it finally reports what it has written and imported; a survey always does.
        closing: descriptors of this process to close in the trial's.
    """
    kept = Supervised(order, place, look or order.plan is None)
    work, folder = Path(place.work), Path(order.script.folder)
    try:
        work.mkdir(parents=True)
        script = "" if order.script.is_module else order.script.script
        hidden = [*order.written, *([place.study] if place.study else [])]
        kept.sandbox = isolation.sandbox(work, folder, hidden, script)
        kept.caution = isolation.caution(folder)
        if os.path.isabs(script):
            script = str(kept.sandbox.inside(Path(kept.sandbox.script)))
            order = replace(order, script=replace(order.script, script=script))
        parent = os.getpid()
        kept.began = time.perf_counter()
        kept.pid = os.fork()
        if kept.pid == 0:
            live(Here(order, place, kept.sandbox, kept.look), body, parent, closing)
    except OSError as error:  # the user's files are not protected, or no process can be started
        _say(kept, Trial(order.key, "failed", error=f"it could not be started: {error}"))
    return kept


def finish(kept: Supervised, status: int, usage: Any, others: Collection[int]) -> None:
    """A trial's process has ended: end what it left behind, and write its outcome.

    Args:
        kept: the trial.
        status: from ``os.wait4``, and
        usage: likewise.
        others: processes of other trials.
    """
    took = time.perf_counter() - kept.began
    end_of(kept, others)
    found: dict[str, Any] = {}
    killed = False
    try:
        told = json.loads((Path(kept.place.work) / RESULT).read_text(encoding="utf-8"))
        trial, found = trial_from_json(told["trial"]), told["found"]
    except (OSError, ValueError, KeyError, TypeError):
        trial = Trial(kept.order.key, "failed", error=_in_words(status))
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    found |= _told(kept, found.pop("heard", None))
    join(Path(kept.place.log), Path(kept.place.work) / STDERR)
    if kept.timed_out and not found:
        trial = replace(trial, status="timeout", error=f"ended after {kept.order.timeout:g} s, its timeout")
    trial = replace(
        trial,
        seconds=trial.seconds or took,
        cpu_seconds=trial.cpu_seconds or usage.ru_utime + usage.ru_stime,
        peak_memory=trial.peak_memory or usage.ru_maxrss * 1024,
    )
    if trial.status == "failed":
        with contextlib.suppress(OSError):
            found["room"] = shutil.disk_usage(kept.place.work).free
    _say(kept, trial, found=found, killed=killed and not kept.timed_out)
    remove(Path(kept.place.work))


def _told(kept: Supervised, heard: dict[str, Any] | None) -> dict[str, Any]:
    """A trial's side effects."""
    if not kept.look or kept.sandbox is None:
        return {}
    changed = dict(kept.sandbox.changed())
    if heard is None:
        return {"written": relative(changed, kept.sandbox.folder)}
    told = summarize(heard, changed, kept.sandbox.folder)
    return told | {"remarks": [*told["remarks"], *([kept.caution] if kept.caution else [])]}


def end_of(kept: Supervised, others: Collection[int]) -> None:
    """Kill what a trial has left behind: its session, and orphans inherited by this process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(kept.pid, signal.SIGKILL)
    while True:
        left = [pid for pid in children() if pid not in others and (not others or _is_of(pid, kept, others))]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            reap(pid)


def read_outcome(order: TrialSpec, place: OutputPlace) -> Outcome | None:
    """The outcome of a spec; removes the file. None if it should run again.

    That is if its parent did not finish, or if it died of a SIGKILL that was not relume's.
    """
    file = _outcome_file(place)
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError):
        file.unlink()
    return None if told["killed"] else Outcome(order, trial_from_json(told["trial"]), told["found"])


def _is_of(pid: int, kept: Supervised, others: Collection[int]) -> bool:
    """Whether an orphan is this trial's, by its session, its working folder, its files or its mounts."""
    with contextlib.suppress(OSError):
        if os.getsid(pid) == kept.pid:
            return True
        mounts = os.readlink(f"/proc/{pid}/ns/mnt")
        if mounts != os.readlink("/proc/self/ns/mnt"):  # an overlay's: each trial has its own
            return mounts not in map(_mounts, others)
        for link in ("cwd", "fd/1", "fd/2"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/{link}").startswith((f"{kept.place.work}{os.sep}", kept.place.log)):
                    return True
    return False


def _mounts(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/mnt")
    return ""


def _say(kept: Supervised, trial: Trial, found: dict[str, Any] | None = None, killed: bool = False) -> None:
    with contextlib.suppress(OSError):  # if even this cannot be written, the driver runs it again and then reports it
        told = {"trial": trial_to_json(trial), "found": found or {}, "killed": killed}
        write_whole(_outcome_file(kept.place), told)


def _in_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.WEXITSTATUS(status)}, and no result: did it call os._exit?"


def _outcome_file(place: OutputPlace) -> Path:
    return Path(f"{place.work}.outcome.json")

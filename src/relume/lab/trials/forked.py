"""One trial, in the process that was forked for it: made like a fresh interpreter, and captured to its end."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from relume.artifacts.trial import Trial
from relume.artifacts.trial_json import trial_to_json
from relume.framework import FRAMEWORKS, Framework
from relume.lab.trials import streams
from relume.lab.trials.processes import die_with_parent, uses_gpu
from relume.lab.trials.sandbox import Sandbox
from relume.lab.trials.side_effects import SideEffects, relative
from relume.lab.trials.spec import TrialSpec
from relume.runner.imports import after_import

BODY = "relume.lab.trials.child:run_trial"
"""What a trial's process calls with its spec and its log; it returns the :class:`Trial`, and what else it found."""

THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True)
class OutputPlace:
    """Where a trial runs.

    Attributes:
        log: the file that gets its output. ``study``: the folder of the study, hidden from it; "" for none.
        work: the trial's own folder, outside the user's; the executor creates it and removes it afterwards.
    """

    log: str
    study: str = ""
    work: str = ""


def write_whole(file: Path, told: Mapping[str, Any]) -> None:
    """Write JSON atomically, for a process that reads it later."""
    passing = file.with_name(f".{file.name}.tmp")
    passing.write_text(json.dumps(told), encoding="utf-8")
    os.replace(passing, file)


class Outcome(NamedTuple):
    """The outcome of a spec.

    ``found`` is JSON: what the body returned besides the trial; on request, ``written``: the user's files that it
    changed; ``installed`` and ``local``: the modules that were imported in the end, by their names, and the user's own,
    by their paths from the working folder; ``gpu``: whether it computed on one. Of one that failed ``room``: the bytes
    that were left on the disk of its writes. Of a survey also what :func:`~relume.lab.trials.side_effects.summarize`
    says.
    """

    order: TrialSpec
    trial: Trial
    found: dict[str, Any]


def environment(threads: int, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of trials: the given one and the thread settings. Hashes are fixed.

    Relative entries of PYTHONPATH are relative to the user's working folder, which is this process's.
    """
    made = {**given, **dict.fromkeys(THREAD_SETTINGS, str(threads)), "PYTHONHASHSEED": "0"}
    if path := given.get("PYTHONPATH"):
        made["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in path.split(os.pathsep) if part)
    return made


class Here(NamedTuple):
    """What a trial's process is: its spec and folders, and whether it reports its imports."""

    order: TrialSpec
    place: OutputPlace
    sandbox: Sandbox
    look: bool


RESULT = "result.json"
"""The file of a trial's result, in its folder."""

STDERR = "stderr"
"""The file there that gets a trial's stderr."""

_here: Here | None = None
"""In a trial's process: its description."""

_process = 0

_side_effects: SideEffects | None = None
"""In a survey's process."""


def scratch() -> Path:
    """In a trial's process: a folder for relume's files, hidden from the script; removed when the trial ends."""
    if _here is None:
        raise RuntimeError("this process runs no trial")
    return Path(_here.place.work)


def deliver(trial: Trial, found: Mapping[str, Any]) -> None:
    """In a trial's process: set its result. The first one counts; what a body returns is delivered anyway."""
    if _here is None or (scratch() / RESULT).exists() or os.getpid() != _process:
        return
    told = dict(found)
    if _here.look:
        told |= {**_loaded(_here.sandbox), "gpu": uses_gpu()}
    if _side_effects is not None:
        told["heard"] = _side_effects.to_dict()
    write_whole(scratch() / RESULT, {"trial": trial_to_json(trial), "found": told})


def live(here: Here, body: str, parent: int, closing: tuple[int, ...]) -> NoReturn:
    """Run the trial, until the process ends."""
    global _here, _process, _side_effects
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for each in closing:
            os.close(each)
        _begin(here.order, here.place, here.sandbox)
        die_with_parent(parent)
        _here, _process = here, os.getpid()
        module, _, name = body.partition(":")
        run = getattr(import_module(module), name)
        for framework in FRAMEWORKS:
            if framework.trials is not None:
                after_import(framework.package, functools.partial(_announce_saving, framework))
        if here.order.plan is None:
            _side_effects = SideEffects(here.sandbox)
            _side_effects.start()
        log = here.place.log if os.path.exists(here.place.log) else "/proc/self/fd/1"  # the study may be hidden
        deliver(*run(here.order, Path(log)))
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - a fault of the body: it is this trial's outcome
        traceback.print_exc()
        deliver(Trial(here.order.key, "failed", error=f"{type(error).__name__}: {error}"), {})
    finally:
        _end(status)


def _announce_saving(framework: Framework) -> None:
    framework.load_trials().announce_saving()


def _begin(order: TrialSpec, place: OutputPlace, sandbox: Sandbox) -> None:
    """Make this process like a fresh interpreter."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    streams.redirect(place.log, os.path.join(place.work, STDERR))
    os.environ.update(environment(order.threads, os.environ))
    os.environ.update(order.environment, PWD=str(sandbox.cwd))
    sandbox.enter()
    os.chdir(sandbox.cwd)
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    for framework in FRAMEWORKS:
        if framework.trials is not None and framework.package in sys.modules:
            framework.load_trials().reseed()
    sys.orig_argv[1:] = [*(["-m"] if order.script.is_module else []), order.script.script, *order.script.args]


def _end(status: int) -> NoReturn:
    """The visible parts of the interpreter's shutdown, without tearing down every module."""
    import atexit

    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    with contextlib.suppress(BaseException):
        sys.modules["__main__"].__dict__.clear()  # closes files that the script left open
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(status)


def _loaded(sandbox: Sandbox) -> dict[str, list[str]]:
    """The modules imported now."""
    installed, local = [], []
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None) if getattr(spec, "has_location", False) else None
        path = os.path.realpath(origin) if origin else ""
        path = sandbox.outside(path)
        if path.startswith(f"{sandbox.root}{os.sep}") and "site-packages" not in path and ".venv" not in path:
            local.append(path)
        elif spec is not None and name == spec.name:
            installed.append(name)
    return {"installed": installed, "local": relative(set(local), sandbox.folder)}

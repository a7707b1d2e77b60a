"""What all integrations share: one training watched, logged every few steps, and saved at its end.

Nothing here raises into a training: an error is reported once, and the failed part is left out after that.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, TypedDict

from relume import api
from relume.artifacts.findings import Findings
from relume.errors import WatchError
from relume.framework import Phase

EVERY_N_STEPS = 50

_FREE_SECONDS = 1.0
"""So much logging may take in any case; what goes beyond keeps to the budget of the watching, by fewer loggings."""

Sink = Callable[[Findings, int], None]
"""Takes what was found so far, and the step."""


class WatchOptions(TypedDict, total=False):
    """The options of :func:`relume.watch`."""

    budget: float
    window: int | None
    every: int | None
    phase: Phase


def check(every_n_steps: int, options: WatchOptions) -> None:
    """Raises: WatchError: an option is out of its range; TypeError: there is no such option."""
    if every_n_steps < 1:
        raise WatchError(
            f"every_n_steps is {every_n_steps}; expected a number of steps, at least 1.", slug="bad-option"
        )
    api.check_options(**options)


def metrics_to(log: Callable[..., Any]) -> Sink:
    """The sink of a function that takes a flat dict of numbers, and the step if it has an argument of that name."""
    try:
        has_step = "step" in inspect.signature(log).parameters
    except ValueError:  # builtin
        has_step = False

    def sink(findings: Findings, step: int) -> None:
        if has_step:
            log(findings.to_metrics(), step=step)
        else:
            log(findings.to_metrics())

    return sink


def numbered(path: str | Path, run: int) -> Path:
    """The file of a callback's first, second, … training: ``run.relume``, ``run-2.relume``."""
    path = Path(path)
    return path if run == 1 else path.with_name(f"{path.stem}-{run}{path.suffix}")


class Session:
    """One training: begins to watch at once, and ends with :meth:`end`. It keeps the model alive, and nothing else."""

    def __init__(self, model: Any, *, path: Path | None, options: WatchOptions) -> None:
        self._path = path
        self._logging = True
        self._logged = -1
        self._budget = 1.0 if options.get("every") is not None else options.get("budget", api.BUDGET)
        self._began, self._spent = perf_counter(), 0.0
        self._watch: api.Watch | None = None
        self._guarded("watching", lambda: self._begin(model, options))

    def _begin(self, model: Any, options: WatchOptions) -> None:
        self._watch = api.watch(model, **options).start()

    @property
    def findings(self) -> Findings | None:
        """What was found so far; None if the model could not be watched."""
        return None if self._watch is None else self._watch.findings()

    def log(self, sink: Sink, step: int, *, last: bool = False) -> None:
        """Log what was found up to a step, once; a step that would cost too much is skipped, except the last."""
        began = perf_counter()
        dear = self._spent > _FREE_SECONDS + self._budget * (began - self._began)
        if self._logging and step != self._logged and (last or not dear):
            self._logged = step
            if not self._guarded("logging", lambda: self._log(sink, step)):
                self._logging = False
            self._spent += perf_counter() - began

    def _log(self, sink: Sink, step: int) -> None:
        findings = self.findings
        if findings is None or findings.run.get("fault") is not None:  # reported already; the numbers no longer change
            self._logging = False
        else:
            sink(findings, step)

    def stop(self) -> None:
        """Stop watching; what was found can still be logged, as it will be saved."""
        if self._watch is not None:
            self._guarded("watching", self._watch.stop)

    def end(self) -> None:
        """Stop watching, and save the recording if that was asked for. Another call does nothing."""
        self.stop()
        path, self._path, self._logging = self._path, None, False
        watch = self._watch
        if watch is not None and path is not None:
            self._guarded("saving the recording", lambda: watch.save(path))

    def _guarded(self, what: str, work: Callable[[], object]) -> bool:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the training continues after any error
            said = f"relume: {what} failed; the training continues without it"
            print(f"{said} ({type(error).__name__}: {error}) [callback-failed]", file=sys.stderr)
            return False
        return True

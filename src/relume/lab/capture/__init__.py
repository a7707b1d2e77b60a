"""Captures what a script logs: through ``relume.log``, through its loggers, and on stdout.

A logger is patched once the script has imported it and works as before; none is imported here. Loggers that would talk
to a server are kept offline.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType

from relume import logged
from relume.lab.capture import lightning, mlflow, stdout, tensorboard, transformers, wandb
from relume.lab.capture.metrics import DETECTED, LOGGED, LOGGERS, REGEX, STDERR, RunCurves
from relume.lab.capture.recorder import LoggerPatches, Recorder
from relume.runner.imports import after_import

INTERCEPTORS: tuple[ModuleType, ...] = (lightning, mlflow, tensorboard, transformers, wandb)
"""Each has ``MODULES``, the modules it waits for, ``install``, and ``ENVIRONMENT``, which keeps it offline."""

ENVIRONMENT = {name: value for each in INTERCEPTORS for name, value in each.ENVIRONMENT.items()}
"""The environment that a script's process needs before the script imports anything."""


def prepare() -> None:
    """Make this process one in which loggers may be imported: before a server loads them, and before a script does."""
    os.environ.update(ENVIRONMENT)
    tensorboard.prepare()


class Capture:
    """Catches what one run of a script logs, from :meth:`start` to :meth:`finish`.

    Args:
        regex: of ``--metric``; if it has a group, its matches on stdout are a metric.
        metric: the metric to compare, "" while it is unknown.
        diverged: called with the name of a loss, or of the metric, that stays NaN or infinite. It may raise a
            ``BaseException`` to end the script.
        tune_metric: the metric that chooses learning rates, "" if it is ``metric``.
    """

    def __init__(
        self,
        regex: str = "",
        metric: str = "",
        diverged: Callable[[str], None] | None = None,
        tune_metric: str = "",
    ) -> None:
        self._regex = regex
        self._wanted = {metric, tune_metric or metric}
        self._recorder = Recorder(metric, diverged)
        self._patches = LoggerPatches()
        self._active = False

    def start(self) -> None:
        """Begin, before the script runs."""
        self._active = True
        prepare()
        logged.send_to(self._recorder.log)
        for interceptor in INTERCEPTORS:
            for name in interceptor.MODULES:
                self._await(name, interceptor)

    def _await(self, name: str, interceptor: ModuleType) -> None:
        def imported() -> None:
            if self._active:
                interceptor.install(sys.modules[name], self._recorder, self._patches)

        after_import(name, lambda: self._recorder.guarded(imported))

    def finish(self, text: str, errors: str = "") -> RunCurves:
        """End, and return what was found. The loggers are restored.

        Args:
            text: what the script printed on stdout.
            errors: what it printed on stderr, searched if the metric is found nowhere else.
        """
        self._active = False
        logged.send_to(None)
        self._patches.undo()
        found = {LOGGED: self._recorder.logged(), LOGGERS: self._recorder.loggers()}
        found[REGEX] = stdout.matched(text, self._regex) or stdout.matched(errors, self._regex)
        # searching all output takes time, so only for a metric that is found nowhere else
        for source, said in ((DETECTED, text), (STDERR, errors)):
            known = {name for curves in found.values() for name in curves}
            found[source] = {} if known >= self._wanted else stdout.detected(said)
        return RunCurves({source: curves for source, curves in found.items() if curves})

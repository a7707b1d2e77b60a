"""Trials of a Python function ``train(activation, seed, lr_factor, log)``, in this process or in fresh ones."""

from __future__ import annotations

import multiprocessing
import pickle
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np

from relume.artifacts.trial import Status, Trial, TrialKey
from relume.errors import StudyError

RETURNED = "value"
"""The metric's name for a function that returns a number."""

Train = Callable[[Any, int, float, Callable[..., None]], Any]


@dataclass(frozen=True)
class FunctionTrials:
    """Runs the trials of one function.

    Attributes:
        train: the user's function. ``activations``: the argument for each name of the design.
        metric: the metric to compare; "" while it is unknown.
        jobs: processes; 1 means this one, one trial after another.
    """

    train: Train
    activations: Mapping[str, Any]
    metric: str = ""
    jobs: int = 1

    def run(self, keys: Iterable[TrialKey]) -> Iterator[Trial]:
        """Run these trials; yields each as soon as it ends.

        Raises: StudyError: the function cannot be sent to another process.
        """
        if self.jobs == 1:
            for key in keys:
                yield run_call(self.train, self.activations[key.activation], key, self.metric)
            return
        with ProcessPoolExecutor(self.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                pickle.dumps((self.train, dict(self.activations)))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise StudyError(
                    f"The function cannot be sent to another process ({error}). Define it at the top level of an "
                    "importable module, or use jobs=1.",
                    slug="function-not-importable",
                ) from error
            waiting = [
                pool.submit(run_call, self.train, self.activations[key.activation], key, self.metric) for key in keys
            ]
            try:
                for done in as_completed(waiting):
                    yield done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


class Log:
    """The ``log(step, name=value)`` passed to a trial's function; an omitted step is the next one."""

    def __init__(self) -> None:
        self.curves: dict[str, list[tuple[float, float]]] = {}

    def __call__(self, step: float | None = None, **metrics: float) -> None:
        """Store numbers by name."""
        for name, value in metrics.items():
            curve = self.curves.setdefault(name, [])
            curve.append((float(len(curve) if step is None else step), float(value)))


def run_call(train: Train, activation: Any, key: TrialKey, metric: str = "") -> Trial:
    """Run one trial here: random and NumPy are seeded, and an exception is the trial's outcome."""
    log, status, trouble = Log(), "finished", ""
    random.seed(key.seed)
    np.random.seed(key.seed % 2**32)  # noqa: NPY002 - the function may draw from it
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        _log_returned(log, train(activation, key.seed, key.lr_factor, log))
    except Exception as error:  # noqa: BLE001 - a failed trial is an outcome
        status, trouble = "failed", f"{type(error).__name__}: {error}".partition("\n")[0]
    return Trial(
        key,
        _status(log, metric) if status == "finished" else "failed",
        metrics={name: tuple(curve) for name, curve in log.curves.items()},
        error=trouble,
        seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
    )


def _status(log: Log, metric: str) -> Status:
    last = log.curves[metric][-1][1] if metric in log.curves else 0.0
    return "finished" if isfinite(last) else "diverged"


def _log_returned(log: Log, returned: Any) -> None:
    """A returned number is a metric too, and so is each number of a returned mapping."""
    if isinstance(returned, Mapping):
        log(**{str(name): float(value) for name, value in returned.items()})
    elif isinstance(returned, Real) or (hasattr(returned, "item") and getattr(returned, "size", 1) == 1):
        log(**{RETURNED: float(returned)})
    elif returned is not None:
        raise TypeError(
            f"the function returned a {type(returned).__name__}; expected a number, a mapping of numbers or None"
        )

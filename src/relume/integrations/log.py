"""For a training loop of your own: log to any function that takes a dict of numbers, such as ``mlflow.log_metrics``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from relume.artifacts.findings import Findings
from relume.integrations._session import EVERY_N_STEPS, Session, Sink, WatchOptions, check, metrics_to


class Watching:
    """A context manager around a loop that calls :meth:`step` after each of its steps. See :class:`WatchLog`."""

    def __init__(
        self, model: Any, sink: Sink, *, every_n_steps: int, path: str | Path | None, options: WatchOptions
    ) -> None:
        check(every_n_steps, options)
        self._model = model
        self._path = None if path is None else Path(path)
        self._options = options
        self._sink = sink
        self._every_n_steps = every_n_steps
        self._session: Session | None = None
        self._steps = 0

    def __enter__(self) -> Watching:
        self._steps = 0
        self._session = Session(self._model, path=self._path, options=self._options)
        return self

    def step(self, step: int | None = None) -> None:
        """A step is over: log if it is time. ``step``: the number of steps so far; by default the number of calls."""
        self._steps = self._steps + 1 if step is None else step
        if self._session is not None and self._steps and self._steps % self._every_n_steps == 0:
            self._session.log(self._sink, self._steps)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            self._session.stop()
            if kind is None:
                self._session.log(self._sink, self._steps, last=True)
            self._session.end()

    @property
    def findings(self) -> Findings | None:
        """What was found so far; None before the beginning."""
        return None if self._session is None else self._session.findings


class WatchLog(Watching):
    """Watches a model, logs its numbers every few steps and after the last, and saves the recording.

    Args:
        model: a ``torch.nn.Module``.
        log: takes the numbers (``Findings.to_metrics``) as a flat dict, and the step if it has an argument
            ``step``: ``mlflow.log_metrics``, a ``Run.log`` of W&B, or your own.
        every_n_steps: steps between two loggings, more if they would not keep to the budget; the last is logged.
        path: where to save the recording at the end.
        **options: those of :func:`relume.watch`: budget, window, every, phase.

    Raises: WatchError: an option out of its range. While it trains it raises nothing.

    Example:
        >>> with WatchLog(model, mlflow.log_metrics) as log:        # doctest: +SKIP
        ...     for batch in loader:
        ...         train(model, batch)
        ...         log.step()
    """

    def __init__(
        self,
        model: Any,
        log: Callable[..., Any],
        *,
        every_n_steps: int = EVERY_N_STEPS,
        path: str | Path | None = None,
        **options: Unpack[WatchOptions],
    ) -> None:
        super().__init__(model, metrics_to(log), every_n_steps=every_n_steps, path=path, options=options)

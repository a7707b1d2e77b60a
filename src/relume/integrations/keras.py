"""A callback for Keras 3: ``model.fit(…, callbacks=[relume.keras.Watch("run.relume")])``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import keras

from relume.artifacts.findings import Findings
from relume.integrations._session import EVERY_N_STEPS, Session, Sink, WatchOptions, check


class WatchCallback(keras.callbacks.Callback):
    """Watches each ``fit`` of a Keras model on any backend, and saves its recording; also as ``relume.keras.Watch``.

    The model is traced again when the watching begins and when it ends: its compiled training step counts in between.

    Args:
        path: where to save the recording at the end of the fit.
        log: called with the findings and the step, at intervals and at the end of each epoch, such as
            ``lambda findings, step: relume.integrations.tensorboard.write(writer, findings, step)``.
        every_n_steps: steps between two loggings, more if they would not keep to the budget.
        **options: those of :func:`relume.watch`: budget, window, every.

    Attributes:
        findings: what was found so far; None before the first fit.

    Raises: WatchError: an option out of its range. While it trains it raises nothing.

    Example:
        >>> model.fit(x, y, callbacks=[relume.keras.Watch("run.relume")])     # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        log: Sink | None = None,
        every_n_steps: int = EVERY_N_STEPS,
        **options: Unpack[WatchOptions],
    ) -> None:
        super().__init__()
        check(every_n_steps, options)
        self._path = None if path is None else Path(path)
        self._log = log
        self._every_n_steps = every_n_steps
        self._options = options
        self._session: Session | None = None
        self._step = 0

    @property
    def findings(self) -> Findings | None:
        """What was found so far; None before the first fit."""
        return None if self._session is None else self._session.findings

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin to watch."""
        self._session, self._step = Session(self.model, path=self._path, options=self._options), 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count steps, and log now and then."""
        self._step += getattr(self.model, "steps_per_execution", 1)
        if self._step % self._every_n_steps == 0:
            self._write()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log."""
        self._write()

    def on_train_end(self, logs: Any = None) -> None:
        """Stop watching, log and save."""
        if self._session is not None:
            self._session.stop()
            self._write(last=True)
            self._session.end()

    def _write(self, *, last: bool = False) -> None:
        if self._log is not None and self._session is not None:
            self._session.log(self._log, self._step, last=last)

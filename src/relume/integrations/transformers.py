"""A callback for Hugging Face's Trainer: ``trainer.add_callback(WatchCallback(log=trainer.log))``."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

from transformers import TrainerCallback

from relume.artifacts.findings import Findings
from relume.integrations._session import EVERY_N_STEPS, Session, Sink, WatchOptions, check, metrics_to, numbered


class WatchCallback(TrainerCallback):
    """Watches each training of a Trainer, logs its numbers, and saves its recording.

    A callback does not know its trainer. With ``log=trainer.log`` the numbers (``Findings.to_metrics``) go wherever the
    trainer reports to; without it, only into ``trainer.state.log_history``. Evaluation is not counted. Of several ranks
    the first logs and saves, what it saw itself. The Trainer reports no error to its callbacks: after one the watching
    ends with :meth:`stop`, the next training, or the trainer's own end.

    Args:
        log: takes a dict of numbers and, if it has that argument, ``step``: ``trainer.log``, ``mlflow.log_metrics``.
        every_n_steps: steps between two loggings, more if they would not keep to the budget; the last is logged.
        path: where to save the recording at the end; that of a second training becomes ``run-2.relume``.
        **options: those of :func:`relume.watch`: budget, window, every, phase.

    Raises: WatchError: an option out of its range. While it trains it raises nothing.

    Example:
        >>> trainer.add_callback(WatchCallback(log=trainer.log, path="run.relume"))     # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        log: Callable[..., Any] | None = None,
        every_n_steps: int = EVERY_N_STEPS,
        path: str | Path | None = None,
        **options: Unpack[WatchOptions],
    ) -> None:
        check(every_n_steps, options)
        self._log = log
        self._every_n_steps = every_n_steps
        self._path = path
        self._options = options
        self._runs = 0
        self._session: Session | None = None

    @property
    def findings(self) -> Findings | None:
        """What was found in the latest training, so far; None before the first."""
        return None if self._session is None else self._session.findings

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Begin to watch."""
        self.stop()
        self._runs += 1
        path = numbered(self._path, self._runs) if self._path is not None and state.is_world_process_zero else None
        self._session = Session(model, path=path, options=self._options)
        weakref.finalize(self, self._session.end)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log every ``every_n_steps``, and at the last: at the training's end the reporters are closed already."""
        last = control.should_training_stop or state.global_step >= state.max_steps
        if self._session is None or not state.is_world_process_zero:
            return
        if last or state.global_step % self._every_n_steps == 0:
            wanted = control.should_log
            sink = _to_history(state) if self._log is None else metrics_to(self._log)
            self._session.log(sink, state.global_step, last=last)
            control.should_log = wanted  # trainer.log clears it, and the loss of this step would go unlogged

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop and save."""
        self.stop()

    def stop(self) -> None:
        """End the watching and save, if an error ended the training."""
        if self._session is not None:
            self._session.end()


def _to_history(state: Any) -> Sink:
    def sink(findings: Findings, step: int) -> None:
        state.log_history.append({**findings.to_metrics(), "epoch": state.epoch, "step": step})

    return sink

"""The callback of Lightning, whichever of its two packages the trainer is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import torch

from relume.artifacts.findings import Findings
from relume.integrations._session import EVERY_N_STEPS, Session, WatchOptions, check, metrics_to, numbered


class LightningHooks:
    """The hooks of both classes ``WatchCallback``."""

    def __init__(
        self,
        *,
        log: Callable[..., Any] | None = None,
        every_n_steps: int = EVERY_N_STEPS,
        path: str | Path | None = None,
        **options: Unpack[WatchOptions],
    ) -> None:
        check(every_n_steps, options)
        super().__init__()
        self._log = log
        self._every_n_steps = every_n_steps
        self._path = path
        self._options = options
        self._runs = 0
        self._session: Session | None = None

    @property
    def findings(self) -> Findings | None:
        """What was found in the latest fit, so far; None before the first."""
        return None if self._session is None else self._session.findings

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch, after the sanity check."""
        self._end()
        self._runs += 1
        path = numbered(self._path, self._runs) if self._path is not None and trainer.is_global_zero else None
        self._session = Session(pl_module, path=path, options=self._options)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Log every ``every_n_steps``."""
        if trainer.global_step and trainer.global_step % self._every_n_steps == 0:
            self._to_log(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log what callbacks monitor, which Lightning reads after this."""
        self._to_log(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the last step, stop and save."""
        if self._session is not None:
            self._session.stop()
        self._to_log(trainer, last=True)
        self._end()

    def _to_log(self, trainer: Any, *, last: bool = False) -> None:
        if self._session is not None and trainer.is_global_zero:
            sink = _to_loggers(trainer) if self._log is None else metrics_to(self._log)
            self._session.log(sink, trainer.global_step, last=last)

    def on_exception(self, *_: Any) -> None:
        """The training ends early: what was seen is saved."""
        self._end()

    def teardown(self, *_: Any, **__: Any) -> None:
        """However a fit ended, nothing of the watching outlives it."""
        self._end()

    def _end(self) -> None:
        if self._session is not None:
            self._session.end()


def _to_loggers(trainer: Any) -> Callable[[Findings, int], None]:
    """To the trainer's own loggers; and to where EarlyStopping and ModelCheckpoint find what they monitor."""

    def sink(findings: Findings, step: int) -> None:
        metrics = findings.to_metrics()
        trainer.callback_metrics.update({name: torch.tensor(number) for name, number in metrics.items()})
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=step)

    return sink

"""A callback for Lightning: ``Trainer(callbacks=[WatchCallback()])``."""

from __future__ import annotations

from lightning.pytorch import Callback

from relume.integrations._lightning import LightningHooks


class WatchCallback(LightningHooks, Callback):
    """Watches each fit of a Lightning trainer, logs its numbers, and saves its recording.

    The numbers (``Findings.to_metrics``) go to the trainer's loggers at ``trainer.global_step``, and to its
    ``callback_metrics``, so that EarlyStopping and ModelCheckpoint can monitor ``relume/dead_share``. EarlyStopping
    needs ``strict=False`` for it: it is not there before 300 examples were seen. The sanity check and validation are
    not counted. With several ranks, the first one logs and saves its own counts.

    Args:
        log: a function in place of the trainer's loggers; it takes a dict of numbers and, if it has that argument,
            ``step``.
        every_n_steps: steps between two loggings, more if they would not keep to the budget; the end of an epoch is
            logged as well, and the last step in any case.
        path: where to save the recording at the end of the fit; that of a second fit becomes ``run-2.relume``.
        **options: those of :func:`relume.watch`: budget, window, every, phase.

    Raises: WatchError: an option out of its range. While it trains it raises nothing.

    Example:
        >>> trainer = Trainer(callbacks=[WatchCallback(path="run.relume")])     # doctest: +SKIP
    """

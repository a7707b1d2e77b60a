"""A callback for the package pytorch_lightning: ``Trainer(callbacks=[WatchCallback()])``."""

from __future__ import annotations

from pytorch_lightning import Callback

from relume.integrations._lightning import LightningHooks


class WatchCallback(LightningHooks, Callback):
    """As :class:`relume.integrations.lightning.WatchCallback`, for trainers of ``pytorch_lightning``."""

"""Hugging Face's Trainer: what it logs, whichever callbacks report it."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from relume.lab.capture.recorder import LoggerPatches, Recorder

MODULES = ("transformers.trainer",)
ENVIRONMENT: Mapping[str, str] = {}


def install(module: ModuleType, recorder: Recorder, patches: LoggerPatches) -> None:
    """Capture ``Trainer.log``."""

    def heard(self: Any, logs: Mapping[str, Any], *_: Any, **__: Any) -> None:
        recorder.record("transformers", self.state.global_step, logs)

    patches.listen(module.Trainer, "log", recorder, heard)

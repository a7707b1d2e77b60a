"""W&B: runs are disabled by its own mode of that name, and what they would have logged is captured."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from relume.lab.capture.recorder import LoggerPatches, Recorder

MODULES = ("wandb",)
ENVIRONMENT = {"WANDB_MODE": "disabled", "WANDB_SILENT": "true"}


def install(module: ModuleType, recorder: Recorder, patches: LoggerPatches) -> None:
    """Capture ``run.log`` and ``wandb.log``; ``wandb.init`` makes disabled runs only."""
    init = module.init

    def heard(data: Mapping[str, Any], step: Any = None, *_: Any, **__: Any) -> None:
        recorder.record("wandb", step, data)

    @functools.wraps(init)
    def disabled(*args: Any, **kwargs: Any) -> Any:
        run = init(*args, **kwargs | {"mode": "disabled"})
        patches.listen(run, "log", recorder, heard)
        patches.put(module, "log", run.log)
        return run

    patches.put(module, "init", disabled)

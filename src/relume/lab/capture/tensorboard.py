"""Captures what TensorBoard's writers (PyTorch's and tensorboardX's) are given; they write as before."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from relume.lab.capture.recorder import LoggerPatches, Recorder

MODULES = ("torch.utils.tensorboard.writer", "tensorboardX.writer")
ENVIRONMENT: Mapping[str, str] = {}
_WITHOUT = "tensorboard.compat.notf"


def prepare() -> None:
    """Let TensorBoard write without TensorFlow, by its own switch; otherwise it imports TensorFlow if installed.

    The import takes seconds in every trial, and a process that has it cannot be forked. The files are the same.
    """
    sys.modules.setdefault(_WITHOUT, ModuleType(_WITHOUT))


def install(module: ModuleType, recorder: Recorder, patches: LoggerPatches) -> None:
    """Capture ``SummaryWriter.add_scalar``, ``add_scalars`` (as ``main/tag``) and the metrics of ``add_hparams``."""

    def record(writer: Any, step: Any, metrics: Mapping[str, Any]) -> None:
        folder = getattr(writer, "log_dir", None) or getattr(writer, "logdir", None) or ""
        recorder.record("tensorboard", step, metrics, str(folder))

    def scalar(self: Any, tag: str, scalar_value: Any, global_step: Any = None, *_: Any, **__: Any) -> None:
        record(self, global_step, {tag: scalar_value})

    def scalars(
        self: Any, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: Any = None, *_: Any, **__: Any
    ) -> None:
        record(self, global_step, {f"{main_tag}/{tag}": value for tag, value in tag_scalar_dict.items()})

    def hparams(self: Any, hparam_dict: Any, metric_dict: Mapping[str, Any], *_: Any, **__: Any) -> None:
        record(self, None, metric_dict)

    writer = module.SummaryWriter
    patches.listen(writer, "add_scalar", recorder, scalar)
    patches.listen(writer, "add_scalars", recorder, scalars)
    patches.listen(writer, "add_hparams", recorder, hparams)

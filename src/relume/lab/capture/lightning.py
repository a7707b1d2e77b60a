"""Lightning: numbers passed to any logger, and numbers logged without one.

Covers ``lightning`` and ``pytorch_lightning``, trainers and Fabric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from relume.lab.capture.recorder import LoggerPatches, Recorder, number

_CONNECTOR = "trainer.connectors.logger_connector.logger_connector"
MODULES = (
    "lightning.fabric.loggers.logger",
    "lightning_fabric.loggers.logger",
    f"lightning.pytorch.{_CONNECTOR}",
    f"pytorch_lightning.{_CONNECTOR}",
)
ENVIRONMENT: Mapping[str, str] = {}


def install(module: ModuleType, recorder: Recorder, patches: LoggerPatches) -> None:
    """Hear ``log_metrics`` of every class of loggers; or, in the trainer's part, what no logger is given."""
    if module.__name__.endswith(_CONNECTOR):
        _hear_trainer(module._LoggerConnector, recorder, patches)
    else:
        _hear_loggers(module.Logger, recorder, patches)


def _hear_loggers(base: Any, recorder: Recorder, patches: LoggerPatches) -> None:
    """Each class defines its own ``log_metrics``: patch the present classes and the future ones."""

    def heard(self: Any, metrics: Mapping[str, Any], step: Any = None, *_: Any, **__: Any) -> None:
        real = {name: value for name, value in metrics.items() if not (name == "hp_metric" and number(value) == -1)}
        # all loggers of a trainer are given the same: the first has it
        recorder.record(f"lightning {type(self).__name__} {id(self)}", step, real)

    def hear(each: Any) -> None:
        if "log_metrics" in vars(each):
            patches.listen(each, "log_metrics", recorder, heard)

    for each in _below(base):
        hear(each)

    def made(cls: type[Any], /, **options: Any) -> None:
        super(base, cls).__init_subclass__(**options)
        hear(cls)

    patches.put(base, "__init_subclass__", classmethod(made))


def _below(base: Any) -> Iterator[Any]:
    for each in base.__subclasses__():
        yield each
        yield from _below(each)


def _hear_trainer(connector: Any, recorder: Recorder, patches: LoggerPatches) -> None:
    def logged(self: Any, metrics: Mapping[str, Any], step: Any = None) -> None:
        if not self.trainer.loggers:
            recorder.record("lightning", self.trainer.global_step if step is None else step, metrics)

    def ended(self: Any) -> None:
        """What was logged only for callbacks or the progress bar is available at the end of a fit or a test."""
        seen = recorder.seen()
        rest = {
            name: value
            for name, value in self._callback_metrics.items()
            if not seen & {name, f"{name}_epoch", f"{name}_step"}
        }
        recorder.record("lightning", self.trainer.global_step, rest)

    log_metrics = connector.log_metrics

    def log(self: Any, metrics: Mapping[str, Any], step: Any = None) -> Any:
        # not the outermost call: the loggers within it are heard themselves
        recorder.guarded(lambda: logged(self, metrics, step))
        return log_metrics(self, metrics, step)

    patches.put(connector, "log_metrics", log)
    patches.listen(connector, "teardown", recorder, ended)

"""MLflow: captures metrics, and sends every run to a folder of the trial, not to the server that the script names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from relume.lab.capture.recorder import LoggerPatches, Recorder

MODULES = (
    "mlflow.tracking.client",
    "mlflow.tracking._tracking_service.registry",
    "mlflow.tracking._model_registry.registry",
)
ENVIRONMENT = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
FOLDER = "relume-mlruns"


def install(module: ModuleType, recorder: Recorder, patches: LoggerPatches) -> None:
    """Patch the client, which ``mlflow.log_metric`` uses too, and redirect every store to a folder."""
    if module.__name__ == "mlflow.tracking.client":
        _hear_client(module.MlflowClient, recorder, patches)
    elif module.__name__ == "mlflow.tracking._tracking_service.registry":
        _keep_local(module.TrackingStoreRegistry, patches)
    else:
        _keep_local(module.ModelRegistryStoreRegistry, patches)


def _hear_client(client: Any, recorder: Recorder, patches: LoggerPatches) -> None:
    def one(
        self: Any, run_id: str, key: str, value: Any, timestamp: Any = None, step: Any = None, *_: Any, **__: Any
    ) -> None:
        recorder.record("mlflow", step, {key: value})

    def batch(self: Any, run_id: str, metrics: Iterable[Any] = (), *_: Any, **__: Any) -> None:
        for metric in metrics:
            recorder.record("mlflow", metric.step, {metric.key: metric.value})

    patches.listen(client, "log_metric", recorder, one)
    patches.listen(client, "log_batch", recorder, batch)


def _keep_local(registry: Any, patches: LoggerPatches) -> None:
    folder = Path.cwd() / FOLDER
    get_store = registry.get_store

    def local(self: Any, *_: Any, **__: Any) -> Any:
        return get_store(self, folder.as_uri())

    patches.put(registry, "get_store", local)

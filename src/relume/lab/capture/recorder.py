"""Keeps logged numbers by source, and the patches that capture them."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from os.path import commonpath
from typing import Any

from relume.lab.capture.metrics import Points, is_loss, is_own
from relume.watching.patches import Patches

DIVERGED_AFTER = 5
"""Consecutive numbers that are not finite after which a loss has diverged. A single one may be a batch that the script
skips, as a loss scaler does."""


class Recorder:
    """Curves by source and name. Nothing here raises an ``Exception`` into the script."""

    def __init__(self, metric: str = "", diverged: Callable[[str], None] | None = None) -> None:
        self._metric = metric
        self._diverged = diverged
        self._logged: dict[str, Points] = {}
        self._loggers: dict[tuple[str, str], dict[str, Points]] = {}
        self._not_finite: dict[str, int] = {}
        self._inside = threading.local()
        self._failed = False

    def log(self, step: Any, metrics: Mapping[str, Any]) -> None:
        """What ``relume.log`` was given."""
        self.guarded(lambda: self._keep(self._logged, step, metrics))

    def record(self, source: str, step: Any, metrics: Mapping[str, Any], writer: str = "") -> None:
        """What a logger was given. ``writer``: the folder of one of several loggers of the same library."""
        own = {name: value for name, value in metrics.items() if not is_own(str(name))}
        self._keep(self._loggers.setdefault((source, writer), {}), step, own)

    def seen(self) -> set[str]:
        """The names that the loggers have been given so far."""
        return {name for curves in self._loggers.values() for name in curves}

    def _keep(self, curves: dict[str, Points], step: Any, metrics: Mapping[str, Any]) -> None:
        at = number(step)
        for name, value in _flat(metrics):
            found = number(value)
            if found is not None:
                curve = curves.setdefault(name, [])
                curve.append((float(len(curve)) if at is None else at, found))
                self._judge(name, found)

    def _judge(self, name: str, value: float) -> None:
        if self._diverged is None or not (name == self._metric or is_loss(name)):
            return
        self._not_finite[name] = 0 if isfinite(value) else self._not_finite.get(name, 0) + 1
        if self._not_finite[name] == DIVERGED_AFTER:
            self._diverged(name)

    @contextmanager
    def outermost(self) -> Iterator[bool]:
        """Whether this call of a logger is the outermost: a trainer's log calls those of its loggers."""
        first = not getattr(self._inside, "any", False)
        self._inside.any = True
        try:
            yield first
        finally:
            if first:
                self._inside.any = False

    def guarded(self, work: Callable[[], object]) -> None:
        """Run relume's part of a script's call. An error in it is reported once, and the script continues."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the script continues after any error
            if not self._failed:
                self._failed = True
                said = f"relume: a metric was not caught ({type(error).__name__}: {error})"
                print(f"{said} [capture-failed]", file=sys.stderr)

    def logged(self) -> dict[str, Points]:
        """What ``relume.log`` was given."""
        return self._logged

    def loggers(self) -> dict[str, Points]:
        """What the loggers were given, each name once, from the first library that was given it."""
        found: dict[str, Points] = {}
        of_source: dict[str, str] = {}
        labels = _labels([writer for _, writer in self._loggers])
        for (source, writer), curves in self._loggers.items():
            shared = {name for key, others in self._loggers.items() if key != (source, writer) and key[0] == source
                      for name in others}  # fmt: skip
            for name, curve in curves.items():
                if of_source.setdefault(name, source) == source:
                    label = labels[writer] if name in shared else ""
                    found[f"{label}/{name}" if label else name] = curve
        return found


class LoggerPatches(Patches):
    """Wraps the functions of loggers, and unwraps them."""

    def listen(self, owner: Any, name: str, recorder: Recorder, read: Callable[..., object]) -> None:
        """Call ``read`` before each outermost call of a function."""
        original = getattr(owner, name, None)
        if original is None:  # not in this version
            return

        @functools.wraps(original)
        def heard(*args: Any, **kwargs: Any) -> Any:
            with recorder.outermost() as first:
                if first:
                    recorder.guarded(lambda: read(*args, **kwargs))
                return original(*args, **kwargs)

        self.put(owner, name, heard)


def number(value: Any) -> float | None:
    """The number, also of a tensor or an array of one; None for anything else."""
    if value is None or isinstance(value, str | bytes | bool | complex):
        return None
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def _flat(metrics: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values; nested names are joined by a dot, as in W&B."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _labels(folders: list[str]) -> dict[str, str]:
    """Folder → its label: the part of the path that differs, or its index if that may be a date.

    Example:
        >>> _labels(["runs/a/train", "runs/a/test"]), _labels(["runs/Nov21_10-11", "runs/Nov21_10-12"])
        ({'runs/a/train': 'train', 'runs/a/test': 'test'}, {'runs/Nov21_10-11': '', 'runs/Nov21_10-12': '2'})
    """
    known = list(dict.fromkeys(folders))
    try:
        shared = len(commonpath([folder for folder in known if folder])) if any(known) else 0
    except ValueError:  # absolute ones among relative ones
        shared = 0
    names = {folder: folder[shared:].strip("/\\").replace("\\", "/") for folder in known}
    if any(sum(letter.isdigit() for letter in name) > 3 for name in names.values()):
        names = {folder: str(place + 1) if place else "" for place, folder in enumerate(known)}
    return names

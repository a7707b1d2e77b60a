"""Run a callback when the script has imported a package, without importing it."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


def after_import(package: str, tell: Callable[[], None]) -> None:
    """Call ``tell`` once the package, or a module of one, is imported: now, or when the script does it.

    Several may wait for the same package; they are called in order.
    """
    if package in sys.modules:
        tell()
    else:
        sys.meta_path.insert(0, _Finder(package, tell))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one package by asking the others, and lends it a loader that calls back; removed after the load."""

    def __init__(self, package: str, tell: Callable[[], None]) -> None:
        self._package = package
        self._tell = tell

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The package's own spec; None for every other name. It may be asked for and never loaded."""
        if fullname != self._package:
            return None
        # only those after it: an earlier one that waits for the same package would ask it again
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :] if self in sys.meta_path else sys.meta_path
        for finder in behind:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self._loaded)
                return spec
        return None

    def _loaded(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self._tell()


class _Loader(importlib.abc.Loader):
    """The package's own loader for as long as it loads."""

    def __init__(self, own: importlib.abc.Loader, tell: Callable[[], None]) -> None:
        self._own = own
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the own loader does."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own loader back, load it, and call back."""
        module.__loader__ = self._own
        if module.__spec__ is not None:
            module.__spec__.loader = self._own
        self._own.exec_module(module)
        self._tell()

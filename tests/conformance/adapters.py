"""How the battery calls a framework: an adapter each, in ``on_<framework>.py``, listed there as ``ADAPTERS``.

To join: write ``on_<framework>.py`` with its adapters in a list ``ADAPTERS``, and rows in ``tolerances.toml`` where two
ulp are not kept. A framework that is not installed raises ImportError in that file's import: its tests are skipped, and
say why.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pytest


@runtime_checkable
class Adapter(Protocol):
    """One way of computing the family.

    Attributes:
        name: as in ``tolerances.toml`` and in the tests' names: ``"torch"``, ``"torch-compiled"``, ``"keras-jax"``.
        dtypes: names of the dtypes that it has.
        inputs: names of the inputs of ``cases.py`` it is given; None: all.
        flushes: its backend takes subnormal numbers for zero, in or out (a deviations row says so).
        inference: it has values and no gradients.
        lays: the dtypes in which PReLU's shapes are asked: fewer where each shape costs a compilation.
    """

    name: str
    dtypes: tuple[str, ...]
    inputs: tuple[str, ...] | None
    flushes: bool
    inference: bool
    lays: tuple[str, ...]

    def value(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        """f(x), in the dtype and shape of ``x``. PReLU: ``weight`` an array, ``axis`` where it has an axis."""

    def gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        """Reverse mode, with incoming ones."""


class HasForwardMode(Protocol):
    """An adapter whose framework has forward mode."""

    def forward_gradient(self, activation: str, x: np.ndarray, dtype: str, **parameters: Any) -> np.ndarray:
        """The Jacobian-vector product with ones."""


class HasWeightGradient(Protocol):
    """An adapter that tells PReLU's gradient with respect to its slopes."""

    def weight_gradient(self, x: np.ndarray, dtype: str, *, weight: np.ndarray, axis: Any) -> np.ndarray:
        """The gradient of Σ prelu(x) for each slope, in the shape of ``weight``."""


class HasRandomSlopes(Protocol):
    """An adapter that draws RReLU's slopes."""

    def drawn(self, x: np.ndarray, dtype: str, lower: float, upper: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Value and gradient in training, from one sample; the same seed repeats it."""


def load() -> list[Any]:
    """All adapters, as pytest's parameters; of a framework that is absent one that is skipped and says why."""
    found: list[Any] = []
    for path in sorted(Path(__file__).parent.glob("on_*.py")):
        try:
            adapters = importlib.import_module(path.stem).ADAPTERS
        except ImportError as absent:
            reason = f"{path.stem}: {absent}"
            found.append(pytest.param(None, id=path.stem[3:], marks=pytest.mark.skip(reason=reason)))
        else:
            found += [pytest.param(adapter, id=adapter.name) for adapter in adapters]
    return found


def installed() -> list[Any]:
    """The adapters whose framework is there."""
    return [param.values[0] for param in load() if param.values[0] is not None]

"""PyTorch: the family as modules (``relume.torch.PReLU``) and functions (``relume.torch.functional.prelu``).

Names are imported on first use: the watcher is in this folder too, and needs none of them.

Example:
    >>> import relume.torch as rt
    >>> rt.ELU(alpha=2.0)
    ELU(alpha=2.0)
"""

from __future__ import annotations

import importlib
from typing import Any

from relume.activations import ACTIVATIONS

__all__ = [*(activation.title for activation in ACTIVATIONS.values()), "functional"]


def __getattr__(name: str) -> Any:
    if name == "functional":
        return importlib.import_module("relume.torch.functional")
    if name in __all__:
        return getattr(importlib.import_module("relume.torch.layers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

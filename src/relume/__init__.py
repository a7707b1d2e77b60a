"""relume: coverage for your activations.

The verbs live in :mod:`relume.api`, :mod:`relume.cures` and :mod:`relume.conversion`. They are loaded on first use, so
that ``import relume`` costs nothing and brings no framework along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relume.logged import log as log
from relume.tapped import tap as tap
from relume.version import __version__ as __version__

if TYPE_CHECKING:
    from relume.api import audit as audit
    from relume.api import check as check
    from relume.api import compare as compare
    from relume.api import diff as diff
    from relume.api import watch as watch
    from relume.conversion import from_spec as from_spec
    from relume.conversion import gain as gain
    from relume.conversion import to_spec as to_spec
    from relume.cures import Reviver as Reviver
    from relume.cures import apply as apply
    from relume.cures import certify as certify
    from relume.cures import prune as prune
    from relume.cures import revive as revive
    from relume.cures import swap as swap

_VERBS = ("audit", "check", "compare", "diff", "watch")
_CURES = ("Reviver", "apply", "certify", "prune", "revive", "swap")
_OF_LAYERS = ("from_spec", "gain", "to_spec")

__all__ = ["__version__", "log", "tap", *_CURES, *_OF_LAYERS, *_VERBS]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        from relume import api

        return getattr(api, name)
    if name in _CURES:
        from relume import cures

        return getattr(cures, name)
    if name in _OF_LAYERS:
        from relume import conversion

        return getattr(conversion, name)
    raise AttributeError(f"module 'relume' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)

"""Python's audit events: training raises about ten per step, and few of them matter."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any


def listen(names: Collection[str], tell: Callable[[str, tuple[Any, ...]], None]) -> None:
    """Call ``tell`` with each event of these names, and its arguments, until this process ends.

    The listener is a plain function: at every event (``id(x)`` is one) Python looks for an optional attribute of the
    hook, and a bound method takes 0.5 µs to lack it.
    """
    wanted = frozenset(names)

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event in wanted:
            tell(event, args)

    sys.addaudithook(hear)

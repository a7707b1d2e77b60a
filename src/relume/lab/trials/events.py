"""Python's audit events: a training raises some ten of them a step, and of few of them anybody wants to know."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any


def listen(names: Collection[str], tell: Callable[[str, tuple[Any, ...]], None]) -> None:
    """Call ``tell`` with each event of these names, and its arguments, to the end of this process.

    What listens is a plain function: at every event, ``id(x)`` is one, Python looks for an attribute that a hook may
    have, and a bound method takes 0.5 µs to say that it has it not.
    """
    wanted = frozenset(names)

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event in wanted:
            tell(event, args)

    sys.addaudithook(hear)

"""What is known of values, tensors or nodes of a graph, by their identity and while they are alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any


def reference(thing: Any) -> Callable[[], Any]:
    """A weak reference to an object; for None what gives None."""
    return nothing if thing is None else weakref.ref(thing)


def nothing() -> None:
    """There was no object."""


class Values:
    """One thing that is known of each value; a value is not kept alive by it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def of(self, x: Any) -> Any:
        """The facts about a value; None if nothing is known."""
        known = self._known.get(id(x))
        return known[1] if known is not None and known[0]() is x else None

    def put(self, x: Any, what: Any) -> None:
        """Know this of a value."""
        self._known[id(x)] = (weakref.ref(x), what)

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()

    def forget_the_dead(self) -> None:
        """Forget what was known of values that are gone."""
        self._known = {number: known for number, known in self._known.items() if known[0]() is not None}

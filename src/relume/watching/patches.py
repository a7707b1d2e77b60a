"""Putting something in the place of something else, and taking it back: attributes, and the code of a function."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

_ABSENT = object()


class Patches:
    """The patches in order; :meth:`undo` reverts them in reverse order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def put(self, owner: Any, name: str, thing: Any) -> None:
        """Set an attribute; what it inherited until now it inherits again afterwards."""
        before = vars(owner).get(name, _ABSENT)
        setattr(owner, name, thing)

        def undo() -> None:
            if vars(owner).get(name, _ABSENT) is not thing:
                return  # somebody has put something else there since
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

        self._undo.append(undo)

    def put_code(self, function: Any, code: Any, **names: Any) -> None:
        """Give a function another's code and defaults, so that every reference to it does the other thing.

        ``names`` are put among its globals, where the code finds them.
        """
        assert isinstance(function, FunctionType)
        before, defaults, there = function.__code__, function.__defaults__, function.__globals__
        function.__code__, function.__defaults__ = code.__code__, code.__defaults__
        fresh = [name for name in names if name not in there]
        there.update((name, names[name]) for name in fresh)

        def undo() -> None:
            function.__code__, function.__defaults__ = before, defaults
            for name in fresh:
                there.pop(name, None)

        self._undo.append(undo)

    def on_undo(self, work: Callable[[], None]) -> None:
        """Do this too when all is taken back."""
        self._undo.append(work)

    def undo(self) -> None:
        """Take everything back."""
        while self._undo:
            self._undo.pop()()

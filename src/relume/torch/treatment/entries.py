"""The code that replaces PyTorch's functions. Both call ``call(input, *further arguments)``."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

_relume: Any = None  # found in the globals of the function whose code it becomes; a call for each activation


def _entry(input: Any, *own: Any, **named: Any) -> Any:
    return _relume.activation(input, *own, **named)


def for_python(name: str) -> FunctionType:
    """The replacement of a Python function of this name: only its code is used."""
    names = tuple(name if each == "activation" else each for each in _entry.__code__.co_names)
    return FunctionType(_entry.__code__.replace(co_names=names, co_name=name), globals())


def for_builtin(call: Callable[..., Any]) -> Any:
    """The replacement of a function that is not written in Python."""

    def entry(input: Any, *own: Any, **named: Any) -> Any:
        return call(input, *own, **named)

    return entry

"""Checks a file's content against the types of its class: every reader of JSON and of rows uses it, once."""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_NOT_FINITE = ("nan", "inf", "-inf")  # strict JSON has them as text
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def strict_json(text: str) -> Any:
    """JSON as its standard has it: no NaN, no number that is infinite.

    Raises: ValueError: it is not strict JSON, or nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"it has the number {number}")
    return float(number)


def harmless(told: Any) -> Any:
    r"""Texts without what a terminal obeys or what turns the direction of writing; other values as they are.

    Example:
        >>> harmless({"name": ["\x1b[2Jrelu1", 3]})
        {'name': ['�[2Jrelu1', 3]}
    """
    if isinstance(told, str):
        return _CONTROLS.sub("\ufffd", told)
    if isinstance(told, dict):
        return {harmless(name): harmless(value) for name, value in told.items()}
    return type(told)(map(harmless, told)) if type(told) in (list, tuple) else told


def typed(kind: Any, told: Any, where: str = "it") -> Any:
    """A value of this type: a dataclass or NamedTuple of an object or a row, a tuple of a list, a number as it is.

    Unknown keys are ignored, and missing ones take their defaults. Texts are :func:`harmless`.

    Raises: ValueError: it is of another type; the message names the place.

    Example:
        >>> typed(tuple[float, ...], [1, "nan"]), typed(int | None, None)
        ((1.0, nan), None)
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return harmless(told)
    if origin in (Union, types.UnionType):
        return None if told is None else typed(next(part for part in parts if part is not type(None)), told, where)
    if origin is Literal and isinstance(told, str) and told in parts:
        return told
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return _made(kind, told, where)
    if origin is tuple and isinstance(told, (list, tuple)):
        kinds = [parts[0]] * len(told) if parts[-1] is Ellipsis else parts
        if len(kinds) == len(told):
            return tuple(
                typed(each, one, f"{where}[{n}]") for n, (each, one) in enumerate(zip(kinds, told, strict=True))
            )
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(told, dict):
        return {str(name): typed(parts[1], value, f"{where}.{name}"[:200]) for name, value in told.items()}
    if kind is float and (type(told) in (int, float) or (isinstance(told, str) and told in _NOT_FINITE)):
        return _float(told, where)
    if type(told) is kind and not (kind is int and abs(told) >= 1 << 63):
        return harmless(told)
    raise ValueError(f"{where} is {_short(told)}; expected {getattr(kind, '__name__', kind)}")


def _made(kind: Any, told: Any, where: str) -> Any:
    hints = _hints(kind)
    if isinstance(told, (list, tuple)) and len(told) == len(hints) and hasattr(kind, "_fields"):
        told = dict(zip(hints, told, strict=True))
    if not isinstance(told, dict):
        raise ValueError(f"{where} is {_short(told)}; expected an object")
    try:
        return kind(
            **{name: typed(hint, told[name], f"{where}.{name}") for name, hint in hints.items() if name in told}
        )
    except TypeError as error:  # a field without a default is missing
        raise ValueError(f"{where}: {error}") from error


def _float(told: Any, where: str) -> float:
    try:
        return float(told)
    except OverflowError as error:
        raise ValueError(f"{where} is {_short(told)}; expected a float") from error


def _short(told: Any) -> str:
    text = "a huge integer" if type(told) is int and abs(told) >= 1 << 63 else repr(told)
    return text if len(text) < 60 else f"{text[:57]}…"


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)

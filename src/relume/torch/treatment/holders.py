"""Aliases of PyTorch's own functions: found by a survey, replaced in a trial.

A function that is not written in Python can only be replaced in its aliases: a global of a module imported before
(``from torch import relu``), an entry of a table there (``{"gelu": F.gelu}``), an attribute of a class, or a default of
a parameter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from relume.torch.treatment.originals import builtin
from relume.watching.patches import Patches

_LONGEST_TABLE = 1_000


def find() -> Iterator[str]:
    """Every alias, as ``module:name``, ``module:name[key]``, ``module:name.attribute`` or ``module:name(number)``."""
    for home, module in sorted(sys.modules.items()):
        if home.partition(".")[0] in ("torch", "relume", "__main__") or module is None:
            continue
        for name, thing in list(getattr(module, "__dict__", {}).items()):
            if builtin(thing) is not None:
                yield f"{home}:{name}"
            elif type(thing) is dict and len(thing) <= _LONGEST_TABLE:
                yield from (f"{home}:{name}[{key}]" for key, held in thing.items() if _is_held(key, held))
            elif isinstance(thing, type) and thing.__module__ == home:
                yield from (f"{home}:{name}.{key}" for key, held in vars(thing).items() if _is_held(key, held))
            elif isinstance(thing, FunctionType) and thing.__module__ == home:
                defaults = enumerate(thing.__defaults__ or ())
                yield from (f"{home}:{name}({number})" for number, held in defaults if builtin(held) is not None)


def replace(holder: str, instead: Callable[[Any], Any], patches: Patches) -> None:
    """Replace the function of an existing alias by ``instead(function)``, if that is not None."""
    home, _, where = holder.partition(":")
    module = sys.modules.get(home)
    if module is None:
        return
    if where.endswith("]"):
        name, _, key = where[:-1].partition("[")
        table = getattr(module, name, None)
        if isinstance(table, dict) and (other := instead(table.get(key))) is not None:
            before, table[key] = table[key], other
            patches.on_undo(lambda: table.__setitem__(key, before))
    elif where.endswith(")"):
        name, _, number = where[:-1].partition("(")
        function = getattr(module, name, None)
        if isinstance(function, FunctionType) and len(function.__defaults__ or ()) > int(number):
            defaults = list(function.__defaults__ or ())
            if (other := instead(defaults[int(number)])) is not None:
                defaults[int(number)] = other
                patches.put(function, "__defaults__", tuple(defaults))
    else:
        owner, _, name = where.rpartition(".")
        held_by = getattr(module, owner, None) if owner else module
        if held_by is not None and (other := instead(vars(held_by).get(name))) is not None:
            patches.put(held_by, name, other)


def _is_held(key: Any, thing: Any) -> bool:
    return isinstance(key, str) and builtin(thing) is not None

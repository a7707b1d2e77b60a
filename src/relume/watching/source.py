"""How source files are named: without the machine's part of their paths."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from functools import cache

folder = ""
"""The folder from which the user's files are named; "": the working folder, which a script may change."""

_CELL = re.compile(r"<ipython-input-(\d+)-")
OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
"""The folder of relume: its frames are nobody's source."""


def shown_path(name: str) -> str:
    """A source file without the machine's part of its path; a notebook's cell by its number, ``In [3]``."""
    if (cell := _cell_of(name)) is not None:
        return f"In [{cell}]"
    for marker in (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"):
        if marker in name:
            return name.rpartition(marker)[2]
    bases = [folder or os.getcwd(), *(entry for entry in sys.path if entry)]
    for base in bases:
        if name.startswith(base.rstrip(os.sep) + os.sep):
            return os.path.relpath(name, base)
    return os.path.basename(name) if os.path.isabs(name) else name


def _cell_of(name: str) -> int | None:
    """The number of the notebook cell whose code has this file name; IPython keeps it."""
    if found := _CELL.match(name):
        return int(found[1])
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    cells = getattr(getattr(shell, "compile", None), "_filename_map", None)
    return cells.get(name) if isinstance(cells, dict) else None


@cache
def is_users(name: str, *packages: str) -> bool:
    """Whether a source file is neither relume's nor of one of these packages, nor Python's own machinery."""
    if name.startswith((OURS, "<frozen")) or "__autograph_generated" in name:
        return False
    if name.startswith(os.path.dirname(os.__file__) + os.sep) and "-packages" + os.sep not in name:
        return False  # contextlib, functools, …
    return not any(name.startswith(home) for package in packages for home in _homes(package))


@cache
def _homes(package: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec(package)
    return tuple(place + os.sep for place in (spec.submodule_search_locations or ())) if spec is not None else ()

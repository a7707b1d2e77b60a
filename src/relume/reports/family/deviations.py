"""Where the frameworks differ from the definitions, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relume.activations import ACTIVATIONS
from relume.activations.deviations import Deviation

SCHEMA = 1
"""Of the JSON form; new keys may come within a schema."""

WORDS = {"forward_gradient": "slope, forward mode", "second_gradient": "second derivative", "gradient": "slope"}


def table(rows: Sequence[Deviation]) -> RenderableType:
    """All rows, grouped by activation, then by framework."""
    shown = Table(box=box.SIMPLE_HEAD, leading=0)
    for header, ratio in (("Framework", 7), ("What", 6), ("It gives", 4), ("relume gives", 4), ("", 9)):
        shown.add_column(header, ratio=ratio, overflow="fold")
    for activation in ACTIVATIONS.values():
        of_it = [row for row in rows if row.activation == activation.name]
        if of_it:
            shown.add_row(Text(activation.title, style="bold"))
        for row in of_it:
            ours = Text(_numbers(row.relume_gives), style="yellow" if row.relume else "")
            says = row.says + (" (relume too)" if row.relume else "")
            shown.add_row(Text(row.where), Text(_asked(row)), Text(_numbers(row.native_gives)), ours, Text(says))
        if of_it:
            shown.add_section()
    note = f" {len(rows)} rows; relume's tests check each against the installed frameworks."
    return Group(shown, Text(note, style="dim"))


def _asked(row: Deviation) -> str:
    """The question: ``slope at −20, float32, alpha=2``."""
    if row.quantity == "default":
        return f"default of {row.arguments['parameter']}"
    at = f" at {_numbers(row.x)}" if row.x and row.quantity not in ("error", "dtype") else ""
    parts = [WORDS.get(row.quantity, row.quantity) + at]
    parts += [row.dtype] if row.quantity not in ("shape", "expression") else []
    parts += [f"input {row.input_shape}"] if row.input_shape else []
    parts += [f"length {row.length}"] if row.length else []
    parts += ["compiled"] if row.compiled else []
    parts += [f"{name}={value}" for name, value in row.arguments.items()]
    return ", ".join(parts)


def _numbers(values: Sequence[Any]) -> str:
    return ", ".join(f"{v:.7g}" if isinstance(v, float) else str(v) for v in values).replace("-", "−")


def table_dict(rows: Sequence[Deviation]) -> dict[str, Any]:
    """All rows as plain data, for ``--json``; ±inf and nan as words, which JSON lacks."""
    return {"schema": SCHEMA, "deviations": [{k: _plain(v) for k, v in asdict(row).items()} for row in rows]}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value

"""Where the installed frameworks differ from the definitions: rows of data, one file in each framework's folder.

A test proves every row against the installed framework and against relume, so that a row cannot be stale. Nothing is
imported to read them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUANTITIES = (
    "value",
    "gradient",
    "forward_gradient",
    "second_gradient",
    "default",
    "dtype",
    "error",
    "shape",
    "expression",
)
"""What a row is about. ``value`` and the gradients (reverse mode, forward mode, twice reverse) at ``x``; ``default`` of
the argument that ``arguments`` names as ``parameter``; ``dtype`` of the result; ``error``: the class of the exception
that construction or call raises, ``"none"`` where it computes; ``shape`` of the first weight of a layer, after it was
called on ones of ``input_shape``; ``expression``: ``native`` and ``ours`` are Python over the imported framework."""


@dataclass(frozen=True)
class Deviation:
    """One thing that a framework does otherwise than the definitions.

    Attributes:
        folder: the framework's folder in relume: ``torch``.
        activation: the definition that it is about.
        native: dotted name of the framework's own function or layer: ``torch.nn.functional.elu``.
        quantity: one of ``QUANTITIES``.
        says: what goes wrong, in one sentence.
        native_gives: the framework's result: numbers, words.
        relume_gives: ours for the same.
        x: the inputs. ``dtype``: theirs. ``length``: they are repeated up to it (0: as they are), since vector code
            and scalar tails differ. ``input_shape``: instead of ``x``, ones of this shape.
        arguments: keyword arguments of the native function or layer. ``ours_arguments``: ours, where they differ.
        ours: dotted name of relume's, where it does not follow from ``native`` and ``activation``.
        backend: Keras's backend.
        compiled: under the framework's compiler.
        relume: relume deviates from its own definition there, since the backend leaves no way.
        source: link to an issue, where there is one.
    """

    folder: str
    activation: str
    native: str
    quantity: str
    says: str
    native_gives: tuple[Any, ...]
    relume_gives: tuple[Any, ...]
    x: tuple[float, ...] = ()
    dtype: str = "float32"
    length: int = 0
    input_shape: tuple[int, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    ours_arguments: Mapping[str, Any] | None = None
    ours: str = ""
    backend: str = ""
    compiled: bool = False
    relume: bool = False
    source: str = ""

    @property
    def where(self) -> str:
        """The native function or layer, with Keras's backend: ``keras.layers.ELU on tensorflow``."""
        return f"{self.native} on {self.backend}" if self.backend else self.native


def load() -> tuple[Deviation, ...]:
    """All rows of all folders, in the order of folders and files.

    Example:
        >>> sorted({row.quantity for row in load()} - set(QUANTITIES))
        []
    """
    rows: list[Deviation] = []
    for path in sorted(Path(__file__).parents[1].glob("*/deviations.toml")):
        for row in tomllib.loads(path.read_text(encoding="utf-8")).get("deviation", []):
            rows.append(_row(path.parent.name, row))
    return tuple(rows)


def _row(folder: str, row: Mapping[str, Any]) -> Deviation:
    settled: dict[str, Any] = {k: tuple(v) if k in ("x", "input_shape") else v for k, v in row.items()}
    for key in ("native_gives", "relume_gives"):
        given = row[key]
        settled[key] = tuple(given) if isinstance(given, list) else (given,)
    return Deviation(folder=folder, **settled)

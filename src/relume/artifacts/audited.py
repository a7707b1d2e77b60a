"""The result of an audit of a checkpoint, before the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relume.artifacts.findings import Judged

ZERO, SHUT, NO_GRADIENT = "zero weights", "shut by its normalization", "no gradient"
"""The kinds of evidence that a unit is dead; the first two hold for every input, the third for the steps it names."""


@dataclass(frozen=True)
class Audited:
    """A checkpoint and its layers: what ``relume audit`` knows, without a step of the training having run.

    Attributes:
        run: ``audited`` (the files), ``steps`` (of the optimizer) and what else a report says of the whole.
        sites: a layer each; the cause of a dead unit is its evidence. ``not_observed``: what, where, why.
    """

    run: Mapping[str, Any]
    sites: tuple[Judged, ...]
    not_observed: tuple[tuple[str, str, str], ...]

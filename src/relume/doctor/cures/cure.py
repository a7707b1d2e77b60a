"""What a cure is."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from relume.artifacts.findings import Judged


class Proposal(NamedTuple):
    """A cure for some units of a site: its evidence in this run, and its settings."""

    units: tuple[int, ...]
    evidence: tuple[str, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Cure:
    """Something that a user can change.

    Attributes:
        name: the stem of its file. ``changes``: what to do, a sentence; its settings' names in braces.
        propose: judged site → the dead units that it is a cure for; None for none.
        known: evidence for or against it from elsewhere: the measurement and its source.
        in_a_run: the treatment by which ``relume run --plan`` does it, its settings' names in braces; "" if it cannot.
        tries: what ``relume fix`` tries for it, in this order.
    """

    name: str
    changes: str
    propose: Callable[[Judged], Proposal | None]
    known: tuple[str, ...] = field(default=())
    in_a_run: str = ""
    tries: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """The docstring of its file."""
        return inspect.cleandoc(sys.modules[self.propose.__module__].__doc__ or "")


def caused_by(site: Judged, *kinds: str) -> tuple[int, ...]:
    """The dead units of a site that died of one of these causes."""
    return tuple(unit for unit in site.dead if unit in site.cause and site.cause[unit].kind in kinds)


def first_evidence(site: Judged, units: tuple[int, ...]) -> tuple[str, ...]:
    """What the run says of the first of these units' deaths."""
    return (f"unit {units[0]}: {site.cause[units[0]].says}",)

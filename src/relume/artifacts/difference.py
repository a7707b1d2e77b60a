"""The difference between two runs, as ``relume diff`` reports it."""

from __future__ import annotations

from dataclasses import dataclass

from relume.artifacts.json_types import DiffJson, ShiftJson, SideJson
from relume.artifacts.recording import Site

SCHEMA = 1
"""Of the JSON form; new keys may come within a schema."""


@dataclass(frozen=True)
class Side:
    """One of the two runs as a whole. ``overhead`` is None if it is not known."""

    script: str | None
    sites: int
    units: int
    dead: int
    steps: int
    looked: int
    overhead: float | None

    @property
    def share(self) -> float:
        """Share of dead units; 0 if there are no units."""
        return self.dead / self.units if self.units else 0.0

    def to_dict(self) -> SideJson:
        """The side's entry in the JSON."""
        return {
            "script": self.script,
            "sites": self.sites,
            "units": self.units,
            "dead": self.dead,
            "share": round(self.share, 6),
            "steps": self.steps,
            "looked": self.looked,
            "overhead": self.overhead,
        }


@dataclass(frozen=True)
class Shift:
    """A site in both runs, A and B.

    Attributes:
        site: as it is in A. ``other``: as it is in B.
        dead: how many units are dead, in A and in B.
        died: units that are dead in B and not in A. ``lived``: those dead in A and not in B. None if the numbers of
            units differ, so that no unit of the one is one of the other.
        rate: the median of its units' firing rates, in A and in B, None where not known.
        most_shifted: the unit whose firing rate differs most, None where none does. ``largest``: by how much.
        provisional: whether it was seen too little to be judged, in A or in B.
    """

    site: Site
    other: Site
    dead: tuple[int, int]
    died: tuple[int, ...] | None
    lived: tuple[int, ...] | None
    rate: tuple[float | None, float | None]
    most_shifted: int | None
    largest: float
    provisional: bool

    def to_dict(self) -> ShiftJson:
        """The site's entry in the JSON."""
        return {
            "id": self.site.key,
            "id_after": self.other.key,
            "source": f"{self.site.file}:{self.site.line}",
            "source_after": f"{self.other.file}:{self.other.line}",
            "activation": self.site.activation,
            "activation_after": self.other.activation,
            "units": [self.site.units, self.other.units],
            "dead": list(self.dead),
            "died": None if self.died is None else list(self.died),
            "lived": None if self.lived is None else list(self.lived),
            "firing_rate": list(self.rate),
            "most_shifted": self.most_shifted,
            "largest_shift": self.largest,
            "provisional": self.provisional,
        }


@dataclass(frozen=True)
class Difference:
    """Two runs side by side. ``lost``: sites only in A; ``new``: sites only in B."""

    before: Side
    after: Side
    shifts: tuple[Shift, ...]
    lost: tuple[Site, ...]
    new: tuple[Site, ...]

    @property
    def comparable(self) -> bool:
        """Whether the runs have a site in common."""
        return bool(self.shifts)

    def to_dict(self) -> DiffJson:
        """The JSON of ``relume diff --json``."""
        return {
            "schema": SCHEMA,
            "comparable": self.comparable,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "sites": [shift.to_dict() for shift in self.shifts],
            "lost": [site.key for site in self.lost],
            "new": [site.key for site in self.new],
        }

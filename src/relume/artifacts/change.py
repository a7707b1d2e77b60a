"""What a cure did to a model, and the proof that it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MOST_UNITS = 8
"""Units that a line of text names; the rest are counted."""


@dataclass(frozen=True)
class Edit:
    """One place of the model and what became of its units.

    Attributes:
        place: the layer or activation, by its path in the model.
        units: the units concerned; empty when the whole place is meant.
        what: what was done, or why the units were not changed.
    """

    place: str
    units: tuple[int, ...]
    what: str

    def __str__(self) -> str:
        return f"{self.place}{_units(self.units)}: {self.what}"


@dataclass(frozen=True)
class Check:
    """One part of a proof: what must hold, whether it does, and the figures that show it."""

    claim: str
    holds: bool
    evidence: str

    def __str__(self) -> str:
        return f"{'holds' if self.holds else 'FAILS'}  {self.claim}: {self.evidence}"


@dataclass(frozen=True)
class Change:
    """What a cure changed, what it did not change and why, and its proof.

    Attributes:
        verb: the cure: "revive", "swap" or "prune".
        changed: the places that were altered.
        left: the places that were not changed, each with the reason.
        proof: the checks; all of them hold, or the cure would have been rolled back.
        covers: what the proof was made on.
    """

    verb: str
    changed: tuple[Edit, ...]
    left: tuple[Edit, ...]
    proof: tuple[Check, ...]
    covers: str = ""

    @property
    def holds(self) -> bool:
        """Whether every check of the proof holds."""
        return all(check.holds for check in self.proof)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "verb": self.verb,
            "changed": [_as_dict(edit) for edit in self.changed],
            "left": [_as_dict(edit) for edit in self.left],
            "proof": [{"claim": c.claim, "holds": c.holds, "evidence": c.evidence} for c in self.proof],
            "covers": self.covers,
        }

    def __str__(self) -> str:
        lines = [f"{self.verb}: {_count(self.changed)}"]
        lines += [f"  {edit}" for edit in self.changed]
        lines += ["left alone:", *(f"  {edit}" for edit in self.left)] if self.left else []
        lines += [f"proof, on {self.covers}:", *(f"  {check}" for check in self.proof)] if self.proof else []
        return "\n".join(lines)

    __repr__ = __str__


def _as_dict(edit: Edit) -> dict[str, Any]:
    return {"place": edit.place, "units": list(edit.units), "what": edit.what}


def _count(edits: tuple[Edit, ...]) -> str:
    units = sum(len(edit.units) for edit in edits)
    if not edits:
        return "nothing was changed"
    places = f"{len(edits)} place{'s' * (len(edits) != 1)}"
    return f"{units} unit{'s' * (units != 1)} at {places}" if units else places


def _units(units: tuple[int, ...]) -> str:
    if not units:
        return ""
    named = ", ".join(map(str, units[:MOST_UNITS]))
    more = f" and {len(units) - MOST_UNITS} more" if len(units) > MOST_UNITS else ""
    return f", unit{'s' * (len(units) != 1)} {named}{more}"

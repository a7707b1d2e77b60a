"""Which units are silent for every input of a box, and which for every input at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relume.artifacts.change import Edit


@dataclass(frozen=True)
class CertifiedSite:
    """One activation of a model.

    Attributes:
        place: the activation and the layer before it. ``units``: how many.
        on_the_box: units that fire for no input of the box. ``everywhere``: units that fire for no input at all.
        upper: of each unit, a bound on its largest pre-activation on the box.
    """

    place: str
    units: int
    on_the_box: tuple[int, ...]
    everywhere: tuple[int, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True)
class Certificate:
    """What :func:`relume.certify` proves. A unit that is missing may still be silent: bounds are not tight.

    Attributes:
        sites: in the order in which the activations run.
        left: activations that could not be bounded, with the reason.
    """

    sites: tuple[CertifiedSite, ...]
    left: tuple[Edit, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; null for a bound that is infinite."""
        finite = [[u if abs(u) != float("inf") else None for u in site.upper] for site in self.sites]
        return {
            "sites": [
                {
                    "place": site.place,
                    "units": site.units,
                    "on_the_box": list(site.on_the_box),
                    "everywhere": list(site.everywhere),
                    "upper": upper,
                }
                for site, upper in zip(self.sites, finite, strict=True)
            ],
            "left": [{"place": edit.place, "what": edit.what} for edit in self.left],
        }

    def __str__(self) -> str:
        lines = ["certificate (of the weights in evaluation mode)"]
        for site in self.sites:
            lines.append(f"  {site.place}, {site.units} units")
            lines.append(f"    dead for every input: {_units(site.everywhere)}")
            lines.append(f"    dead on the box:      {_units(site.on_the_box)}")
        return "\n".join(lines + [f"  not bounded: {edit}" for edit in self.left])

    __repr__ = __str__


def _units(units: tuple[int, ...]) -> str:
    if len(units) > 8:
        return f"{len(units)} units ({', '.join(map(str, units[:8]))} …)"
    return ", ".join(map(str, units)) or "none"

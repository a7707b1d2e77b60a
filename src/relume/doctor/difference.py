"""Two runs' findings → their difference.

Sites are matched by their key; of the rest, those are matched that belong to the same module after the same layer: the
script may have been edited above them, which moves their lines.

A unit of the one run is the unit of that number in the other. This says something of a single unit where both runs
began from the same weights; otherwise only the numbers of units do.
"""

from __future__ import annotations

from collections.abc import Sequence

from relume.artifacts.difference import Difference, Shift, Side
from relume.artifacts.findings import Findings, Judged


def differ(before: Findings, after: Findings) -> Difference:
    """Put two runs side by side."""
    pairs = _pairs(before.sites, after.sites)
    ours, theirs = {id(a) for a, _ in pairs}, {id(b) for _, b in pairs}
    return Difference(
        _side(before),
        _side(after),
        tuple(_shift(a, b) for a, b in pairs),
        tuple(site.site for site in before.sites if id(site) not in ours),
        tuple(site.site for site in after.sites if id(site) not in theirs),
    )


def _pairs(before: Sequence[Judged], after: Sequence[Judged]) -> list[tuple[Judged, Judged]]:
    """The sites that are in both, in the order of the first run."""
    by_key = {site.site.key: site for site in after}
    found = {id(site): by_key.pop(site.site.key) for site in before if site.site.key in by_key}
    moved: dict[tuple[str, str, str], list[Judged]] = {}
    for site in by_key.values():
        moved.setdefault(_place(site), []).append(site)
    for site in before:
        if id(site) not in found and moved.get(_place(site)):
            found[id(site)] = moved[_place(site)].pop(0)
    return [(site, found[id(site)]) for site in before if id(site) in found]


def _place(site: Judged) -> tuple[str, str, str]:
    return site.site.model, site.site.module, site.site.layer


def _side(findings: Findings) -> Side:
    run = findings.run
    return Side(
        script=run.get("script"),
        sites=len(findings.sites),
        units=sum(site.site.units for site in findings.sites),
        dead=sum(len(site.dead) for site in findings.sites),
        steps=run["steps"],
        looked=run["looked"],
        overhead=run.get("overhead"),
    )


def _shift(a: Judged, b: Judged) -> Shift:
    same = a.site.units == b.site.units
    shifts = [
        (abs(two - one), two - one, unit)
        for unit, (one, two) in enumerate(zip(a.firing_rate, b.firing_rate, strict=False))
        if same and one is not None and two is not None
    ]
    far, largest, most = max(shifts, key=lambda shift: shift[0], default=(0.0, 0.0, 0))
    return Shift(
        site=a.site,
        other=b.site,
        dead=(len(a.dead), len(b.dead)),
        died=tuple(sorted(set(b.dead) - set(a.dead))) if same else None,
        lived=tuple(sorted(set(a.dead) - set(b.dead))) if same else None,
        rate=(a.fires, b.fires),
        most_shifted=most if far else None,
        largest=round(largest, 6),
        provisional=a.provisional or b.provisional,
    )

"""Difference of two runs → HTML: both runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from relume.artifacts.difference import Difference, Shift
from relume.artifacts.findings import Findings, Judged
from relume.artifacts.numbers import percent
from relume.reports.html.packing import PACKAGE, packed_vega
from relume.reports.run import states, wording
from relume.reports.run.difference import headline, why_not
from relume.reports.run.html import charts, drawing
from relume.reports.run.html.story import shown
from relume.theme import Chart, environment
from relume.version import __version__

MOST_DRAWN = 12
"""Sites whose units are drawn."""


@dataclass(frozen=True)
class SiteInRun:
    """A site in one of the runs. ``call``: as it is written there."""

    call: str
    source: str
    counts: tuple[int, ...]
    parts: tuple[drawing.Segment, ...]
    grid: drawing.Grid


@dataclass(frozen=True)
class Pair:
    """A site in both runs, A first; ``died`` and ``lived``: the units in words, "" for none."""

    number: int
    name: str
    shift: Shift
    sides: tuple[SiteInRun, SiteInRun]
    died: str
    lived: str


def difference_page(difference: Difference, names: tuple[str, str], before: Findings, after: Findings) -> str:
    """Two runs as one HTML file.

    Args:
        difference: of ``before`` and ``after``.
        names: of the two files.
        before: what the doctor says of A.
        after: what the doctor says of B.

    Raises: MissingExtra: altair or vl-convert-python is not installed.
    """
    pairs = _pairs(difference, before, after)
    chart = _deaths((before, after), names)
    templates = environment(PACKAGE)
    templates.globals |= {"percent": percent, "present": states.present, "said": states.said, "shown": shown}
    return templates.get_template("difference.html").render(
        headline=headline(difference, names[0]),
        why_not="" if difference.comparable else why_not(difference),
        tone_of_all="none" if not difference.comparable else "bad" if _is_worse(difference) else "good",
        names=[shown(name, 80) for name in names],
        difference=difference,
        pairs=pairs,
        totals=np.sum([side.counts for pair in pairs for side in pair.sides], axis=0).tolist() if pairs else [],
        changed=[pair for pair in pairs if pair.died or pair.lived][:MOST_DRAWN],
        chart=chart,
        vega=packed_vega() if chart is not None else "",
        version=__version__,
    )


def _is_worse(difference: Difference) -> bool:
    return any(shift.died or shift.dead[1] > shift.dead[0] for shift in difference.shifts)


def _pairs(difference: Difference, before: Findings, after: Findings) -> list[Pair]:
    """The sites that are in both, those that changed most first."""
    ours, theirs = ({judged.site.key: judged for judged in side.sites} for side in (before, after))
    names = wording.names([shift.site for shift in difference.shifts])
    order = sorted(difference.shifts, key=lambda shift: -max(_changed(shift), abs(shift.dead[1] - shift.dead[0])))
    return [
        Pair(
            number,
            shown(names[shift.site.key], 96),
            shift,
            (_side(ours[shift.site.key]), _side(theirs[shift.other.key])),
            _units(shift.died),
            _units(shift.lived),
        )
        for number, shift in enumerate(order, 1)
    ]


def _units(units: Sequence[int] | None) -> str:
    return states.ranges(list(units)) if units else ""


def _changed(shift: Shift) -> int:
    return len(shift.died or ()) + len(shift.lived or ())


def _side(judged: Judged) -> SiteInRun:
    codes = states.codes(judged)
    counts = states.counts(codes)
    source = f"{judged.site.file}:{judged.site.line}" if judged.site.line else judged.site.file
    grid = drawing.grid(codes, judged.firing_rate)
    return SiteInRun(shown(judged.site.call, 40), shown(source, 80), counts, drawing.bar(counts), grid)


def _deaths(sides: Sequence[Findings], names: Sequence[str]) -> Chart | None:
    """Dead units over the steps, a line for each run; None if nothing died in either."""
    labels = [f"{letter}: {shown(name, 40)}" for letter, name in zip("AB", names, strict=True)]
    lines: Mapping[str, list[tuple[int, int]]] = {
        label: charts.dead_over_steps(side) for label, side in zip(labels, sides, strict=True)
    }
    if all(dead == 0 for points in lines.values() for _, dead in points):
        return None
    last = max(side.run["steps"] for side in sides)
    top = max(dead for points in lines.values() for _, dead in points)
    rows = [{"step": step, "dead": dead, "run": name} for name, points in lines.items() for step, dead in points]
    steps = np.unique([step for points in lines.values() for step, _ in points]).tolist()
    return Chart(
        name="deaths",
        title="Dead units",
        description=", ".join(f"{points[-1][1]} at the end of {name}" for name, points in lines.items()) + ".",
        spec=charts.lines(rows, "dead", "run", labels, charts.steps_axis(last), "dead units", top=top),
        columns=("step", *labels),
        rows=[(step, *(_at(points, step) for points in lines.values())) for step in steps],
        height=300,
        width=760,
    )


def _at(points: Sequence[tuple[int, int]], step: int) -> int | str:
    """How many were dead at a step; nothing after the last one."""
    known = [dead for at, dead in points if at <= step]
    return known[-1] if known and step <= points[-1][0] else "–"

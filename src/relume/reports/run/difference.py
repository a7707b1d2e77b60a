"""Difference of two runs → a table for the terminal, JSON, and Markdown for a pull request."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relume.artifacts.difference import Difference, Shift, Side
from relume.artifacts.numbers import percent
from relume.artifacts.recording import Site
from relume.reports.run import wording
from relume.reports.run.markdown import cell, code, plain

_MOST = 30  # sites in full; the rest are counted


def render(difference: Difference, names: tuple[str, str]) -> RenderableType:
    """Both runs as a whole, a line per common site, its units that changed, and the sites of only one run.

    ``names``: of the two files.
    """
    parts: list[RenderableType] = [_sides(difference, names), Text()]
    if not difference.comparable:
        parts += [Text(why_not(difference), style="bold yellow"), Text()]
    else:
        known = wording.names([shift.site for shift in difference.shifts])
        parts += [_table(difference.shifts, known), Text()]
        changed = [shift for shift in difference.shifts if shift.died or shift.lived]
        parts += [line for shift in changed[:_MOST] for line in _units(shift, known[shift.site.key])]
        if changed:
            note = "Units correspond only if both runs started from the same weights."
            parts += [Text(note, style="dim"), Text()]
    parts += _alone(f"Only in A, {names[0]}", difference.lost) + _alone(f"Only in B, {names[1]}", difference.new)
    return Group(*parts)


def to_json(difference: Difference) -> str:
    """Indented JSON that any reader takes."""
    return json.dumps(difference.to_dict(), indent=2, allow_nan=False)


def headline(difference: Difference, before: str) -> str:
    """``+12 dead units since main.relume``."""
    change = difference.after.dead - difference.before.dead
    if not difference.comparable:
        return why_not(difference).rstrip(".")
    if any(shift.died or shift.lived for shift in difference.shifts) and not change:
        return f"the same number of dead units as in {before}, but different ones"
    if not change:
        return f"no change in dead units since {before}"
    return f"{change:+,} dead unit{'s' * (abs(change) != 1)} since {before}".replace("-", "−")


def to_markdown(difference: Difference, names: tuple[str, str]) -> str:
    """A comment on a pull request: the change, a row per site that changed, the sites of only one run."""
    parts = [f"### relume: {plain(headline(difference, names[0]))}"]
    if difference.comparable:
        before, after = difference.before, difference.after
        parts.append(
            f"{before.dead:,} → {after.dead:,} of {after.units:,} units are dead "
            f"({percent(before.share)} → {percent(after.share)})."
        )
        changed = [shift for shift in difference.shifts if shift.dead[0] != shift.dead[1] or shift.died or shift.lived]
        if changed:
            parts.append(_rows(changed, wording.names([shift.site for shift in difference.shifts])))
    for said, sites in ((f"Only in {names[0]}", difference.lost), (f"Only in {names[1]}", difference.new)):
        if sites:
            parts.append(f"{plain(said)}: {', '.join(code(site.key) for site in sites[:_MOST])}.")
    return "\n\n".join(parts) + "\n"


def _rows(changed: Sequence[Shift], names: dict[str, str]) -> str:
    lines = ["| site | source | units | dead | died | lived |", "| :-- | :-- | --: | --: | --: | --: |"]
    for shift in changed[:_MOST]:
        name = f"{'~' * shift.provisional}{names[shift.site.key]}{_activations(shift)}"
        dead = f"{shift.dead[0]:,} → {shift.dead[1]:,}"
        numbers = (_units_number(shift), dead, _number(shift.died), _number(shift.lived))
        lines.append(f"| {' | '.join((cell(name), cell(_sources(shift)), *numbers))} |")
    if len(changed) > _MOST:
        lines.append(f"\n… and {len(changed) - _MOST} more sites; `relume diff --json` has all.")
    return "\n".join(lines)


def why_not(difference: Difference) -> str:
    """Why two runs cannot be compared, in a sentence."""
    if not (difference.before.sites and difference.after.sites):
        empty = "A and B" if not (difference.before.sites or difference.after.sites) else ""
        empty = empty or ("A" if not difference.before.sites else "B")
        return f"These runs cannot be compared: no activation was watched in {empty}."
    return "These runs cannot be compared: they have no site in common. Do they train the same network?"


def _sides(difference: Difference, names: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", style="bold")
    table.add_column("recording", overflow="fold", min_width=12)
    for heading in ("sites", "dead", "share", "steps", "looked at", "overhead"):
        table.add_column(heading, justify="right")
    for letter, name, side in zip("AB", names, (difference.before, difference.after), strict=True):
        table.add_row(letter, Text(name), *_numbers(side))
    return table


def _numbers(side: Side) -> list[str]:
    overhead = wording.NONE if side.overhead is None else percent(side.overhead)
    dead = f"{side.dead:,} of {side.units:,}"
    return [f"{side.sites:,}", dead, percent(side.share), f"{side.steps:,}", f"{side.looked:,}", overhead]


def _table(shifts: Sequence[Shift], names: dict[str, str]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("site", overflow="fold", min_width=8)
    table.add_column("source", overflow="fold", style="dim", min_width=12)
    for heading in ("units", "dead", "died", "lived", "fires", "shift"):
        table.add_column(heading, justify="right", overflow="fold")
    for shift in shifts[:_MOST]:
        worse = shift.dead[1] > shift.dead[0]
        better = shift.dead[1] < shift.dead[0]
        dead = Text(f"{shift.dead[0]:,} → {shift.dead[1]:,}", style="bold yellow" if worse else "green" * better)
        table.add_row(
            Text(f"{'~' * shift.provisional}{names[shift.site.key]}").append(_activations(shift), style="dim"),
            _sources(shift),
            _units_number(shift),
            dead,
            _number(shift.died),
            _number(shift.lived),
            f"{_rate(shift.rate[0])} → {_rate(shift.rate[1])}",
            _largest(shift),
        )
    notes = [Text("A → B. shift: the unit whose firing rate differs most, and the difference.", style="dim")]
    if any(shift.provisional for shift in shifts):
        notes.append(Text("~ provisional: fewer than 300 examples seen in one of the runs.", style="dim"))
    if len(shifts) > _MOST:
        notes.append(Text(f"… and {len(shifts) - _MOST} more sites; --json has all.", style="dim"))
    return Group(table, *notes)


def _activations(shift: Shift) -> str:
    if shift.site.call == shift.other.call:
        return ""
    return f" {shift.site.call} → {shift.other.call}"


def _sources(shift: Shift) -> str:
    before, after = wording.short_source(shift.site), wording.short_source(shift.other)
    return before if before == after else f"{before} → {after}"


def _units_number(shift: Shift) -> str:
    before, after = shift.site.units, shift.other.units
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"


def _number(units: tuple[int, ...] | None) -> str:
    return "" if units is None else f"{len(units):,}" if units else wording.NONE


def _rate(rate: float | None) -> str:
    return "?" if rate is None else percent(rate, 0)


def _largest(shift: Shift) -> str:
    if shift.most_shifted is None:
        return wording.NONE
    return f"{shift.most_shifted}: {'+' * (shift.largest > 0)}{percent(shift.largest, 0)}"


def _units(shift: Shift, name: str) -> list[Text]:
    """The units of a site that are dead in only one of the runs."""
    lines = []
    for said, units in (("dead in B, not in A", shift.died), ("dead in A, not in B", shift.lived)):
        if units:
            where = f" ({wording.short_source(shift.site)}) {said}: unit{'s' * (len(units) > 1)} {wording.some(units)}"
            lines.append(Text(name, style="bold").append(where, style="not bold"))
    return lines


def _alone(said: str, sites: Sequence[Site]) -> list[RenderableType]:
    if not sites:
        return []
    shown = ", ".join(f"{site.key} ({site.units:,} unit{'s' * (site.units != 1)})" for site in sites[:_MOST])
    more = f", … ({len(sites):,} in all)" if len(sites) > _MOST else ""
    return [Text(f"{said}: ", style="dim").append(shown + more, style="not dim")]

"""CheckResult → a table for the terminal, and JSON."""

from __future__ import annotations

import json
from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relume.artifacts.numbers import percent
from relume.artifacts.verdict import CheckResult, DeadUnits, Failure
from relume.reports.run import wording

_MOST = 20  # rows in full; the rest are counted


def render(verdict: CheckResult) -> RenderableType:
    """PASS or FAIL, a line for each failure, and notes that weaken the verdict."""
    parts: list[RenderableType] = [_headline(verdict)]
    if verdict.failures:
        parts += [Text(), _table(verdict.failures), Text()]
        whole = any(failure.check == "max_dead" and failure.site is None for failure in verdict.failures)
        if whole:
            parts += [Text("Dead units by site:", style="dim"), _places(verdict.dead_sites), Text()]
    parts += [Text(f"Note: {note}.", style="yellow") for note in verdict.notes]
    return Group(*parts)


def to_json(verdict: CheckResult) -> str:
    """Indented JSON that any reader takes."""
    return json.dumps(verdict.to_dict(), indent=2, allow_nan=False)


def _headline(verdict: CheckResult) -> Text:
    line = Text("PASS" if verdict.holds else "FAIL", style="bold green" if verdict.holds else "bold red")
    return line.append(f"  {'; '.join(_told(verdict))}", style="not bold default")


def _told(verdict: CheckResult) -> list[str]:
    """``36 of 192 units dead (18.8 %, limit 1 %)``, then what else failed or was asked."""
    errors = [f for f in verdict.failures if f.check not in ("max_dead", "judged")]
    told = [
        f"{rule} at {sites} site{'s' * (sites > 1)}"
        for rule, sites in Counter(f"{f.check} {f.slug}" for f in errors).items()
    ]
    told += [f"no {rule}" for rule in verdict.rules if not any(f.check == rule for f in errors)]
    if not verdict.judged:
        return ["nothing was judged", *told]
    share = [percent(verdict.share)] if verdict.dead else []
    if verdict.max_dead is not None:
        share.append(f"limit {percent(verdict.max_dead)}{' per site' * verdict.per_site}")
    shown = f" ({', '.join(share)})" if share else ""
    return [f"{verdict.dead:,} of {verdict.judged:,} units dead{shown}", *told]


def _table(failures: tuple[Failure, ...]) -> RenderableType:
    names = wording.names([failure.site for failure in failures if failure.site is not None])
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("what failed", overflow="fold", style="bold red", min_width=11)
    table.add_column("site", overflow="fold", min_width=8)
    table.add_column("source", overflow="fold", style="dim", min_width=12)
    table.add_column("evidence", overflow="fold", ratio=1)
    for failure in failures[:_MOST]:
        what = failure.check if failure.check == failure.slug else f"{failure.check} {failure.slug}"
        site = Text(names[failure.site.key] if failure.site else "the whole run")
        source = Text(wording.short_source(failure.site) if failure.site else "")
        table.add_row(Text(what), site, source, Text(failure.evidence))
    if len(failures) <= _MOST:
        return table
    return Group(table, Text(f"… and {len(failures) - _MOST} more; --json has all.", style="dim"))


def _places(found: tuple[DeadUnits, ...]) -> RenderableType:
    names = wording.names([place.site for place in found])
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for place in found[:_MOST]:
        share = f"{place.dead:,} of {place.site.units:,} units, {percent(place.share)}"
        table.add_row(
            Text(f"  {names[place.site.key]}"), Text(wording.short_source(place.site), style="dim"), Text(share)
        )
    if len(found) <= _MOST:
        return table
    return Group(table, Text(f"  … and {len(found) - _MOST} more; --json has all.", style="dim"))

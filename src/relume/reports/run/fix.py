"""What ``relume fix`` found → a table for the terminal, and the edit."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relume.artifacts.numbers import percent
from relume.artifacts.tried import Fixed, Tried

_STYLES = {"cured": "bold green", "fewer": "yellow"}


def render(found: Fixed) -> RenderableType:
    """Headline, one row a cure, and what the proof covers."""
    parts: list[RenderableType] = [_headline(found), Text(), _table(found), Text()]
    reasons = dict.fromkeys(each.why for each in found.tried if each.why)
    for why in reasons:
        cures = ", ".join(each.cure for each in found.tried if each.why == why)
        parts.append(Text(f"{cures}: {why}.", style="dim"))
    for each in (each for each in found.tried if each.cannot_die and math.isfinite(each.silent)):
        parts.append(Text(f"{each.cure}: {percent(each.silent)} of its units are below 0 on all data.", style="dim"))
    if found.failed:
        parts.append(Text(_failed(found), style="yellow"))
    if found.untried:
        parts.append(Text(f"Not tried, because one works: {', '.join(found.untried)}.", style="dim"))
    parts.append(Text(_proof(found), style="dim"))
    return Group(*parts)


def _headline(found: Fixed) -> Text:
    cure = found.cure
    if cure is None:
        number = len(found.tried)
        text = "The cure that was tried does not work." if number == 1 else f"None of {number} cures works."
        return Text(text, style="bold yellow")
    before, after = (percent(share) for share in cure.dead)
    told = Text(f"Cured by {cure.cure}", style="bold green")
    rest = f", now {after} are"
    if cure.cannot_die:
        rest = (
            f"; a unit of {cure.cure} has a slope below 0 and cannot die, so the proof is {found.metric}: "
            f"{_number(cure.metric[0])} → {_number(cure.metric[1])}"
        )
    return told.append(f": {cure.says}. {before} of the units were dead{rest}.", style="not bold")


def _table(found: Fixed) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("cure", no_wrap=True)
    for heading in ("dead before → after", f"{found.metric} before → after", "runs", "time"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for each in found.tried:
        style = _STYLES.get(each.outcome, "")
        table.add_row(
            Text(each.cure, style=style),
            f"{_share(each.dead[0])} → {'cannot die' if each.cannot_die else _share(each.dead[1])}",
            f"{_number(each.metric[0])} → {_number(each.metric[1])}",
            _runs(each),
            f"×{each.cost:.2f}" if math.isfinite(each.cost) else "",
            Text(each.outcome, style=style),
        )
    return table


def _runs(each: Tried) -> str:
    return f"{each.pairs} ({each.failed} failed)" if each.failed else str(each.pairs)


def _failed(found: Fixed) -> str:
    """What became of the unchanged script where it failed."""
    return (
        f"The script as it stands failed in {found.failed} of {found.seeds} runs: {found.error}. At these seeds no "
        "dead units are compared, and a cure that fails too is not blamed."
    )


def _share(value: float) -> str:
    return percent(value) if math.isfinite(value) else "?"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "none"


def _proof(found: Fixed) -> str:
    better = "more" if found.mode == "max" else "less"
    return (
        f"Each cure ran on {found.seeds} seeds, paired with the unchanged script. Fewer deaths: "
        f"p ≤ {found.level:.2g} (5 % shared by all cures). {found.metric} ({better} is better; choose with --metric): "
        f"not worse by {found.delta:.3g} or more (--delta), at 5 %. For an activation whose units cannot die, only "
        "the second test counts."
    )


def edit(found: Fixed, *, written: bool) -> Text | None:
    """The diff, to be printed without wrapping; None if no cure holds. ``written``: it was applied."""
    made = found.edit
    if made is None:
        return None
    if not made.diff:
        return Text(f"\nThere is no edit to show: {made.why}.", style="yellow")
    colors = {"+": "green", "-": "red", "@": "cyan"}
    told = Text("\nThe edit was applied" if written else "\nThe edit", style="bold").append(f": {made.proof}.", "dim")
    for line in made.diff.rstrip("\n").split("\n"):
        told.append("\n").append(line, "not bold" if line[:3] in ("+++", "---") else colors.get(line[:1], "not bold"))
    return told

"""A plan → a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from relume.artifacts.plan import Action, CurePlan
from relume.reports.run import wording


def render(plan: CurePlan) -> RenderableType:
    """Each action with its reason, its evidence and the command that checks it; then units without action."""
    if not plan.actions and not plan.open:
        return Text("Nothing to do: no unit is dead.", style="bold green")
    cured = len({(action.site, unit) for action in plan.actions for unit in action.units})
    units = cured + sum(len(entry.units) for entry in plan.open)
    headline = f"{len(plan.actions)} action{'s' * (len(plan.actions) != 1)} for {cured:,} of {units:,} dead units"
    parts: list[RenderableType] = [Text(headline, style="bold")]
    for number, action in enumerate(plan.actions, 1):
        parts += [Text(), _head(f"{number}. {action.cure}", "bold cyan", action.site), _body(*_lines(action))]
    for entry in plan.open:
        told = Text(f"units {wording.some(entry.units)}: {entry.why}", style="dim")
        parts += [Text(), _head("open", "yellow", entry.site), _body(told)]
    return Group(*parts)


def _head(word: str, style: str, site: str) -> Text:
    return Text().append(word, style=style).append(f"  {site}", style="bold")


def _lines(action: Action) -> list[Text]:
    return [
        Text(_filled(action.changes, action.settings)),
        Text(f"units {wording.some(action.units)}: {action.why}", style="dim"),
        *(Text(f"· {evidence}", style="dim") for evidence in action.evidence),
        Text(f"then: {action.check}"),
    ]


def _body(*lines: Text) -> Padding:
    return Padding(Group(*lines), (0, 0, 0, 3))


def _filled(changes: str, settings: Mapping[str, Any]) -> str:
    """The sentence with the settings in it, as a person may have changed them."""
    for name, value in settings.items():
        changes = changes.replace(f"{{{name}}}", str(value))
    return changes

"""A plan → a table for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from relume.artifacts.plan import Plan
from relume.reports import wording


def render(plan: Plan) -> RenderableType:
    """Each action with its reason, its evidence and the command that checks it; then what is left open."""
    if not plan.actions and not plan.open:
        return Text("Nothing to do: no unit is dead.", style="bold green")
    cured = len({(action.site, unit) for action in plan.actions for unit in action.units})
    units = cured + sum(len(entry.units) for entry in plan.open)
    headline = f"{len(plan.actions)} action{'s' * (len(plan.actions) != 1)} for {cured:,} of {units:,} dead units"
    parts: list[RenderableType] = [Text(headline, style="bold")]
    for number, action in enumerate(plan.actions, 1):
        line = Text(f"\n{number}. {action.cure}", style="bold cyan").append(f"  {action.site}\n", style="not bold bold")
        line.append(f"   {_filled(action.changes, action.settings)}\n", style="not bold default")
        line.append(f"   units {wording.some(action.units)}: {action.why}\n", style="not bold dim")
        for evidence in action.evidence:
            line.append(f"   · {evidence}\n", style="not bold dim")
        parts.append(line.append(f"   then: {action.check}", style="not bold default"))
    for entry in plan.open:
        parts.append(
            Text(f"\nopen  {entry.site}\n", style="yellow").append(
                f"   units {wording.some(entry.units)}: {entry.why}", style="dim"
            )
        )
    return Group(*parts)


def _filled(changes: str, settings: object) -> str:
    """The sentence with the settings in it, as a person may have changed them."""
    for name, value in dict(settings).items() if isinstance(settings, dict) else ():
        changes = changes.replace(f"{{{name}}}", str(value))
    return changes

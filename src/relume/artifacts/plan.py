"""The plan: what should be done about a run's findings, why, and on what evidence. A person reads it and edits it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from relume.artifacts.typed import strict_json
from relume.errors import PlanError

IS = "relume plan"
SCHEMA = 1
"""Of plan.json; new keys may come within a schema."""


MOST_BYTES = 64 << 20  # the numbers of 8 million units; a larger file is not a plan, and is not read


@dataclass(frozen=True)
class Action:
    """One cure at one site.

    Attributes:
        cure: its name, the stem of its file in ``doctor/cures/``. ``site``: the key of the site.
        units: that it is for. ``why``: the causes of their deaths, with how many units each.
        evidence: what speaks for the cure, of this run first. ``settings``: what a person may change.
        changes: what the user changes. ``check``: the command that shows whether it helped.
    """

    cure: str
    site: str
    units: tuple[int, ...]
    why: str
    evidence: tuple[str, ...]
    settings: Mapping[str, Any]
    changes: str
    check: str


@dataclass(frozen=True)
class Open:
    """Dead units of a site for which the plan has no cure, and what would be needed for one."""

    site: str
    units: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class CurePlan:
    """The actions, those that come first in the network and hit most units first; ``of``: the file, script and step."""

    of: Mapping[str, Any]
    actions: tuple[Action, ...] = ()
    open: tuple[Open, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The content of ``plan.json``."""
        return {"is": IS, "schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> CurePlan:
        """The plan that :meth:`to_dict` wrote, edited or not.

        Raises: KeyError, TypeError, ValueError: it is not a plan; the message names the action.
        """
        actions = tuple(_made(Action, entry, f"actions[{place}]") for place, entry in enumerate(told["actions"]))
        opened = tuple(_made(Open, entry, f"open[{place}]") for place, entry in enumerate(told.get("open", [])))
        return cls(dict(told["of"]), actions, opened)


def to_json(plan: CurePlan) -> str:
    """The plan as JSON for people: indented, with the numbers of units in one line."""
    text = json.dumps(plan.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)
    return re.sub(r"\[\s+(\d+(?:,\s+\d+)*)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)


def write_plan(plan: CurePlan, path: Path) -> None:
    """Write a plan as indented JSON.

    Raises: PlanError: the file exists and is no plan, or it cannot be written.
    """
    if path.exists() and not _is_plan(path):
        raise PlanError(
            f"{path} exists and is not a plan made by relume. Give another -o FILE.", slug="plan-in-the-way"
        )
    try:
        path.write_text(to_json(plan) + "\n", encoding="utf-8")
    except OSError as error:
        raise PlanError(
            f"Cannot write the plan {path}: {error.strerror or error}. Give another -o FILE.", slug="plan-not-writable"
        ) from error


def read_plan(path: Path) -> CurePlan:
    """Read a plan, as it was written or as a person edited it.

    Raises: PlanError: absent, no plan, of a newer relume, or an entry that does not fit.
    """
    try:
        told = _content(path)
        if not isinstance(told, dict) or told.get("is") != IS or not isinstance(told.get("schema"), int):
            raise ValueError(f'a plan begins with "is": "{IS}" and its "schema"')
        if told["schema"] > SCHEMA:
            raise PlanError(
                f"{path} has schema {told['schema']}; this relume reads up to {SCHEMA}. Upgrade: "
                "pip install -U relume.",
                slug="plan-newer",
            )
        return CurePlan.from_dict(told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanError(
            f"{path} cannot be read as a plan ({error}). Correct it, or make it again: relume plan RUN -o {path.name}.",
            slug="plan-damaged",
        ) from error


def _content(path: Path) -> Any:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, and a plan at most {MOST_BYTES:,}")
    return strict_json(path.read_text(encoding="utf-8"))


def _is_plan(path: Path) -> bool:
    try:
        told = _content(path)
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("is") == IS


def _made(kind: type[Any], entry: Any, where: str) -> Any:
    """An entry as its class has it; lists are tuples, and of its own keys none is missing or too many."""
    names = list(kind.__dataclass_fields__)
    if not isinstance(entry, dict) or set(entry) != set(names):
        odd = sorted(set(names) ^ set(entry)) if isinstance(entry, dict) else names
        raise ValueError(f"{where} has or lacks {', '.join(odd)}; its keys are {', '.join(names)}")
    lists = {"units": int, "evidence": str}
    for name, of in lists.items():
        if name in entry and not (isinstance(entry[name], list) and all(type(item) is of for item in entry[name])):
            raise ValueError(f"{where}.{name} is {entry[name]!r}; expected a list")
    texts = [name for name in names if name not in (*lists, "settings")]
    if wrong := [name for name in texts if not isinstance(entry[name], str)]:
        raise ValueError(f"{where}.{wrong[0]} is {entry[wrong[0]]!r}; expected a string")
    if not isinstance(entry.get("settings", {}), dict):
        raise ValueError(f"{where}.settings is {entry['settings']!r}; expected an object")
    return kind(**{name: tuple(value) if name in lists else value for name, value in entry.items()})

"""``--format``, and a flag for each format: made from the table of the reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from relume.reports.formats import REPORTS, Kind

_CHOSEN = "relume.format"


def formats(*kinds: Kind) -> Callable[[Any], Any]:
    """Give a command ``--format NAME`` and the flags ``--NAME`` for the reports of runs, of studies or of both."""

    def decorate(command: Any) -> Any:
        fitting = [entry for entry in REPORTS.values() if any(getattr(entry, kind) for kind in kinds)]
        for entry in reversed([entry for entry in fitting if entry.name != "html"]):
            only = "" if entry.run or kinds == ("study",) else " Studies only."
            command = _flag(entry.name, f"{entry.help}{only}")(command)
        named = click.Choice([entry.name for entry in fitting])
        text = "Output format; the flags below are short forms."
        return click.option("--format", type=named, expose_value=False, callback=_choose, help=text)(command)

    return decorate


def _flag(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(f"--{name}", is_flag=True, expose_value=False, callback=_choose, help=text)


def _choose(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value:
        name = str(param.name) if value is True else value
        ctx.meta.setdefault(_CHOSEN, []).append(name)


def chosen(*others: str) -> str | None:
    """The format that was asked for, or None.

    Args:
        others: options given that exclude a format.

    Raises: UsageError: two were asked for.
    """
    asked: Sequence[str] = [*dict.fromkeys(click.get_current_context().meta.get(_CHOSEN, ())), *others]
    if len(asked) > 1:
        raise click.UsageError(f"{' and '.join(f'--{name}' for name in asked)} cannot be combined.")
    return asked[0] if asked else None

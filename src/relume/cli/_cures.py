"""``relume run --swap``, ``--revive`` and ``--plan``: read, and refused before the script starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relume.cli._settings import Configured

if TYPE_CHECKING:
    from relume.artifacts.trial import Contender

_RULES = ("gaps", "redo", "continual_backprop", "cbp")
Cures = tuple[list[Any], list[Any]]
"""(swaps, treatments), as :class:`~relume.framework.Cures` takes them."""


class WithRevive(Configured):
    """A command whose ``--revive`` needs no value: the next word is its value only if it names a rule."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write ``--revive redo`` as ``--revive=redo`` and ``--revive SCRIPT`` as ``--revive=gaps SCRIPT``."""
        flags = {o for p in self.params if isinstance(p, click.Option) and p.is_flag for o in p.opts}
        place = 0
        while place < len(args) and args[place].startswith("-"):
            if args[place] == "--revive":
                named = place + 1 < len(args) and args[place + 1].partition(":")[0] in _RULES
                args[place : place + 1 + named] = [f"--revive={args[place + 1] if named else 'gaps'}"]
            elif args[place] not in flags and "=" not in args[place]:
                place += 1  # its value
            place += 1
        return super().parse_args(ctx, args)


def read(swaps: Iterable[str], revive: str | None, plan: str | None, script: str) -> Cures:
    """The changes that a run makes while it is watched.

    Raises:
        UnknownName, ParameterError: of an activation, a rule or their parameters.
        PlanError: the plan cannot be read, is for another script, or has no action that a run can apply.
        UsageError: a plan together with another option.
    """
    from relume.lab.contenders import parse_treatment

    if plan is not None:
        if swaps or revive is not None:
            raise click.UsageError("--plan already says what to do; give it without --swap and --revive.")
        return of_plan(plan, script)
    treatments = [parse_treatment(f"revive:{revive}")] if revive is not None else []
    return [_swap(text) for text in swaps], [asdict(each) for each in treatments]


def of_plan(file: str, script: str) -> Cures:
    """The actions of a plan that a run can apply; the others are listed on stderr.

    Raises: PlanError: as :func:`read`.
    """
    from relume.artifacts.plan import read_plan
    from relume.doctor.plan import demand_script, in_a_run

    plan = read_plan(Path(file))
    demand_script(plan, file, script)
    swaps, treatments, left = in_a_run(plan, file)
    for site, why in left:
        click.echo(f"relume: {site}: {why}", err=True)
    return read(swaps, None, None, script)[0], [asdict(_treatment(text)) for text in treatments]


def _treatment(text: str) -> Contender:
    from relume.lab.contenders import parse_treatment

    return parse_treatment(text)


def _swap(text: str) -> tuple[str, Any]:
    """Read ``relu=leaky_relu:0.1``: what to replace, and the contender as in JSON."""
    from relume import activations
    from relume.artifacts.treatments import TREATMENTS
    from relume.errors import ParameterError
    from relume.lab.contenders import parse_contender

    where, _, to = (part.strip() for part in text.partition("="))
    if not where or not to or to.partition(":")[0] in TREATMENTS:
        raise ParameterError(
            f"--swap {text!r} must have the form A=B: replace A by B. Write --swap relu=leaky_relu:0.1, or a site: "
            "--swap Net.relu1@train.py:12=elu.",
            slug="bad-swap",
        )
    if not any(mark in where for mark in "@:."):
        activation = activations.get(where)
        if not activation.elementwise or activation.name in ("sigmoid", "tanh"):
            raise ParameterError(
                f"--swap {text!r}: {activation.title} cannot be replaced. Expected an activation of the ReLU family, "
                "GELU or SiLU, or a site as `relume report` names it.",
                slug="bad-swap",
            )
        where = activation.name
    return where, asdict(parse_contender(to))

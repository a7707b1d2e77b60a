"""``relume explain``: one activation, or one of the doctor's rules, in full."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("name", metavar="NAME|RULE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a page.")
def command(name: str, as_json: bool) -> None:
    """Explain an activation or a rule of the doctor in full.

    \b
        relume explain elu       formula, curve, defaults, kinks, hazards, sources
        relume explain RLM001    what the rule finds, its evidence, the cure
    """
    from relume.doctor.rules import RULES
    from relume.reports.family import catalogue

    found = catalogue.find(name, RULES)
    if as_json:
        click.echo(json.dumps(catalogue.entry_dict(found), indent=2))
        return
    console = catalogue.console()
    console.print(catalogue.entry(found, console.width))

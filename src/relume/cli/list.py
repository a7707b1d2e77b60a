"""``relume list``: the family as a table."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--full", is_flag=True, help="Add formulas, ranges, advantages and disadvantages.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--deviations", is_flag=True, help="Show how each framework differs from relume instead.")
def command(full: bool, as_json: bool, deviations: bool) -> None:
    """List the activations: the curve, whether units can die, and when to use each.

    \b
        relume list --full          formulas, and which to choose
        relume list --deviations    how each framework differs
        relume explain elu          one activation in full
        relume plot relu elu -o curves.svg
    """
    from relume.reports.family import catalogue

    if deviations:
        _print_deviations(as_json)
    elif as_json:
        click.echo(json.dumps(catalogue.family_dict(), indent=2))
    else:
        console = catalogue.console()
        console.print(catalogue.family(console.width) if full else catalogue.overview(console.width))


def _print_deviations(as_json: bool) -> None:
    from relume.activations.deviations import load
    from relume.reports.family import catalogue
    from relume.reports.family import deviations as report

    if as_json:
        click.echo(json.dumps(report.table_dict(load()), indent=2))
    else:
        catalogue.console().print(report.table(load()))

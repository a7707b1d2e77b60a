"""``relume list``: the family as a table."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print plain data instead of tables.")
def command(as_json: bool) -> None:
    r"""Compare the activations: what they are, and which to take.

    \b
        relume explain elu    one of them in full
        relume plot relu elu -o curves.svg
    """
    from relume.reports import catalogue

    if as_json:
        click.echo(json.dumps(catalogue.family_dict(), indent=2))
        return
    console = catalogue.console()
    console.print(catalogue.family(console.width))

"""``relume diff``: two runs side by side."""

from __future__ import annotations

import click


@click.command("diff")
@click.argument("before", type=click.Path(), metavar="A")
@click.argument("after", type=click.Path(), metavar="B")
@click.option("--json", "as_json", is_flag=True, help="The stable, versioned JSON.")
def command(before: str, after: str, as_json: bool) -> int:
    """Put the recordings A and B side by side: which units died or lived in one of them alone, and what shifted.

    Exits with 5 where the two have no site in common.
    """
    import shlex

    from relume.cli import Exit
    from relume.cli._reading import findings_of, tolerant_stdout
    from relume.cli._terminal import show
    from relume.doctor.difference import differ
    from relume.reports.run import difference as report

    difference = differ(findings_of(before), findings_of(after))
    tolerant_stdout()
    if as_json:
        click.echo(report.to_json(difference))
    else:
        show(report.render(difference, (before, after)), f"relume report {shlex.quote(after)}")
    return Exit.DONE if difference.comparable else Exit.NOTHING_TO_COMPARE

"""``relume diff``: two runs side by side."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from relume.cli._forms import chosen, formats


@click.command("diff")
@click.argument("before", type=click.Path(), metavar="A")
@click.argument("after", type=click.Path(), metavar="B")
@formats("diff")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write an interactive page to this file.")
def command(before: str, after: str, html: Path | None) -> int:
    """Compare the recordings A and B: which units are dead in only one of them, and what shifted.

    \b
        relume diff main.relume pr.relume --md      a comment for a pull request
        relume diff main.relume pr.relume --html diff.html

    Exit status: 5 if the two have no site in common.
    """
    from relume.cli import Exit
    from relume.cli._reading import findings_of, tolerant_stdout, write_page
    from relume.cli._terminal import show
    from relume.doctor.difference import differ
    from relume.reports.formats import render
    from relume.reports.run import difference as report

    form = chosen(*["html"] * (html is not None))
    sides = findings_of(before), findings_of(after)
    difference = differ(*sides)
    names = (Path(before).name, Path(after).name)
    tolerant_stdout()
    if form is None:
        show(report.render(difference, (before, after)), f"relume report {shlex.quote(after)}")
    else:
        more = {"json": (), "md": (names,), "html": (names, *sides)}[form]
        text = render(form, "diff", difference, *more)
        if html is None:
            click.echo(text.rstrip("\n"))
        else:
            write_page(html, text)
    return Exit.DONE if difference.comparable else Exit.NOTHING_TO_COMPARE

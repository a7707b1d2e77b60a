"""``relume page``: the interactive page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="FILE.html to write.",
)
def command(out: Path) -> None:
    """Write the interactive page: a lesson in which units die and come back, and curves with sliders.

    It is one file and works offline: open it in a browser, project it, mail it.

    \b
        relume page -o activations.html
    """
    from relume import page

    page.save(out)
    click.echo(f"Wrote {out}. Open it in a browser.", err=True)

"""``relume plot``: curves for a paper."""

from __future__ import annotations

from math import inf
from pathlib import Path

import click


@click.command()
@click.argument("names", metavar="NAME[:PARAMETERS]...", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="FILE.svg, .png or .pdf.",
)
@click.option("--slope", is_flag=True, help="Draw the slopes too, in a second panel.")
@click.option("--between", nargs=2, type=float, metavar="LOW HIGH", help="The range of x; by default −4 to 4 or more.")
def command(names: tuple[str, ...], out: Path, slope: bool, between: tuple[float, float] | None) -> None:
    r"""Plot activations, with parameters if you like, to a picture.

    \b
        relume plot relu leaky_relu elu --slope -o curves.svg
        relume plot leaky_relu:0.2 elu:alpha=2 rrelu:0.1,0.3 -o curves.pdf
    """
    from relume.reports import curves

    curves.check_ending(out)
    if between is not None and not -inf < between[0] < between[1] < inf:
        problem = f"{between[0]:g} and {between[1]:g} are not two finite numbers in ascending order."
        raise click.BadParameter(problem, param_hint="--between")
    picture = curves.chart([curves.parse(name) for name in names], slope=slope, between=between)
    curves.save(picture, out)
    click.echo(f"Wrote {out}", err=True)

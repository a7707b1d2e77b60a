"""``relume plot``: curves for a paper."""

from __future__ import annotations

from math import inf
from pathlib import Path

import click

MOST_NARROW, MOST_WIDE = 2, 120
"""Width of a printed picture in centimeters: from an icon to a poster."""


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
@click.option("--between", nargs=2, type=float, metavar="LOW HIGH", help="Range of x; default: −4 to 4, or more.")
@click.option("--width", type=float, metavar="CM", help="Width in print, such as 8.5 or 17.5.")
def command(
    names: tuple[str, ...], out: Path, slope: bool, between: tuple[float, float] | None, width: float | None
) -> None:
    """Plot activations to a picture.

    \b
        relume plot relu leaky_relu elu --slope -o curves.svg
        relume plot leaky_relu:0.2 elu:alpha=2 rrelu:0.1,0.3 --width 8.5 -o curves.pdf

    SVG and PDF are vector graphics. Curves differ by color and by dashes, so that they print well in gray. Text is 7 to
    9 pt if one panel is 8.5 cm wide (a column), or two are 17.5 cm wide (a page).
    """
    from relume.reports.family import curves

    curves.check_ending(out)
    if between is not None and not -inf < between[0] < between[1] < inf:
        problem = f"{between[0]:g} and {between[1]:g} are not two finite numbers in ascending order."
        raise click.BadParameter(problem, param_hint="--between")
    if width is not None and not MOST_NARROW <= width <= MOST_WIDE:
        problem = f"{width:g} cm is not a width for print; give {MOST_NARROW} to {MOST_WIDE} cm."
        raise click.BadParameter(problem, param_hint="--width")
    picture = curves.chart([curves.parse(name) for name in names], slope=slope, between=between)
    curves.save(picture, out, width)
    click.echo(f"Wrote {out}", err=True)

"""``relume combine``: merge the recordings of one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from relume.artifacts.parts import Part


@click.command("combine")
@click.argument("files", type=click.Path(), nargs=-1, required=True)
@click.option("-o", "--out", type=click.Path(), required=True, metavar="OUT", help="The recording to write.")
def command(files: tuple[str, ...], out: str) -> None:
    """Merge the recordings FILES of one run into the recording OUT.

    \b
        relume combine run.relume run.rank1.relume -o whole.relume

    The counts of all ranks are added, and a unit is dead only if it is silent on every rank. Given one FILE, the
    recordings of the same run next to it are included, as in `relume report`.
    """
    import shlex

    from relume.artifacts.save import save
    from relume.cli._reading import demand_known
    from relume.doctor.combine import combine

    parts, unseen = _parts(files)
    if Path(out).exists() and any(Path(out).samefile(file) for file in files):
        raise click.UsageError(f"OUT is one of the FILES: {out}. Give another name.")
    whole = combine(parts, unseen)
    demand_known(whole, files[0])
    save(whole, Path(out))
    units = sum(record.site.units for record in whole.sites)
    click.echo(f"{out}: {len(parts)} recording{'s' * (len(parts) > 1)}, {len(whole.sites)} sites, {units:,} units")
    for part in parts:
        click.echo(f"  {part.name}{f' ({part.child})' if part.child else ''}: rank {part.rank}")
    for what, where, why in unseen:
        click.echo(f"  left out: {where}, {what}: {why}", err=True)
    click.echo(f"Next: relume report {shlex.quote(out)}")


def _parts(files: tuple[str, ...]) -> tuple[list[Part], list[tuple[str, str, str]]]:
    """The named recordings as parts of one run; a file without a rank in its name is the next rank.

    Raises: RecordingError: one cannot be read, or they are of different runs.
    """
    from relume.artifacts.parts import Part, read_run, roles, strangers
    from relume.artifacts.reader import read
    from relume.errors import RecordingError

    if len(files) == 1:
        return read_run(Path(files[0]))
    parts: list[Part] = []
    for file in dict.fromkeys(files):
        rank, child = roles(Path(file))
        taken = {part.rank for part in parts if part.child == child}
        if rank in taken:
            rank = next(number for number in range(len(taken) + 1) if number not in taken)
        part = Part(Path(file).name, rank, child, read(Path(file)))
        if parts and strangers(parts[0], part):
            raise RecordingError(
                f"{file} is of another run than {files[0]}: it was started separately, or runs another script. "
                "Give the recordings of one run; to compare two runs use `relume diff`.",
                slug="not-one-run",
            )
        parts.append(part)
    return parts, []

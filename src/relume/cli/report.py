"""``relume report``: read a recording, or studies."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from relume.artifacts.findings import Findings

_OF_STUDIES = ("csv", "latex", "methods")


@click.command("report")
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILE|STUDY...]")
@click.option("--json", is_flag=True, help="The stable, versioned JSON.")
@click.option("--md", is_flag=True, help="Markdown, for a comment on a pull request.")
@click.option("--github", is_flag=True, help="Annotations for the lines of the source, in GitHub Actions.")
@click.option("--csv", is_flag=True, help="Of studies: a row a run, for a spreadsheet or R.")
@click.option("--latex", is_flag=True, help="Of studies: a table and the Methods paragraph.")
@click.option("--methods", is_flag=True, help="Of studies: the Methods paragraph alone, as a paper could cite it.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a report to look at, in one file.")
@click.option("--no-source", is_flag=True, help="With --html: show no line of the source.")
def command(files: tuple[str, ...], html: Path | None, no_source: bool, **forms: bool) -> None:
    """Read the recording FILE (default: run.relume) and say which units are dead, where, since when.

    Recordings of the same run beside it, of other ranks and of children, are read with it.

    Folders that relume compare made are read as studies: which activation is better, by how much, how sure. Several are
    corrected together.
    """
    from relume.cli import _studies

    asked = [name for name, wanted in forms.items() if wanted] + ["html"] * (html is not None)
    if len(asked) > 1:
        raise click.UsageError(f"{' and '.join(f'--{name}' for name in asked)} exclude each other.")
    if no_source and html is None:
        raise click.UsageError("--no-source goes with --html.")
    form = asked[0] if asked else None
    if _studies.are_studies(files):
        _studies.report(files, form, html)
    elif form in _OF_STUDIES:
        raise click.UsageError(f"--{form} is for studies: give the folder that relume compare made.")
    else:
        _recording(files[0] if files else "run.relume", form, html, with_source=not no_source)


def _recording(file: str, form: str | None, html: Path | None, *, with_source: bool) -> None:
    from relume.cli._reading import findings_of, tell, tolerant_stdout

    findings = findings_of(file)
    if html is None:
        tell(findings, form)
    else:
        tolerant_stdout()
        _write_page(findings, Path(file), html, with_source=with_source)


def _write_page(findings: Findings, file: Path, out: Path, *, with_source: bool) -> None:
    """Write the HTML report; the source is looked for where the command is given, then beside the recording."""
    from relume.cli._reading import write_page
    from relume.reports.html import Sources, run_page

    sources = Sources([Path.cwd(), file.parent] if with_source else [])
    write_page(out, run_page(findings, sources, _next(findings, file)))


def _next(findings: Findings, file: Path) -> list[tuple[str, str]]:
    """What to type after the report, and what for."""
    from relume.cli import COMMANDS

    name = shlex.quote(file.name)
    lines = []
    if findings.findings and "plan" in COMMANDS:
        lines.append((f"relume plan {name} -o plan.json", "what should be done, why, and on what evidence"))
    if findings.sites:
        lines.append((f"relume check {name} --max-dead 1%", "exit 1 where more units are dead: a gate for CI"))
    return lines

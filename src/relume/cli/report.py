"""``relume report``: read a recording, or studies."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relume.cli._forms import chosen, formats
from relume.reports.formats import REPORTS

if TYPE_CHECKING:
    from relume.artifacts.findings import Findings


@click.command("report")
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILE|STUDY...]")
@formats("run", "study")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write an interactive page to this file.")
@click.option(
    "--open", "opened", is_flag=True, help="Open the page in a browser; without --html it is FILE with .html."
)
@click.option("--no-source", is_flag=True, help="Omit the source code from the page.")
def command(files: tuple[str, ...], html: Path | None, opened: bool, no_source: bool) -> None:
    """Report on the recording FILE (default: run.relume): which units are dead, where, and since when.

    Recordings of other ranks and of child processes next to FILE are included.

    A folder made by relume compare is reported as a study: which activation is better, by how much, and how certain.
    Several studies are corrected together.
    """
    from relume.cli import _studies

    names = files or ("run.relume",)
    of_studies = _studies.are_studies(files)
    if opened and html is None:
        html = Path("study.html") if of_studies else Path(names[0]).with_suffix(".html")
    form = chosen(*["html"] * (html is not None))
    if no_source and form != "html":
        raise click.UsageError("--no-source needs --html, --open or --format html.")
    if form is not None and not getattr(REPORTS[form], "study" if of_studies else "run"):
        fitting, needed = (
            ("recordings", "a recording") if of_studies else ("studies", "a folder made by relume compare")
        )
        raise click.UsageError(f"--{form} is for {fitting}: give {needed}.")
    if of_studies:
        _studies.report(files, form, html)
    else:
        _recording(names[0], form, html, with_source=not no_source)
    if opened and html is not None:
        _open(html)


def _open(page: Path) -> None:
    if click.launch(str(page.resolve())):
        click.echo(f"relume: no browser found. Open {page} yourself.", err=True)


def _recording(file: str, form: str | None, html: Path | None, *, with_source: bool) -> None:
    from relume.cli._reading import findings_of, tell, tolerant_stdout, write_page

    findings = findings_of(file)
    if form != "html":
        tell(findings, form)
        return
    tolerant_stdout()
    page = _page(findings, Path(file), with_source=with_source)
    if html is None:
        click.echo(page)
    else:
        write_page(html, page)


def _page(findings: Findings, file: Path, *, with_source: bool) -> str:
    """The page; the source is looked for in the working directory, then next to the recording."""
    from relume.reports.formats import render
    from relume.reports.run.html.source import Sources

    sources = Sources([Path.cwd(), file.parent] if with_source else [])
    return render("html", "run", findings, sources, _next(findings, file))


def _next(findings: Findings, file: Path) -> Sequence[tuple[str, str]]:
    """The next commands, and what each is for."""
    name = shlex.quote(file.name)
    lines = []
    if findings.findings:
        lines.append((f"relume plan {name} -o plan.json", "what to do, why, and on what evidence"))
    if findings.sites:
        lines.append((f"relume check {name} --max-dead 1%", "exit 1 if more units are dead: a gate for CI"))
    return lines

"""``relume check``: a gate for continuous integration."""

from __future__ import annotations

from typing import Any

import click

from relume.cli._settings import Configured
from relume.cli._share import Share


class _Names(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """Names separated by commas; in the environment also by spaces."""

    name = "rule"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """The names as a list."""
        names = value if isinstance(value, list) else str(value).split(",")
        return [name.strip() for name in names if name.strip()]


@click.command("check", cls=Configured)
@click.argument("file", type=click.Path(), default="run.relume")
@click.option(
    "--max-dead",
    type=Share("the units", "1% or 0.01", zero=True, unsure=True),
    envvar="RELUME_MAX_DEAD",
    help="Share of units that may be dead; 1% unless --fail-on is given.",
)
@click.option(
    "--per-site", is_flag=True, envvar="RELUME_PER_SITE", help="Apply the limit to each site, not to all units."
)
@click.option(
    "--fail-on",
    type=_Names(),
    multiple=True,
    metavar="RULE",
    envvar="RELUME_FAIL_ON",
    help="Fail if this rule finds anything: RLM001 or dead_unit. May be repeated.",
)
@click.option("--github", is_flag=True, help="Also print annotations for GitHub Actions.")
@click.option("--json", "as_json", is_flag=True, help="Stable, versioned JSON.")
def command(
    file: str, max_dead: float | None, per_site: bool, fail_on: tuple[list[str], ...], github: bool, as_json: bool
) -> int:
    """Check the recording FILE (default: run.relume). Exit 1 if the check fails.

    \b
        relume check run.relume --max-dead 1%
        relume check run.relume --max-dead 5% --per-site --fail-on dead_unit

    A NaN or infinite output always fails, and so does a run in which nothing was judged. Dead units of a site seen on
    fewer than 300 examples never fail. The options may be set in pyproject.toml, as max-dead = "1%" under
    [tool.relume] or [tool.relume.check], and by RELUME_MAX_DEAD, RELUME_PER_SITE and RELUME_FAIL_ON in the
    environment, which override it.
    """
    import shlex

    from relume.cli import Exit
    from relume.cli._reading import findings_of, tolerant_stdout
    from relume.cli._terminal import show
    from relume.doctor.check import check
    from relume.reports.run import verdict as report

    if github and as_json:
        raise click.UsageError("--github and --json cannot be combined: annotations are not JSON.")
    names = [name for names in fail_on for name in names]
    verdict = check(findings_of(file), max_dead=max_dead, per_site=per_site, fail_on=names)
    tolerant_stdout()
    if as_json:
        click.echo(report.to_json(verdict))
    else:
        show(report.render(verdict), None if verdict.holds else f"relume report {shlex.quote(file)}")
        if github:
            from relume.reports.run.github import folder_in_repository, of_verdict

            for line in of_verdict(verdict, folder_in_repository()):
                click.echo(line)
    return Exit.DONE if verdict.holds else Exit.CHECK_FAILED

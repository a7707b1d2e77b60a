"""``relume report``: read a recording."""

from __future__ import annotations

import click


@click.command("report")
@click.argument("file", type=click.Path(), default="run.relume")
@click.option("--json", "as_json", is_flag=True, help="The stable, versioned JSON.")
@click.option("--md", "as_markdown", is_flag=True, help="Markdown, for a comment on a pull request.")
@click.option("--github", is_flag=True, help="Annotations for the lines of the source, in GitHub Actions.")
def command(file: str, as_json: bool, as_markdown: bool, github: bool) -> None:
    """Read the recording FILE (default: run.relume) and say which units are dead, where, since when.

    Recordings of the same run beside it, of other ranks and of children, are read with it.
    """
    from relume.cli._reading import findings_of, folder_in_repository, tolerant_stdout

    if as_json + as_markdown + github > 1:
        raise click.UsageError("--json, --md and --github exclude each other.")
    findings = findings_of(file)
    tolerant_stdout()
    if as_json:
        from relume.reports.json import to_json

        click.echo(to_json(findings))
    elif as_markdown:
        from relume.reports.markdown import to_markdown

        click.echo(to_markdown(findings), nl=False)
    elif github:
        from relume.reports.github import of_findings

        for line in of_findings(findings, folder_in_repository()):
            click.echo(line)
    else:
        from rich.console import Console

        from relume.reports import terminal

        following = f"relume explain {findings.findings[0].rule}" if findings.findings else None
        Console().print(terminal.render(findings, following))

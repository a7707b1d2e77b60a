"""``relume report``: read a recording."""

from __future__ import annotations

import click


@click.command("report")
@click.argument("file", type=click.Path(), default="run.relume")
@click.option("--json", "as_json", is_flag=True, help="The stable, versioned JSON.")
def command(file: str, as_json: bool) -> None:
    """Read the recording FILE (default: run.relume) and say which units are dead, where, since when."""
    from pathlib import Path

    from relume.artifacts.recording import read
    from relume.doctor.judge import diagnose

    findings = diagnose(read(Path(file)))
    if as_json:
        from relume.reports.json import to_json

        click.echo(to_json(findings))
        return
    from rich.console import Console

    from relume.reports import terminal

    Console().print(terminal.render(findings, f"relume explain {findings.findings[0].rule}" if findings.findings else None))

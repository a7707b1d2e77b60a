"""``relume report``: read a recording."""

from __future__ import annotations

import click


@click.command("report")
@click.argument("file", type=click.Path(), default="run.relume")
@click.option("--json", "as_json", is_flag=True, help="The stable, versioned JSON.")
def command(file: str, as_json: bool) -> None:
    """Read the recording FILE (default: run.relume) and say which units are dead, where, since when."""
    import io
    import sys
    from pathlib import Path

    from relume.activations import ACTIVATIONS
    from relume.artifacts.reader import read
    from relume.doctor.diagnosis import diagnose
    from relume.errors import RecordingError

    recording = read(Path(file))
    unknown = sorted({record.site.activation for record in recording.sites} - set(ACTIVATIONS))
    if unknown:
        raise RecordingError(
            f"{file} tells of {', '.join(unknown)}, which this relume does not know. Upgrade: pip install -U relume.",
            slug="recording-newer",
        )
    findings = diagnose(recording)
    if as_json:
        from relume.reports.json import to_json

        click.echo(to_json(findings))
        return
    from rich.console import Console

    from relume.reports import terminal

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an encoding of few letters is no reason to fail
    following = f"relume explain {findings.findings[0].rule}" if findings.findings else None
    Console().print(terminal.render(findings, following))

"""What the commands that read recordings share."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relume.artifacts.findings import Findings
    from relume.artifacts.recording import Recording


def findings_of(file: str) -> Findings:
    """The doctor's findings on a recording or a checkpoint.

    Raises: RecordingError, CheckpointError: it cannot be read.
    """
    from relume.auditor.audit import is_checkpoint

    if is_checkpoint(Path(file)):
        from relume.api import audit

        return audit(file)
    from relume.doctor.reading import findings_of

    return findings_of(file)


def demand_known(recording: Recording, file: str) -> None:
    """As :func:`relume.doctor.reading.demand_known`."""
    from relume.doctor.reading import demand_known

    demand_known(recording, file)


def tell(findings: Findings, form: str | None) -> None:
    """Print findings on stdout in a format; without one as a table, with the next command."""
    import click

    tolerant_stdout()
    if form is not None:
        from relume.reports.formats import render

        click.echo(render(form, "run", findings).rstrip("\n"))
    else:
        from relume.cli._terminal import show
        from relume.reports.run import terminal, wording

        told = wording.told(findings.findings) or findings.findings
        explaining = f"relume explain {told[0].rule}" if told else None
        show(terminal.render(findings), wording.proving(findings) or explaining)


def tolerant_stdout() -> None:
    """Replace characters that stdout's encoding lacks instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def write_page(out: Path, page: str) -> None:
    """Write an HTML page and say so on stderr.

    Raises: RelumeError: it cannot be written.
    """
    import click

    from relume.errors import RelumeError

    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RelumeError(
            f"Cannot write {out}: {error.strerror or error}. Give another file to --html.", slug="cannot-write"
        ) from error
    click.echo(f"Wrote {out}, {len(page.encode()) / 1e6:.2f} MB. Open it in a browser.", err=True)

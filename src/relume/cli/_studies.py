"""``relume report`` on study folders."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import click


def are_studies(files: Sequence[str]) -> bool:
    """Whether these are folders of studies.

    Raises: UsageError: some are and some are not, or several recordings were given.
    """
    folders = [any(os.path.exists(os.path.join(file, name)) for name in ("study.json", "trials")) for file in files]
    if any(folders) and not all(folders):
        raise click.UsageError("Studies and recordings cannot be reported together: give only folders, or one file.")
    if len(files) > 1 and not any(folders):
        raise click.UsageError(
            "Give one recording; those of other ranks and of children are read with it. "
            "To compare two runs: relume diff A B."
        )
    return any(folders)


def report(folders: Sequence[str], form: str | None, html: Path | None) -> None:
    """Report on these studies, corrected together.

    Raises: StudyError: one of them cannot be read.
    """
    from relume.cli._reading import tolerant_stdout, write_page
    from relume.lab.findings import read_findings

    findings = read_findings(folders)
    tolerant_stdout()
    if form is None:
        from relume.cli._terminal import show
        from relume.reports.study import terminal

        show(terminal.render(findings), _next(folders))
        return
    from relume.reports.formats import render

    text = render(form, "study", findings)
    if html is not None:
        write_page(html, text)
    else:
        click.echo(text.rstrip("\n"))


def _next(folders: Sequence[str]) -> str:
    names = " ".join(shlex.quote(os.path.relpath(folder)) for folder in folders)
    return f"relume report {names} --html study.html"

"""Findings → HTML: the page of a run, and what a notebook shows."""

from __future__ import annotations

from collections.abc import Sequence

from relume.artifacts.findings import Findings
from relume.artifacts.numbers import percent
from relume.errors import MissingExtra
from relume.reports.html.packing import PACKAGE, packed_vega
from relume.reports.run.html import contents, table
from relume.reports.run.html.source import Sources
from relume.reports.run.html.story import shown
from relume.reports.run.states import present, said
from relume.theme import Chart, environment, safe_json
from relume.version import __version__

IN_NOTEBOOK = 3
"""Sites with their own section there."""

MOST_ROWS = 100
"""Sites in its table."""

TABLE = "~rows of the table~"
"""Placeholder for the rows of the table, filled in when the room left for them is known."""


def run_page(findings: Findings, sources: Sources | None = None, next_commands: Sequence[tuple[str, str]] = ()) -> str:
    """The report of a run as one HTML file.

    Args:
        findings: what the doctor says of the run.
        sources: where to read the lines of the user's source; without it none are shown.
        next_commands: what to type next, and what each is for.

    Raises: MissingExtra: altair or vl-convert-python is not installed.
    """
    report = contents.report(findings, sources or Sources())
    columns = table.columns(report)
    templates = environment(PACKAGE)
    templates.globals |= {"percent": percent, "present": present, "said": said, "shown": shown}
    page = templates.get_template("run.html").render(
        report=report,
        columns=columns,
        by_key={judged.site.key: row for judged, row in zip(findings.sites, report.rows, strict=True)},
        page=contents.PAGE,
        vega=packed_vega() if report.rows else "",
        next_commands=[(shown(command, 400), why) for command, why in next_commands],
        version=__version__,
        table=TABLE,
    )
    told = table.data(report.worst, columns, table.MOST_BYTES - len(page.encode()))
    return page.replace(TABLE, str(safe_json(told)), 1)


def notebook(findings: Findings) -> str:
    """The report as a block for a notebook: without scripts, and without charts where altair is not installed."""
    report = contents.report(findings, Sources(), IN_NOTEBOOK)
    templates = environment(PACKAGE)
    templates.globals |= {"present": present, "said": said, "shown": shown}
    return templates.get_template("notebook.html").render(
        report=report,
        by_key={judged.site.key: row for judged, row in zip(findings.sites, report.rows, strict=True)},
        picture=_picture,
        most=MOST_ROWS,
    )


def _picture(chart: Chart) -> str:
    try:
        return chart.picture()
    except MissingExtra:
        return ""

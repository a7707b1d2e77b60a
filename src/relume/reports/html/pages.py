"""Findings → HTML: the page of a run, the page of studies, and what a notebook shows."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from relume.artifacts.findings import Findings
from relume.artifacts.study_findings import StudyFindings
from relume.errors import MissingExtra
from relume.look import Chart, environment, safe_json, vega
from relume.reports.html import run, study, table
from relume.reports.html.source import Sources
from relume.reports.html.story import shown
from relume.reports.states import present, said
from relume.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup

PACKAGE = "relume.reports.html"

MOST_DATA = 300_000
"""Bytes of a study's data that stand in the page as they are; more are packed."""

MOST_PACKED = 450_000
"""Of them packed; more are told with shorter curves."""

SHORTER = (1000, 200, 40, 8, 1)
"""Points of a curve, where all of them are too many."""

IN_NOTEBOOK = 3
"""Sites that have a section of their own there."""

MOST_ROWS = 100
"""Sites in its table."""

TABLE = "~rows of the table~"
"""Where the rows of the table come in, when it is known how much room the rest has left."""


def run_page(findings: Findings, sources: Sources | None = None, next_commands: Sequence[tuple[str, str]] = ()) -> str:
    """The report of a run as one HTML file.

    Args:
        findings: what the doctor says of the run.
        sources: where the lines of the user's source are read from; none are shown without it.
        next_commands: what to type next, and what each is for.

    Raises: MissingExtra: altair or vl-convert-python is not installed.
    """
    report = run.report(findings, sources or Sources())
    columns = table.columns(report)
    templates = environment(PACKAGE)
    templates.globals |= {"present": present, "said": said, "shown": shown}
    page = templates.get_template("run.html").render(
        report=report,
        columns=columns,
        by_key={judged.site.key: row for judged, row in zip(findings.sites, report.rows, strict=True)},
        page=run.PAGE,
        vega=packed_vega() if report.rows else "",
        next_commands=[(shown(command, 400), why) for command, why in next_commands],
        version=__version__,
        table=TABLE,
    )
    told = table.data(report.worst, columns, table.MOST_BYTES - len(page.encode()))
    return page.replace(TABLE, str(safe_json(told)), 1)


def study_page(studies: Sequence[StudyFindings]) -> str:
    """The report of one study, or of several that were corrected together, as one HTML file.

    Raises: MissingExtra: altair or vl-convert-python is not installed.
    """
    reports = [study.report(findings, number, len(studies)) for number, findings in enumerate(studies, 1)]
    plain, short = _data(studies)
    templates = environment(PACKAGE)
    return templates.get_template("study.html").render(
        reports=reports,
        data=plain,
        packed=packed(plain) if len(plain) > MOST_DATA else "",
        short_curves=short,
        vega=packed_vega() if any(any(report.charts.values()) for report in reports) else "",
        version=__version__,
    )


def _data(studies: Sequence[StudyFindings]) -> tuple[Markup, int | None]:
    """The data as JSON; where they are too large even packed, with curves of so many points, which is returned too."""
    whole = study.data(studies)
    for most in (None, *SHORTER):
        text = safe_json(whole if most is None else study.with_short_curves(whole, most))
        if len(text) <= MOST_DATA or len(packed(text)) <= MOST_PACKED:
            break
    return text, most


def notebook(findings: Findings) -> str:
    """The report as a block for a notebook: without scripts, and without charts where altair is not installed."""
    report = run.report(findings, Sources(), IN_NOTEBOOK)
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


def packed(text: str) -> str:
    """A text as gzip in base64, for packed.js: half its size, or less."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode("ascii")


@cache
def packed_vega() -> str:
    """Vega, packed."""
    return packed(vega())

"""Studies → HTML: one page."""

from __future__ import annotations

from collections.abc import Sequence

from relume.artifacts.study_findings import StudyFindings
from relume.reports.html.packing import PACKAGE, packed_vega
from relume.reports.study.html import contents
from relume.theme import environment
from relume.version import __version__


def study_page(studies: Sequence[StudyFindings]) -> str:
    """The report of one study, or of several that were corrected together, as one HTML file.

    Raises: MissingExtra: altair or vl-convert-python is not installed.
    """
    reports = [contents.report(findings, number, len(studies)) for number, findings in enumerate(studies, 1)]
    return (
        environment(PACKAGE)
        .get_template("study.html")
        .render(
            reports=reports,
            vega=packed_vega() if any(any(report.charts.values()) for report in reports) else "",
            version=__version__,
        )
    )

"""Studies → HTML: one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relume.artifacts.study_findings import StudyFindings
from relume.reports.html.packing import PACKAGE, packed, packed_vega
from relume.reports.study.html import contents
from relume.theme import environment, safe_json
from relume.version import __version__

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_DATA = 300_000
"""Bytes of a study's data that are not packed; more are."""

MOST_PACKED = 450_000
"""Bytes after packing; more get shorter curves."""

SHORTER = (1000, 200, 40, 8, 1)
"""Points of a curve, where all of them are too many."""


def study_page(studies: Sequence[StudyFindings]) -> str:
    """The report of one study, or of several that were corrected together, as one HTML file.

    Raises: MissingExtra: altair or vl-convert-python is not installed.
    """
    reports = [contents.report(findings, number, len(studies)) for number, findings in enumerate(studies, 1)]
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
    """The data as JSON, and the points per curve if the curves had to be shortened."""
    whole = contents.data(studies)
    for most in (None, *SHORTER):
        text = safe_json(whole if most is None else contents.with_short_curves(whole, most))
        if len(text) <= MOST_DATA or len(packed(text)) <= MOST_PACKED:
            break
    return text, most

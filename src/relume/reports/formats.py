"""The formats of the reports in one table; the options of the commands are made from it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal, NamedTuple

Kind = Literal["run", "study", "diff"]


class Format(NamedTuple):
    """A format: its name, its purpose and its writer.

    ``run``, ``study`` and ``diff``: module and function under ``relume.reports`` that take the findings of a run, those
    of studies, or the difference of two runs, and return text; "" if there is no such report.
    """

    name: str
    help: str
    run: str = ""
    study: str = ""
    diff: str = ""


REPORTS = {
    entry.name: entry
    for entry in (
        Format(
            "json",
            "Stable, versioned JSON.",
            "run.json:to_json",
            "study.json:to_json",
            "run.difference:to_json",
        ),
        Format(
            "md",
            "Markdown, for a pull request.",
            "run.markdown:to_markdown",
            "study.markdown:to_markdown",
            "run.difference:to_markdown",
        ),
        Format("github", "Annotations on the source lines, in GitHub Actions.", "run.github:to_github"),
        Format("csv", "One row per run, for a spreadsheet or R.", study="study.csv:to_csv"),
        Format("latex", "A table and the Methods paragraph.", study="study.latex:to_latex"),
        Format("methods", "Only the Methods paragraph, ready to paste.", study="study.methods:to_methods"),
        Format(
            "html",
            "An interactive page in one file.",
            "run.html.page:run_page",
            "study.html.page:study_page",
            "run.html.difference:difference_page",
        ),
    )
}
"""By their names."""


def render(name: str, kind: Kind, findings: Any, *more: Any) -> str:
    """Write the findings of a run, of studies, or a difference, in a format that has this kind.

    Args:
        name: a key of :data:`REPORTS`.
        kind: what ``findings`` are of.
        findings: ``Findings``, a sequence of ``StudyFindings``, or a ``Difference``.
        more: what only this format takes: a run's page takes the sources and the next commands.
    """
    module, function = getattr(REPORTS[name], kind).split(":")
    write = getattr(import_module(f"relume.reports.{module}"), function)
    return str(write(findings, *more))

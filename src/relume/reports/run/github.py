"""Findings and verdicts → workflow commands, which GitHub shows as annotations on the lines of the source.

The form and its escapes: docs.github.com, "Workflow commands for GitHub Actions". GitHub shows ten errors and ten
warnings of a step, so the worst come first.
"""

from __future__ import annotations

import os
from pathlib import Path
from posixpath import normpath

from relume.artifacts.findings import Findings
from relume.artifacts.recording import Site
from relume.artifacts.verdict import Failure, Verdict
from relume.reports.run import wording

_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


def of_findings(findings: Findings, folder: str = "") -> list[str]:
    """An annotation a finding. ``folder``: the run's, seen from the root of the repository."""
    sites = {judged.site.key: judged.site for judged in findings.sites}
    return [
        _annotation(
            _LEVELS[f.severity],
            sites[f.site],
            f"{f.rule} {f.slug}",
            f"{f.evidence}. {f'Units {wording.some(f.units)}. ' if f.units else ''}{f.advice}.",
            folder,
        )
        for f in wording.told(findings.findings)
    ]


def to_github(findings: Findings) -> str:
    """A line per finding, for the step that prints it in GitHub Actions."""
    return "\n".join(of_findings(findings, folder_in_repository()))


def folder_in_repository() -> str:
    """The working directory seen from the root of the repository, where GitHub Actions say which that is."""
    root = os.environ.get("GITHUB_WORKSPACE")
    here = Path.cwd()
    if not root or not here.is_relative_to(Path(root).resolve()):
        return ""
    folder = here.relative_to(Path(root).resolve()).as_posix()
    return "" if folder == "." else folder


def of_verdict(verdict: Verdict, folder: str = "") -> list[str]:
    """An annotation a failure; for too many dead units of the whole run, one on each site that has some."""
    lines = []
    for failure in verdict.failures:
        lines.append(_annotation("error", failure.site, _title(failure), f"{failure.evidence}.", folder))
        if failure.check == "max_dead" and failure.site is None:
            lines += [
                _annotation(
                    "error",
                    found.site,
                    _title(failure),
                    f"{found.dead:,} of {found.site.units:,} units are dead here. {failure.evidence}.",
                    folder,
                )
                for found in verdict.dead_sites
            ]
    return lines


def _title(failure: Failure) -> str:
    titles = {"max_dead": "relume: too many dead units", "judged": "relume: nothing was judged"}
    return titles.get(failure.check, f"{failure.check} {failure.slug}")


def _annotation(level: str, site: Site | None, title: str, message: str, folder: str) -> str:
    where = {}
    if site is not None:
        where["file"] = normpath(f"{folder}/{site.file}") if folder else site.file
        if site.line > 0:
            where["line"] = str(site.line)
        message = f"{wording.names([site])[site.key]}: {message}"
    properties = ",".join(f"{name}={_property(value)}" for name, value in {**where, "title": title}.items())
    return f"::{level} {properties}::{_data(message)}"


def _data(text: str) -> str:
    """Text escaped for GitHub after the ``::``."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Text as GitHub demands it between the commas."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")

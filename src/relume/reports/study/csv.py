"""Studies → CSV: a row a run, for a spreadsheet, R or pandas."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.trial import Trial
from relume.reports.study import wording

COLUMNS = (
    "study", "script", "activation", "seed", "lr_factor", "stage", "status", "metric", "value", "seconds",
    "cpu_seconds", "peak_memory", "parameters_added", "dead_share", "error",
)  # fmt: skip


def to_csv(studies: Sequence[StudyFindings]) -> str:
    """One table of all studies; a number that is not there is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for findings in studies:
        writer.writerows(_rows(findings))
    return text.getvalue()


def _rows(findings: StudyFindings) -> Iterator[list[Any]]:
    for trial in findings.trials:
        yield [_cell(each) for each in _row(findings, trial)]


def _row(findings: StudyFindings, trial: Trial) -> list[Any]:
    value = findings.values.get(trial.key, math.nan)
    return [
        findings.name, findings.subject.script, *trial.key, trial.status, findings.design.metric, value, trial.seconds,
        trial.cpu_seconds, trial.peak_memory, trial.parameters_added, trial.dead_share, trial.error,
    ]  # fmt: skip


def _cell(value: Any) -> Any:
    """Texts on one line and of bearable length; a spreadsheet takes none of them for a formula."""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    if not isinstance(value, str):
        return "" if value is None else value
    line = wording.short(value, 200)
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") else line

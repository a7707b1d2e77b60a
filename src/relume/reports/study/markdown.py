"""Studies → Markdown: for a comment, a README or lab notes."""

from __future__ import annotations

from collections.abc import Sequence

from relume.artifacts.study_findings import StudyFindings
from relume.reports.run.markdown import cell, code, plain
from relume.reports.study import wording
from relume.reports.study.methods import paragraph


def to_markdown(studies: Sequence[StudyFindings]) -> str:
    """A section a study: the sentence, what each contender buys and costs, the notes, the methods."""
    return "\n\n".join(part for findings in studies for part in _study(findings)) + "\n"


def _study(findings: StudyFindings) -> list[str]:
    parts = [f"### relume: {code(wording.command(findings))}", f"**{plain(wording.sentence(findings))}**"]
    names, calls = wording.names(findings), wording.calls(findings)
    parts += [_table(title, names, columns, calls) for title, columns in wording.tables(findings)]
    told = [wording.rests_on(findings), wording.looks(findings)]
    parts.append(plain(" ".join(line for line in told if line)))
    parts.append("\n".join(f"- {plain(note)}" for note in _some(wording.notes(findings))))
    left = [f"- {code(what)} at {code(where)}: {plain(why)}" for what, where, why in wording.left_alone(findings)]
    if left:
        shown = "\n".join(_some(left, f"- … and {len(left) - wording.MOST_NOTES} more; `--json` has all."))
        parts.append(f"<details><summary>Not replaced: {len(left)}</summary>\n\n{shown}\n\n</details>")
    parts.append(f"<details><summary>Methods</summary>\n\n{plain(paragraph(findings))}\n\n</details>")
    return [part for part in parts if part]


def _some(lines: list[str], rest: str = "") -> list[str]:
    kept = lines[: wording.MOST_NOTES]
    more = rest or f"… and {len(lines) - len(kept)} more; --json has all."
    return kept if len(kept) == len(lines) else [*kept, more]


def _table(title: str, names: Sequence[str], columns: Sequence[wording.Column], calls: Sequence[str]) -> str:
    rows = [[title, *(plain(heading) for heading, _ in columns)]]
    rows.append([":--", *(":--" if heading == "verdict" else "--:" for heading, _ in columns)])
    for row, name in enumerate(names):
        cells = [plain(cells[row]) for _, cells in columns]
        rows.append([cell(name) if calls[row] else plain(name), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)

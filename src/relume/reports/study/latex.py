r"""Studies → LaTeX: a table with booktabs, its caption the sentence, and the Methods paragraph. Only ``\input`` it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from relume.artifacts.study_findings import StudyFindings
from relume.reports.study import wording
from relume.reports.study.methods import paragraph

_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}",  # after \\\\ a bracket would be its argument
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "α": r"$\alpha$", "…": r"\ldots{}", "→": r"$\to$",
}  # fmt: skip
_LATIN = 0x250  # the first letter after Latin
_HEAD = r"% \usepackage[T1]{fontenc} \usepackage{booktabs}"


def to_latex(studies: Sequence[StudyFindings]) -> str:
    """A table and a paragraph a study."""
    told = [part for place, findings in enumerate(studies) for part in _study(findings, place)]
    return "\n\n".join([_HEAD, *told]) + "\n"


def escaped(text: str) -> str:
    r"""Text in which LaTeX sees no command, and no letter that its usual fonts lack.

    Example:
        >>> escaped("50 % of my_net & {x}")
        '50\\,\\% of my\\_net \\& \\{x\\}'
    """
    written = "".join(_ESCAPED.get(letter, letter if ord(letter) < _LATIN else "?") for letter in text)
    return written.replace(r" \%", r"\,\%")


def _study(findings: StudyFindings, place: int) -> list[str]:
    told = _table(findings, place) if findings.confirmed else f"% {wording.short(wording.sentence(findings), 400)}"
    return [told, rf"\paragraph{{Methods.}} {escaped(paragraph(findings))}"]


def _table(findings: StudyFindings, place: int) -> str:
    columns = [*wording.quality(findings), *wording.cost(findings)]
    bold = [call == "better" for call in wording.calls(findings)]
    heads = " & ".join(["activation", *(escaped(heading) for heading, _ in columns)])
    lines = []
    for row, name in enumerate(wording.names(findings)):
        cells = [escaped(name), *(escaped(cells[row]) for _, cells in columns)]
        if bold[row]:
            cells[0] = rf"\textbf{{{cells[0]}}}"
        lines.append(" & ".join(cells) + r" \\")
        lines += [r"\midrule"] if row == wording.has_own_row(findings) else []
    layout = "l" + "".join("l" if heading == "verdict" else "r" for heading, _ in columns)
    label = re.sub(r"[^A-Za-z0-9]+", "-", findings.name).strip("-")[:40] or "study"
    label += f"-{place + 1}" if place else ""
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escaped(wording.sentence(findings))}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            rf"{heads} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )

"""Findings → Markdown for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from relume.artifacts.findings import Finding, Findings, Judged, too_few
from relume.reports.run import cured, wording

MOST_SITES = 60
"""Rows of the table: a comment on GitHub holds 65,536 characters."""

_SIGNS = {"error": "🔴", "warning": "🟡", "info": "🔵"}


def to_markdown(findings: Findings) -> str:
    """The report: headline, a row a site, the findings, what was not observed."""
    first, rest = wording.headline(findings)
    parts = [f"### relume: {plain(first)}", _summary(findings, rest)]
    if findings.sites:
        names = wording.names([judged.site for judged in findings.sites])
        parts += [_table(findings.sites, names), *_findings(findings, names)]
    parts += _not_observed(findings)
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(findings: Findings, rest: str) -> str:
    run = findings.run
    sentences = [f"{plain(rest[0].upper() + rest[1:]).rstrip('.')}."]
    if findings.sites and wording.unfinished(findings):
        sentences.append("**The run is not finished, or it was cut off.**")
    if failed := wording.failed(findings):
        sentences.append(f"**{failed[0].upper()}{failed[1:]}.**")
    if why := too_few(findings.sites):
        sentences.append(f"Provisional where marked ~ ({why}).")
    if findings.sites and (overhead := wording.overhead(run)):
        sentences.append(f"{overhead}.")
    sentences += [f"{plain(told)}." for told in cured.sentences(run)]
    if run.get("parts"):
        sentences.append(f"Recordings of this run: {', '.join(code(name) for name in run['parts'])}.")
    if run.get("fault"):
        sentences.append(f"**The watching ended early:** {code(run['fault'])}.")
    return " ".join(sentences)


def _table(sites: Sequence[Judged], names: dict[str, str]) -> str:
    columns = wording.columns(sites)
    rows = [["site", "source", *(heading for heading, _, _ in columns)]]
    rows.append([":--", ":--", *("--:" for _ in columns)])
    for row, judged in enumerate(sites[:MOST_SITES]):
        site = judged.site
        where = f"{cell(names[site.key])} {cell(site.call)}"
        rows.append([where, cell(wording.source(site)), *(cells[row].replace("~", "\\~") for _, _, cells in columns)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if len(sites) > MOST_SITES:
        lines.append(f"\n… and {len(sites) - MOST_SITES} more sites; `relume report --json` has all.")
    return "\n".join(lines)


def _findings(findings: Findings, names: dict[str, str]) -> list[str]:
    told = wording.told(findings.findings)
    sites = {judged.site.key: judged.site for judged in findings.sites}
    lines = []
    for f in told[: wording.MOST_FINDINGS]:
        lines.append(_finding(f, names[f.site], wording.source(sites[f.site])))
    if len(told) > wording.MOST_FINDINGS:
        lines.append(f"- … and {len(told) - wording.MOST_FINDINGS} more findings; `relume report --json` has all.")
    return ["\n".join(lines)] if lines else []


def _finding(f: Finding, name: str, source: str) -> str:
    head = f"- {_SIGNS[f.severity]} **{f.rule} {plain(f.slug)}** {code(name)} at {code(source)}: {plain(f.evidence)}."
    units = f"\n  Units {plain(wording.some(f.units))}." if f.units else ""
    return f"{head}{units}\n  → {plain(f.advice)}"


def _not_observed(findings: Findings) -> list[str]:
    rows = findings.not_observed
    if not rows:
        return []
    lines = [f"- {code(what)} at {code(where)}: {plain(why)}." for what, where, why in rows[: wording.MOST_FINDINGS]]
    if len(rows) > wording.MOST_FINDINGS:
        lines.append(f"- … and {len(rows) - wording.MOST_FINDINGS} more; `relume report --json` has all.")
    listed = "\n".join(lines)
    return [f"<details><summary>Not observed: {len(rows)}</summary>\n\n{listed}\n\n</details>"]


def code(name: str) -> str:
    """A name as a code span, without markup or mentions.

    Example:
        >>> code("a`b"), code("")
        ('``a`b``', '` `')
    """
    line = " ".join(name.split()) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def cell(name: str) -> str:
    r"""A code span in a table: GitHub ends a cell at a pipe, in code too, unless it is escaped.

    A backslash before the pipe would take the escape away, so such a name loses it to a slash.

    Example:
        >>> print(cell("a|b"))
        `a\|b`
    """
    return code(re.sub(r"\\+(?=\|)", "/", name)).replace("|", "\\|")


def plain(words: str) -> str:
    """Words without markup: what Markdown, HTML or a mention would make of them is escaped."""
    plain = re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", " ".join(words.split()))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("@", "@\u200b")

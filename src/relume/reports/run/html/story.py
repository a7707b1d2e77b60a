"""What the report says first, in sentences: how many units are lost, where, since when, why, and on what evidence."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relume.artifacts.findings import Finding, Findings, Judged, died, too_few
from relume.reports.run import wording
from relume.reports.run.states import STATES

MOST_LETTERS = 160
"""Letters of a name in running text; a longer name is shown as both ends and its length."""

PLACES = 3
"""Sites that a sentence names; the others are counted."""

UNIT_RULES = ("dead_unit", "born_dead", "rare_unit", "always_on", "one_sided", "stuck_high", "saturated", "non_finite")
"""States that the sentences on units mention."""


@dataclass(frozen=True)
class Summary:
    """The first lines of the report. ``tone`` is "bad", "warn", "good" or "none": a mark next to the words."""

    tone: str
    headline: str
    sentences: tuple[str, ...]
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """One thing to do, and every place to which it applies."""

    rule: str
    slug: str
    severity: str
    says: str
    evidence: str
    sites: tuple[str, ...]
    more: int
    command: str


def shown(text: object, most: int = MOST_LETTERS) -> str:
    r"""A name on one line, of no more than so many letters, without signs that are not seen.

    Example:
        >>> shown("a\nb"), shown("x" * 50, most=12)
        ('a b', 'xxxxxx … xxxx (50 characters)')
    """
    line = " ".join(str(text).split())
    line = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in line)
    if len(line) <= most:
        return line
    return f"{line[: most // 2]} … {line[-(most // 3) :]} ({len(line):,} characters)"


def title(findings: Findings, most: int = MOST_LETTERS) -> str:
    """The command or other subject that was watched, in at most this many letters."""
    run = findings.run
    if wording.audited(findings):
        return shown(run["checkpoint"], most)
    if not run.get("script"):
        models = dict.fromkeys(judged.site.model for judged in findings.sites if judged.site.model)
        return shown(" and ".join(models) or "a model", 80)
    return shown(" ".join([str(run["script"]), *map(str, run.get("argv") or [])]), most)


def summary(findings: Findings, names: Mapping[str, str]) -> Summary:
    """The report in a headline and a few sentences."""
    if not findings.sites:
        return Summary("none", "No activation was watched", (wording.why_nothing(findings),), _cautions(findings))
    dead = sum(len(judged.dead) for judged in findings.sites)
    worst = "error" if any(f.severity == "error" for f in findings.findings) else ""
    warned = any(f.severity == "warning" for f in findings.findings)
    tone = "bad" if worst or dead else "warn" if warned else "good"
    headline = wording.broken(findings) or wording.dead(findings)
    sentences = [_where(findings, names), _when(findings), _besides(findings), _warned(findings), _judged_on(findings)]
    return Summary(tone, headline, tuple(s for s in sentences if s), _cautions(findings))


def _where(findings: Findings, names: Mapping[str, str]) -> str:
    hit = sorted((judged for judged in findings.sites if judged.dead), key=lambda judged: -len(judged.dead))
    if len(hit) < 2:  # the headline says it
        return ""
    places = [_place(judged, names) for judged in hit[:PLACES]]
    rest = f"; and {len(hit) - PLACES:,} more" if len(hit) > PLACES else ""
    return f"The dead units are in {len(hit):,} of {len(findings.sites):,} sites: {'; '.join(places)}{rest}."


def _place(judged: Judged, names: Mapping[str, str]) -> str:
    name, where = shown(names[judged.site.key], 60), shown(wording.short_source(judged.site), 40)
    return f"{name} ({where}), {len(judged.dead):,} of {judged.site.units:,}"


def _when(findings: Findings) -> str:
    deaths: list[tuple[int, int]] = []
    kinds: Counter[str] = Counter()
    born = dead = 0
    for judged in findings.sites:
        known = judged.deaths()
        deaths += [known[unit] for unit in judged.dead if unit in known and unit not in set(judged.born_dead)]
        kinds.update(judged.cause[unit].kind for unit in judged.dead if unit in judged.cause)
        born, dead = born + len(judged.born_dead), dead + len(judged.dead)
    said = []
    if born:
        said.append("none of them ever fired" if born == dead > 1 else f"{born:,} never fired")
    if deaths:
        said.append(f"{'the others' if born else 'they'} {died(deaths)}")
    told = [(kind, number) for kind, number in kinds.most_common() if kind not in ("unknown", "born dead")]
    causes = ", ".join(
        f"{kind} ({number:,}{' units' * (not place and number > 1)})" for place, (kind, number) in enumerate(told)
    )
    if causes:
        said.append(f"cause: {causes}")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _besides(findings: Findings) -> str:
    said = []
    for state in STATES[:-1]:
        number = sum(len(getattr(judged, name)) for judged in findings.sites for name in state.fields)
        if number and state.key != "dead":
            said.append(f"{number:,} {'is' if number == 1 else 'are'} {state.label}")
    if not said:
        return ""
    others = "Of the others, " if any(judged.dead for judged in findings.sites) else ""
    text = f"{others}{wording.listed(said)}."
    return text[0].upper() + text[1:]


def _warned(findings: Findings) -> str:
    """The other warnings, by name."""
    sites: dict[str, int] = {}
    for found in findings.findings:
        if found.severity != "info" and found.slug not in UNIT_RULES:
            sites[found.slug] = sites.get(found.slug, 0) + 1
    said = [f"{slug.replace('_', ' ')} at {number:,} site{'s' * (number > 1)}" for slug, number in sites.items()]
    return f"Also found: {wording.listed(said)}." if said else ""


def _judged_on(findings: Findings) -> str:
    if wording.audited(findings):
        return f"Judged from the checkpoint only{wording.at_step(findings.run['steps'])}; nothing was run."
    examples = sorted(judged.examples for judged in findings.sites)
    span = f"{examples[0]:,}" if examples[0] == examples[-1] else f"{examples[0]:,} to {examples[-1]:,}"
    run = findings.run
    cost = f" {overhead}." if (overhead := wording.overhead(run)) else ""
    seen = f"relume looked at {run['looked']:,} of {run['steps']:,} steps."
    return f"Judged on the latest {span} examples of each site. {seen}{cost}"


def _cautions(findings: Findings) -> tuple[str, ...]:
    run, said = findings.run, []
    if findings.sites and wording.unfinished(findings):
        said.append("The run is not finished, or it was cut off. This report covers what was seen so far.")
    if failed := wording.failed(findings):
        said.append(f"{failed[0].upper()}{failed[1:]}. This report covers what was seen until then.")
    loose = sum(judged.provisional for judged in findings.sites)
    if loose:
        many = "all" if loose == len(findings.sites) else f"{loose:,} of {len(findings.sites):,}"
        said.append(f"Provisional (marked ~, {too_few(findings.sites)}): {many} sites.")
    assumed = sum(judged.site.axis_assumed for judged in findings.sites)
    if assumed:
        said.append(f"The unit axis is assumed at {assumed:,} sites, because the layer before them is unknown.")
    if run.get("fault"):
        said.append(f"The watching ended early: {shown(run['fault'], 400)}")
    return tuple(said)


def advice(findings: Findings, names: Mapping[str, str], most: int = 8) -> list[Advice]:
    """The findings by what to do about them: errors first; then what hits most units, and what most sites."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for found in wording.told(findings.findings):
        groups.setdefault((found.rule, found.advice), []).append(found)
    order = ("error", "warning", "info")

    def rank(group: Sequence[Finding]) -> tuple[int, int, int, str]:
        hit = sum(len(found.units) for found in group)
        return order.index(group[0].severity), -hit, -len(group), group[0].rule

    return [_advice(group, names, most) for group in sorted(groups.values(), key=rank)]


def _advice(group: Sequence[Finding], names: Mapping[str, str], most: int) -> Advice:
    first = max(group, key=lambda found: len(found.units))
    sites = list(dict.fromkeys(found.site for found in group))
    says = shown(first.advice, 600)
    return Advice(
        rule=first.rule,
        slug=first.slug,
        severity=first.severity,
        says=says[:1].upper() + says[1:],
        evidence=f"{shown(names[first.site], 80)}: {shown(first.evidence, 600)}",
        sites=tuple(sites[:most]),
        more=max(0, len(sites) - most),
        command=f"relume explain {first.rule}",
    )

"""Findings → verdict: whether a run passes.

A run fails if too many units are dead, if one of the rules that were named finds anything, if any finding is an error
(NaN), and if nothing was judged: a gate that passes without looking is useless. A provisional site never fails a
check for its dead units, and its units count neither as dead nor as judged.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from relume.artifacts.findings import Findings, Judged, too_few
from relume.artifacts.numbers import percent
from relume.artifacts.verdict import CheckResult, DeadUnits, Failure
from relume.doctor.rules import RULES, Rule
from relume.errors import UnknownName

DEFAULT_MAX_DEAD = 0.01
"""The default: 1 % of all units."""

_DEAD_ADVICE = "the report says which, since when and why"


def check(
    findings: Findings, *, max_dead: float | None = None, per_site: bool = False, fail_on: Sequence[str] = ()
) -> CheckResult:
    """Check a run.

    Args:
        findings: of the run.
        max_dead: share of units that may be dead, in [0, 1]; without it and without ``fail_on`` it is 1 %.
        per_site: the share is of each site's units, instead of all.
        fail_on: codes or names of the rules that may not find anything; errors fail without being named.

    Raises: UnknownName: no such rule.
    """
    rules = rules_named(fail_on)
    if max_dead is None and not rules:
        max_dead = DEFAULT_MAX_DEAD
    judged = [site for site in findings.sites if not site.provisional]
    failures = _nothing_judged(findings, judged)
    if max_dead is not None:
        failures += _too_many_per_site(judged, max_dead) if per_site else _too_many(judged, max_dead)
    failures += _found(findings, rules)
    return CheckResult(
        max_dead=max_dead,
        per_site=per_site,
        rules=tuple(rule.code for rule in rules),
        dead=sum(len(site.dead) for site in judged),
        judged=sum(site.site.units for site in judged),
        units=sum(site.site.units for site in findings.sites),
        provisional=tuple(site.site.key for site in findings.sites if site.provisional),
        dead_sites=_dead_sites(judged),
        failures=tuple(failures),
        notes=tuple(_notes(findings)),
    )


def rules_named(names: Sequence[str]) -> list[Rule]:
    """The rules of these codes or names, each once, in the order of their codes.

    Raises: UnknownName: no such rule; names the nearest and all.
    """
    known = {name.lower(): rule for rule in RULES for name in (rule.code, rule.name)}
    wanted = set()
    for name in names:
        rule = known.get(name.strip().lower().replace("-", "_"))
        if rule is None:
            near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.5)
            found = known[near[0]] if near else None
            guess = f" Did you mean {found.code if near[0] != found.name else found.name!r}?" if found else ""
            listed = ", ".join(f"{rule.code} {rule.name}" for rule in RULES)
            raise UnknownName(f"There is no rule {name!r}.{guess} Known: {listed}.", slug="unknown-rule")
        wanted.add(rule.code)
    return [rule for rule in RULES if rule.code in wanted]


def _nothing_judged(findings: Findings, judged: Sequence[Judged]) -> list[Failure]:
    if judged:
        return []
    if not findings.sites:
        said = "nothing was judged: no activation was watched [nothing-judged]"
        return [Failure("judged", "nothing_judged", None, 0, 0, said, "the report says why")]
    units, most = sum(site.site.units for site in findings.sites), max(site.examples for site in findings.sites)
    said = f"nothing was judged: no site was seen on 300 examples (at most {most:,}) [nothing-judged]"
    return [
        Failure("judged", "nothing_judged", None, 0, units, said, "train longer, or look at more steps (--every 1)")
    ]


def _too_many(judged: Sequence[Judged], most: float) -> list[Failure]:
    dead, units = sum(len(site.dead) for site in judged), sum(site.site.units for site in judged)
    if not units or dead / units <= most:
        return []
    return [Failure("max_dead", "max_dead", None, dead, units, _excess(dead, units, most), _DEAD_ADVICE)]


def _too_many_per_site(judged: Sequence[Judged], most: float) -> list[Failure]:
    failures = []
    for found in _dead_sites(judged):
        if found.share > most:
            said = _excess(found.dead, found.site.units, most)
            failures.append(
                Failure("max_dead", "max_dead", found.site, found.dead, found.site.units, said, _DEAD_ADVICE)
            )
    return failures


def _excess(dead: int, units: int, most: float) -> str:
    return f"{dead:,} of {units:,} units are dead ({percent(dead / units)}, limit {percent(most)})"


def _found(findings: Findings, rules: Sequence[Rule]) -> list[Failure]:
    """Every error, and what the named rules found at sites that are not provisional."""
    sites = {site.site.key: site for site in findings.sites}
    codes = {rule.code for rule in rules}
    failures = []
    for f in findings.findings:
        found = sites.get(f.site)
        named = f.rule in codes and not (found is not None and found.provisional)
        if named or f.severity == "error":
            site = found.site if found is not None else None
            failures.append(
                Failure(f.rule, f.slug, site, len(f.units), site.units if site else 0, f.evidence, f.advice)
            )
    return failures


def _dead_sites(judged: Sequence[Judged]) -> tuple[DeadUnits, ...]:
    found = [DeadUnits(s.site, len(s.dead), len(s.dead) / s.site.units) for s in judged if s.dead]
    return tuple(sorted(found, key=lambda d: (-d.dead, -d.share)))


def _notes(findings: Findings) -> list[str]:
    """What weakens the verdict."""
    run, notes = findings.run, []
    provisional = sum(site.provisional for site in findings.sites)
    if provisional:
        sites = f"{provisional} of {len(findings.sites)} site{'s' * (len(findings.sites) > 1)}"
        notes.append(f"{sites} not judged: {too_few(findings.sites)} seen")
    if run.get("script") and not run.get("finished"):
        notes.append("the run is not finished, or it was cut off; this is its last saved state")
    if run.get("fault"):
        notes.append(f"the watching ended early: {run['fault']}")
    if findings.not_observed:
        number = len(findings.not_observed)
        notes.append(f"{number} thing{'s' * (number > 1)} could not be observed; see the report")
    return notes

"""Recording → findings: every site judged, every rule asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from relume.artifacts.audited import Audited
from relume.artifacts.curve import LossPoint
from relume.artifacts.findings import Change, Finding, Findings, Judged
from relume.artifacts.recording import Rates, Recording, Site, SiteRecord
from relume.doctor.causes import IN_A_GRAPH, causes, chances_of_birth_dead
from relume.doctor.judge import judge
from relume.doctor.plan import advised
from relume.doctor.rules import RULES
from relume.doctor.timeline import timelines, with_points


def judge_sites(recording: Recording) -> list[tuple[SiteRecord, Judged]]:
    """Judge every site that was looked at; a target copy of another site is judged there."""
    clocks = {clock.id: clock for clock in recording.clocks}
    literal = recording.meta.get("window") is not None
    seen = [record for record in recording.sites if record.is_counted]
    return [(record, judge(record, clocks[record.site.clock], literal=literal)) for record in seen]


def diagnose(recording: Recording) -> Findings:
    """Judge every site of a recording and apply every rule."""
    judged = judge_sites(recording)
    chances = {id(r): c for r, c in zip(recording.sites, chances_of_birth_dead(recording.sites), strict=True)}
    largest = _largest_gradients([site for _, site in judged])
    broken = _first_broken([site for _, site in judged])
    losses = {clock.id: _losses(recording.losses, clock.id) for clock in recording.clocks}
    copies = _copies(recording)
    sites = tuple(
        replace(
            site,
            cause={} if site.site.code else causes(record, site.dead, recording.sites, chances[id(record)]),
            gradient_share=_gradient_share(site, largest),
            losses=losses[site.site.clock],
            broken_by=_other(broken.get(site.site.model), site.site),
            rates_when_broken=_rates_around(recording.rates, site),
            copies=tuple(copy.key for copy, source in copies if source is site.site),
        )
        for record, site in judged
    )
    found = _findings(sites, audits=False)
    lines = timelines(recording, sites)
    sites = with_points(recording, sites, lines)
    unseen = (*recording.not_observed, *_without_causes(sites), *_folded(copies))
    return Findings(_run(recording), sites, found, unseen, lines)


def diagnose_checkpoint(audited: Audited) -> Findings:
    """Apply to a checkpoint's layers every rule that judges one."""
    return Findings(audited.run, audited.sites, _findings(audited.sites, audits=True), audited.not_observed)


def _findings(sites: Sequence[Judged], *, audits: bool) -> tuple[Finding, ...]:
    """What the rules find, the worst first."""
    asked = [rule for rule in RULES if rule.audits is audits]
    findings = [_with_cures(found, site) for site in sites for rule in asked if (found := rule.check(site)) is not None]
    severities = ("error", "warning", "info")
    follows = {site.site.key for site in sites if site.broken_by is not None}  # its cause comes first
    return tuple(sorted(findings, key=lambda f: (severities.index(f.severity), f.rule, f.site in follows)))


def _with_cures(found: Finding, site: Judged) -> Finding:
    return replace(found, cures=advised(site, found.units)) if found.slug in ("dead_unit", "born_dead") else found


def _first_broken(sites: Sequence[Judged]) -> dict[str, Site]:
    """For each model the first site whose output was not finite, by step, then by the order of the network."""
    broken = [judged for judged in sites if judged.non_finite]
    order = sorted(broken, key=lambda judged: math.inf if judged.broken_since is None else judged.broken_since)
    return {judged.site.model: judged.site for judged in reversed(order)}


def _rates_around(changes: Sequence[Rates], site: Judged) -> tuple[Change, ...]:
    """The learning rates in force when a site's output ceased to be finite, and the latest ones before them."""
    if site.broken_since is None:
        return ()
    before = [(c.step, c.rates) for c in changes if c.clock == site.site.clock and c.step <= site.broken_since]
    return tuple(before[-2:])


def _copies(recording: Recording) -> list[tuple[Site, Site]]:
    """(copy, source) of each site whose weights are loaded from another one."""
    records = [record for record in recording.sites if record.total.looks and not record.is_counted]
    return [(record.site, recording.sites[int(record.statistics["copy_of"])].site) for record in records]


def _folded(copies: Sequence[tuple[Site, Site]]) -> list[tuple[str, str, str]]:
    """Each network that is a copy of another, once."""
    found: dict[tuple[str, str], Site] = {}
    for copy, source in copies:
        names = (copy.model, source.model)
        if copy.model == source.model:  # both are parts of one tree
            names = (f"{copy.model}.{copy.module}", f"{source.model}.{source.module}")
        found.setdefault(names, copy)
    return [
        (copy, f"{site.file}:{site.line}", f"target copy of {source}: its weights come from there; counted once")
        for (copy, source), site in found.items()
    ]


def _without_causes(sites: Sequence[Judged]) -> list[tuple[str, str, str]]:
    """The sites in compiled graphs with units whose cause of death was not seen."""
    lost = [judged.site for judged in sites if any(cause.says == IN_A_GRAPH for cause in judged.cause.values())]
    return [("the causes of deaths", f"{site.file}:{site.line}", IN_A_GRAPH) for site in lost]


def _largest_gradients(sites: Sequence[Judged]) -> dict[str, float]:
    """For each model the largest gradient of a site's layer."""
    found: dict[str, float] = {}
    for judged in sites:
        found[judged.site.model] = max(found.get(judged.site.model, 0.0), judged.statistics.get("gradient", 0.0))
    return found


def _gradient_share(site: Judged, largest: Mapping[str, float]) -> float | None:
    """The gradient of a site's layer over the largest in its model."""
    own = site.statistics.get("gradient")
    most = largest[site.site.model]
    return own / most if own is not None and most > 0 else None


def _other(one: Site | None, than: Site) -> Site | None:
    return None if one is than else one


def _losses(points: Sequence[LossPoint], clock: int) -> tuple[float, float] | None:
    """The mean loss of the first and of the last quarter of a clock's curve; None if that says nothing."""
    known = [point.mean for point in points if point.clock == clock and math.isfinite(point.mean)]
    part = len(known) // 4
    return (sum(known[:part]) / part, sum(known[-part:]) / part) if part else None


def _run(recording: Recording) -> Mapping[str, Any]:
    """The run's facts: the script's own first, then what the watching saw of it."""
    meta = dict(recording.meta)
    best = min(
        recording.clocks, key=lambda c: (("optimizer", "backward", "forward").index(c.kind), -c.steps), default=None
    )
    return {
        "script": meta.pop("script", None),
        "argv": meta.pop("argv", []),
        "exit": meta.pop("exit", None),
        "steps": best.steps if best else 0,
        "looked": best.looked if best else 0,
        "samples": sum(record.total.samples for record in recording.sites),
        "overhead": meta.pop("overhead", None),
        **meta,
        **_with_unswapped(recording),
        "clocks": [{"name": c.name, "kind": c.kind, "steps": c.steps, "looked": c.looked} for c in recording.clocks],
    }


def _with_unswapped(recording: Recording) -> dict[str, Any]:
    """The plan of the run, with the activations that were not swapped because no call of them is replaced (a clamp)."""
    cures = recording.meta.get("cures")
    if not cures:
        return {}
    asked = {text.removeprefix("--swap ").partition("=")[0] for text in recording.meta.get("asked", ())}
    asked |= {each["what"].partition(" → ")[0] for each in cures["changed"] if " → " in each["what"]}
    told = {each["place"] for key in ("changed", "left") for each in cures[key]}
    left = [
        {"place": site.key, "units": [], "what": f"{site.activation}: {site.call} is not replaced"}
        for site in (record.site for record in recording.sites)
        if site.activation in asked and site.key not in told
    ]
    return {"cures": {**cures, "left": [*cures["left"], *left]}}

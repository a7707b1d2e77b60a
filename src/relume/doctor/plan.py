"""Findings → plan: for each site with dead units the cures, and the units for which there is none."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from relume.artifacts.findings import Findings, Judged
from relume.artifacts.plan import Action, Open, Plan
from relume.doctor.cures import CURES
from relume.doctor.cures.cure import Cure, Proposal

_UPSTREAM = "upstream cascade"


def plan(findings: Findings, file: str) -> Plan:
    """What should be done about the dead units of a run or a checkpoint; ``file``: where its findings are from."""
    run = findings.run
    of = {"file": file, **{key: run.get(key) for key in ("script", "argv", "steps")}}
    actions, opened = [], []
    for site in sorted(findings.sites, key=lambda judged: -len(judged.dead)):
        cured: set[int] = set()
        for cure in CURES:
            proposal = cure.propose(site)
            if proposal is not None:
                cured |= set(proposal.units)
                actions.append(_action(cure, proposal, site, findings, file))
        if left := tuple(unit for unit in site.dead if unit not in cured):
            opened.append(Open(site.site.key, left, _why_open(site, left)))
    return Plan(of, tuple(actions), tuple(opened))


def _action(cure: Cure, proposal: Proposal, site: Judged, findings: Findings, file: str) -> Action:
    return Action(
        cure=cure.name,
        site=site.site.key,
        units=proposal.units,
        why=_causes(site, proposal.units),
        evidence=(*proposal.evidence, *cure.known),
        settings=dict(proposal.settings),
        changes=cure.changes,
        check=_check(cure, proposal, site, findings, file),
    )


def _causes(site: Judged, units: Sequence[int]) -> str:
    """``large update 8, weight drift 2``."""
    kinds = Counter(site.cause[unit].kind if unit in site.cause else "unknown" for unit in units)
    return ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())


def _why_open(site: Judged, units: Sequence[int]) -> str:
    kinds = {site.cause[unit].kind if unit in site.cause else "unknown" for unit in units}
    if kinds == {_UPSTREAM}:
        return "what feeds them is dead: cure that site first"
    return (
        f"no cure is known for their cause ({_causes(site, units)}); watch the training closely: relume run --every 1"
    )


def _check(cure: Cure, proposal: Proposal, site: Judged, findings: Findings, file: str) -> str:
    """The command that shows whether the cure helped."""
    run: Any = findings.run
    if "audited" in run:
        return "relume audit CHECKPOINT"
    script = shlex.join([str(run["script"]), *map(str, run.get("argv") or [])]) if run.get("script") else "SCRIPT"
    if cure.compares:
        where = f"{site.site.file}:{site.site.line}"
        return f"relume compare --with {proposal.settings['to']},elu --only {shlex.quote(where)} {script}"
    return f"relume run --out after.relume {script} && relume diff {shlex.quote(file)} after.relume"

"""Findings → plan: for each site with dead units the cures, and the units without a cure."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relume.artifacts.findings import Advised, Findings, Judged
from relume.artifacts.plan import Action, CurePlan, Open
from relume.doctor.cures import CURES
from relume.doctor.cures.cure import Cure, Proposal
from relume.errors import PlanError

_UPSTREAM = "upstream cascade"


def plan(findings: Findings, file: str) -> CurePlan:
    """What to do about the dead units of a run or a checkpoint; ``file``: its recording, "" for none."""
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
    return CurePlan(of, tuple(actions), tuple(opened))


def advised(site: Judged, units: Sequence[int]) -> tuple[Advised, ...]:
    """The cures for some units of a site, each with what speaks for it, in the order in which a plan has them.

    None for a sparse code: no other activation fits it, and a latent that is not selected needs no other weights.
    """
    found: list[Advised] = []
    if site.site.code:
        return ()
    for cure in CURES:
        proposal = cure.propose(site)
        mine = set(units) & set(proposal.units) if proposal is not None else set()
        if proposal is not None and mine:
            changes = _filled(cure.changes, proposal.settings)
            found.append(Advised(cure.name, changes, len(mine), (*proposal.evidence, *cure.known)))
    return tuple(found)


def demand_script(plan: CurePlan, file: str, script: str) -> None:
    """Raises: PlanError: the plan is of another script, or of none."""
    own = plan.of.get("script")
    if own is None or Path(str(own)).name != Path(script).name:
        of = f"of {own}" if own else "of a checkpoint, whose layers it names"
        instead = "Make one of this script" if own else "Apply it to the model with relume.apply, or make one of a run"
        raise PlanError(
            f"{file} is a plan {of}, not of {script}. {instead}: relume run {script}, then relume plan run.relume "
            "-o plan.json.",
            slug="plan-of-another",
        )


def in_a_run(plan: CurePlan, file: str) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """(swaps, treatments, what is left with the reason) of a plan, as ``relume run`` takes them.

    Raises: PlanError: nothing of it can be done in a run, or an action is for no known cure.
    """
    swaps: list[str] = []
    treatments: dict[str, str] = {}
    left = []
    for action in plan.actions:
        text = filled(cure_of(action, file).in_a_run, action)
        if action.cure == "swap_activation":
            swaps.append(f"{re.sub('#[0-9]+$', '', action.site)}={text}")
        elif text:
            treatments[action.cure] = text
        else:
            left.append(
                (action.site, f"{action.cure} cannot be applied by a run. By hand: {filled(action.changes, action)}")
            )
    if not swaps and not treatments:
        raise PlanError(
            f"{file} has no action that a run can apply. {' '.join(f'{site}: {why}.' for site, why in left)}".rstrip(),
            slug="plan-without-actions",
        )
    return list(dict.fromkeys(swaps)), list(treatments.values()), left


def cure_of(action: Action, file: str) -> Cure:
    """The cure of an action.

    Raises: PlanError: the name is unknown.
    """
    for cure in CURES:
        if cure.name == action.cure:
            return cure
    raise PlanError(
        f"{file} names the cure {action.cure!r}. Known: {', '.join(cure.name for cure in CURES)}.", slug="plan-damaged"
    )


def filled(text: str, action: Action) -> str:
    """A text with the action's settings, as a person may have changed them."""
    return _filled(text, action.settings)


def _filled(text: str, settings: Mapping[str, Any]) -> str:
    for name, value in settings.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


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
        return "their input is dead: cure that site first"
    return f"no cure is known for their cause ({_causes(site, units)}); look at every step: relume run --every 1"


def _check(cure: Cure, proposal: Proposal, site: Judged, findings: Findings, file: str) -> str:
    """The command that shows whether the cure helped."""
    run: Any = findings.run
    if "audited" in run:
        return "relume audit CHECKPOINT"
    script = shlex.join([str(run["script"]), *map(str, run.get("argv") or [])]) if run.get("script") else "SCRIPT"
    after = f"--out after.relume {script} && relume diff {shlex.quote(file)} after.relume" if file else script
    if cure.name == "swap_activation":
        where = f"{site.site.file}:{site.site.line}"
        return f"relume compare --with {proposal.settings['to']},elu --only {shlex.quote(where)} {script}"
    if cure.name == "revive_units":
        return f"relume run --revive {after}"
    return f"relume run {after}"

"""A plan done to a model: each action by its cure, one :class:`~relume.artifacts.change.Change` of them all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relume.artifacts.change import Change, Edit
from relume.artifacts.plan import Action, CurePlan, read_plan
from relume.doctor.plan import filled
from relume.errors import CureError, PlanError
from relume.framework import Surgery
from relume.lab.contenders import parse_contender

_SITE = re.compile(r"(?P<model>[^.@#]+)(#\d+)?(\.(?P<module>[^@]*))?@(?P<file>.*):(?P<line>\d+)(#\d+)?")


@dataclass
class _Work:
    """One application on its way."""

    surgery: Surgery
    model: Any
    batch: Any
    optimizer: Any
    lowered: set[float] = field(default_factory=set)

    def swap(self, action: Action) -> Change:
        contender = parse_contender(str(action.settings.get("to")))
        if not contender.activation:
            raise CureError(f"{contender.name} is not an activation of relume.", slug="no-place-to-swap")
        numbers = {"init" if name == "weight" else name: value for name, value in contender.parameters.items()}
        return self.surgery.swap(
            self.model, action.site, contender.activation, optimizer=self.optimizer, reinit=False, batch=self.batch,
            **numbers,
        )  # fmt: skip

    def revive(self, action: Action) -> Change:
        if self.batch is None:
            raise CureError("reviving needs a batch to set the biases and to prove the outputs.", slug="batch-needed")
        found = _SITE.fullmatch(action.site)
        assert found is not None  # as apply has seen
        place = (found["module"] or "", int(found["line"]), action.units)
        return self.surgery.revive_at(self.model, [place], self.batch, optimizer=self.optimizer)

    def lower(self, action: Action) -> Change:
        if self.optimizer is None:
            raise CureError("the optimizer has the learning rate: give optimizer=.", slug="wrong-optimizer")
        factor = action.settings.get("factor")
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < float("inf"):
            raise CureError(f"factor is {factor!r}; expected a number above 0.", slug="bad-option")
        edits = []
        for number, group in enumerate(self.optimizer.param_groups if factor not in self.lowered else ()):
            edits.append(Edit(f"group {number}", (), f"learning rate {group['lr']:g} → {group['lr'] * factor:g}"))
            group["lr"] = group["lr"] * factor
        self.lowered.add(factor)
        return Change("lower", tuple(edits), (), ())

    def spare(self, action: Action) -> Change:
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        edits = []
        for number, group in enumerate(groups):
            if group.get("weight_decay"):
                edits.append(Edit(f"group {number}", (), f"weight decay {group['weight_decay']:g} → 0"))
                group["weight_decay"] = 0.0
        return Change("spare", tuple(edits), (), ())


_DOES: dict[str, Callable[[_Work, Action], Change]] = {
    "revive_units": _Work.revive,
    "swap_activation": _Work.swap,
    "lower_rate": _Work.lower,
    "spare_from_decay": _Work.spare,
}
"""The cures in order: a revival first checks that the plan is of this model, before anything is changed."""


def apply(surgery: Surgery, model: Any, plan: Any, *, batch: Any, optimizer: Any) -> Change:
    """See :func:`relume.apply`."""
    made = read_plan(Path(plan)) if isinstance(plan, (str, Path)) else plan
    if not isinstance(made, CurePlan):
        raise PlanError(
            f"plan is a {type(plan).__name__}. Give a file made by `relume plan -o`, or its contents.",
            slug="plan-damaged",
        )
    _demand_model(made, model)
    work = _Work(surgery, model, batch, optimizer)
    done: list[Change] = []
    left: list[Edit] = []
    for action in sorted(made.actions, key=lambda action: [*_DOES, action.cure].index(action.cure)):
        does = _DOES.get(action.cure)
        if does is None:
            left.append(Edit(action.site, action.units, f"{action.cure}, by hand: {filled(action.changes, action)}"))
            continue
        try:
            done.append(does(work, action))
        except CureError as error:
            if error.slug == "plan-of-another":
                raise
            left.append(Edit(action.site, action.units, f"{action.cure}: {error}"))
    changed = tuple(edit for change in done for edit in change.changed)
    if not changed:
        why = "; ".join(map(str, left)) or "it has no action"
        raise CureError(
            f"No action of the plan was applied. {why}. The model is unchanged.", slug="plan-without-actions"
        )
    proof = tuple(check for change in done for check in change.proof)
    covers = next((change.covers for change in done if change.covers), "")
    return Change("apply", changed, tuple(left), proof, covers)


def _demand_model(plan: CurePlan, model: Any) -> None:
    """Raises: CureError: a site of the plan is of another model, or of a checkpoint."""
    for action in plan.actions:
        site = _SITE.fullmatch(action.site)
        if site is None or site["model"] != type(model).__name__:
            of = site["model"] if site is not None else "a checkpoint"
            raise CureError(
                f"The plan is of {of} ({action.site}), but the model is a {type(model).__name__}. Give the model that "
                "was run, or make a plan from a run of it: relume run SCRIPT, relume plan run.relume -o plan.json.",
                slug="plan-of-another",
            )

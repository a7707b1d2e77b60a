"""What ``relume fix`` found: each cure that was tried, compared with the unchanged script."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["cured", "fewer", "no effect", "worse", "failed", "given up"]
"""cured: it holds. fewer: fewer units die, but more than allowed. worse: the metric is not shown to hold. given up: the
first runs showed it hopeless. no effect: fewer deaths are not shown."""


@dataclass(frozen=True)
class Tried:
    """One cure and what became of it.

    Attributes:
        cure: as ``relume compare --with`` takes it. ``says``: what it does, a sentence.
        outcome: see :data:`Outcome`. ``why``: a sentence, "" for a cure that holds.
        pairs: runs of the unchanged script and of the cure, on the same seeds.
        dead: mean dead share before and after. ``metric``: mean before and after, NaN if no run gave one.
        p_dead: one-sided p that no fewer units die. ``p_metric``: that the metric is worse by delta or more.
        cannot_die: its units have a slope below 0, so that no dead unit proves nothing, and only the metric was judged.
        silent: mean share of its units below 0 on all data, NaN if unknown.
        cost: median time of its runs ÷ median time of the script's. ``failed``: runs without a value.
    """

    cure: str
    says: str
    outcome: Outcome
    why: str
    pairs: int
    dead: tuple[float, float]
    metric: tuple[float, float]
    p_dead: float
    p_metric: float
    cost: float
    failed: int = 0
    cannot_die: bool = False
    silent: float = math.nan


@dataclass(frozen=True)
class SourceEdit:
    """The change of the user's source that does what a cure did.

    Attributes:
        diff: a unified diff, "" if there is no edit. ``why``: why not, else "".
        sources: the whole new text of each file that it changes, by its path.
        proof: how a run of the edited script compares with a run of the cure; "" without an edit.
    """

    diff: str = ""
    why: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    proof: str = ""


@dataclass(frozen=True)
class Fixed:
    """All of it.

    Attributes:
        script, argv: what was run. ``metric``, ``mode``: the metric that is judged in addition to the dead share.
        delta: a metric worse by that counts. ``max_dead``: the dead share that counts as cured. ``seeds``: of each.
        level: of the test of the dead share; the error of 5 % is shared by all ``candidates``.
        tried: in the order in which they were tried. ``untried``: cures after the first that holds.
        edit: of the cure that holds; None if none does.
        failed: runs of the unchanged script that failed, of ``seeds``. ``error``: the last line of the first of these.
    """

    script: str
    argv: tuple[str, ...]
    metric: str
    mode: str
    delta: float
    max_dead: float
    seeds: int
    level: float
    tried: tuple[Tried, ...]
    untried: tuple[str, ...] = ()
    edit: SourceEdit | None = None
    failed: int = 0
    error: str = ""

    @property
    def cure(self) -> Tried | None:
        """The cure that holds."""
        return next((each for each in self.tried if each.outcome == "cured"), None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: null for what is not finite, and the diff without the sources."""
        told = asdict(self)
        told["tried"] = [{name: _known(value) for name, value in each.items()} for each in told["tried"]]
        told["delta"] = _known(self.delta)
        told["cure"] = self.cure.cure if self.cure is not None else None
        told["edit"] = (
            None if self.edit is None else {"diff": self.edit.diff, "why": self.edit.why, "proof": self.edit.proof}
        )
        return {"schema": 1, **told}


def _known(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

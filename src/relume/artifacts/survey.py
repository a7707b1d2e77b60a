"""The survey of a study: what one run of the script showed, before anything was compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from relume.artifacts.study_file import SCHEMA, damaged, read_json, write_json
from relume.artifacts.swap_plan import SwapPlan
from relume.artifacts.trial import Trial
from relume.artifacts.trial_json import trial_from_json, trial_to_json

Curves = Mapping[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True)
class Survey:
    """What the first run of a script showed.

    Attributes:
        plan: which activations can be replaced, and how the script trains.
        trial: the run itself, at the script's own seed and rates; its times hold the survey's own work.
        sources: what it logged: source → name → curve.
        written: files that it wrote, relative to the folder. ``resumed``: the ones that it had read before.
            ``outside``: what it wrote elsewhere.
        local: the files next to the script that it imported, from the folder.
        remarks: sentences on what else it does that a comparison should know of.
    """

    plan: SwapPlan
    trial: Trial
    sources: Mapping[str, Curves] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def save(self, folder: Path, generation: int) -> None:
        """Keep it with its study.

        Raises: StudyError: it cannot be written.
        """
        told = asdict(self) | {"plan": self.plan.to_dict(), "trial": trial_to_json(self.trial)}
        curves = {source: {name: _out(curve) for name, curve in c.items()} for source, c in self.sources.items()}
        write_json(_file(folder, generation), {"schema": SCHEMA, "is": "survey", **told, "sources": curves})

    @classmethod
    def read(cls, folder: Path, generation: int) -> Survey | None:
        """The survey of a generation; None if it was not surveyed.

        Raises: StudyError: it is damaged.
        """
        path, advice = _file(folder, generation), "Delete it, and the script is surveyed again."
        if not path.exists():
            return None
        told = read_json(path, "survey", advice)
        try:
            return cls(
                SwapPlan.from_dict(told["plan"]),
                trial_from_json(told["trial"]),
                {source: {n: _in(curve) for n, curve in curves.items()} for source, curves in told["sources"].items()},
                tuple(told["written"]),
                tuple(told["resumed"]),
                tuple(told["outside"]),
                tuple(told["local"]),
                tuple(told.get("remarks", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(path, f"{type(error).__name__}: {error}", advice) from error


def _file(folder: Path, generation: int) -> Path:
    return folder / f"survey-{generation}.json"


def _out(curve: Any) -> list[list[Any]]:
    return [[_number(step), _number(value)] for step, value in curve]


def _number(value: float) -> float | str:
    return value if abs(value) < float("inf") else repr(value)  # nan compares false: text


def _in(curve: Any) -> tuple[tuple[float, float], ...]:
    return tuple((float(step), float(value)) for step, value in curve)

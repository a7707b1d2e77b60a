"""The findings of a study for every report: the design, the verdicts, each run, and what was not replaced."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from relume.artifacts.json_types import AskedJson, TrialJson
from relume.artifacts.subject import Subject
from relume.artifacts.trial import BASELINE, Design, InterimAnalysis, Trial, TrialKey, Verdict

SCHEMA = 1
"""Of the JSON form; new keys may come within a schema."""


@dataclass(frozen=True)
class SeedPair:
    """The baseline and a contender on one seed, each at its chosen learning rate."""

    seed: int
    baseline: float
    activation: float


@dataclass(frozen=True)
class AsItStands:
    """The script at its own learning rates.

    Attributes:
        runs: that have ended. ``failed``: of them, those that failed or collapsed; ``dead_layers``: with a dead layer.
        mean, sd: of the metric over the others; NaN without one. ``dead_share``: the median; None where it is unknown.
    """

    runs: int = 0
    failed: int = 0
    dead_layers: int = 0
    mean: float = math.nan
    sd: float = math.nan
    dead_share: float | None = None


@dataclass(frozen=True)
class StudyFindings:
    """One study. Made by ``lab.findings``; reports compute nothing.

    Attributes:
        name: identifies it among several in one report: the name of its folder.
        design: what was asked. ``subject``: of what.
        verdicts: one a contender, in the order of the design.
        trials: all that have ended, in the order of their keys. ``values``: what each is compared by, NaN without one.
        looks: the verdicts that were printed.
        replaces: the activations that the contenders replace, stems in ``activations/``, the most frequent
            first. ``sites``: at how many places; None if that is not known.
        not_swapped: (what, where, why) of what acts as an activation but is not replaced.
        notes: sentences on the study as a whole. ``together``: studies that were corrected together with it.
        next_seeds: of the next look; None if no look follows.
        left: how many runs of each are still to come, as far as is known; only those that have any.
        rate: the script's own learning rate; NaN if it has none, or several.
        as_it_stands: the script at its own rates, whichever rate is the baseline's best.
    """

    name: str
    design: Design
    subject: Subject
    verdicts: tuple[Verdict, ...]
    trials: tuple[Trial, ...]
    values: Mapping[TrialKey, float] = field(default_factory=dict)
    looks: tuple[InterimAnalysis, ...] = ()
    replaces: tuple[str, ...] = ()
    sites: int | None = None
    not_swapped: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    together: int = 1
    next_seeds: int | None = None
    as_it_stands: AsItStands = AsItStands()
    left: Mapping[str, int] = field(default_factory=dict)
    rate: float = math.nan

    @property
    def own_baseline(self) -> str:
        """The activation that a function's study compares with; "" for a script, which has its own."""
        return self.subject.settings.get("baseline", "")

    @property
    def confirmed(self) -> bool:
        """Whether there is a verdict: the runs of a look are complete."""
        return any(verdict.look for verdict in self.verdicts)

    @property
    def seeds(self) -> int:
        """The number of seeds of the verdicts, or of the first look before any verdict."""
        number = max((verdict.look for verdict in self.verdicts), default=0)
        return next((look.seeds for look in self.looks if look.number == number), self.design.seeds)

    @property
    def tuned(self) -> tuple[float, ...]:
        """The learning-rate factors among which each one's rate was chosen, ascending; () where none was."""
        return tuple(sorted({trial.key.lr_factor for trial in self.trials if trial.key.stage == "tune"}))

    @property
    def counter(self) -> str:
        """What the steps of the curves count: "epoch", "step" …; "" if nothing says so."""
        return next((trial.counter for trial in self.trials if trial.metrics.get(self.design.metric)), "step")

    @property
    def confirmed_rates(self) -> int:
        """How many rates of a contender were confirmed, at most."""
        rates: dict[str, set[float]] = {}
        for trial in self.trials:
            if trial.key.stage == "confirm":
                rates.setdefault(trial.key.activation, set()).add(trial.key.lr_factor)
        return max(map(len, rates.values()), default=0)

    def verdict(self, activation: str) -> Verdict:
        """The verdict on a contender.

        Raises: KeyError: the name is unknown.
        """
        return {verdict.activation: verdict for verdict in self.verdicts}[activation]

    def pairs(self, activation: str) -> tuple[SeedPair, ...]:
        """The pairs on which the verdict on a contender rests, by seed."""
        said = self.verdict(activation)
        found = []
        for seed in range(self.seeds):
            ours, theirs = (
                self.values.get(TrialKey(name, seed, factor, "confirm"), math.nan)
                for name, factor in ((BASELINE, said.baseline_lr_factor), (activation, said.lr_factor))
            )
            if math.isfinite(ours) and math.isfinite(theirs):
                found.append(SeedPair(seed, ours, theirs))
        return tuple(found)

    def runs(self, activation: str) -> tuple[Trial, ...]:
        """The runs of one contender, or of the baseline, whose curves are to be seen.

        They are those at its chosen rate; while none is chosen, those at the rate nearest the script's.
        """
        rates = {verdict.activation: verdict.lr_factor for verdict in self.verdicts}
        rates[BASELINE] = self.baseline_factor
        mine = [trial for trial in self.trials if trial.key.activation == activation and trial.key.stage != "repeat"]
        wanted = (rates.get(activation, math.nan), "confirm")
        found = tuple(trial for trial in mine if (trial.key.lr_factor, trial.key.stage) == wanted)
        if found or not mine:
            return found
        nearest = min((trial.key.lr_factor for trial in mine), key=lambda factor: abs(math.log(factor)))
        return tuple(trial for trial in mine if trial.key.lr_factor == nearest)

    @property
    def baseline_factor(self) -> float:
        """The baseline's best rate; NaN while none is known."""
        return next((verdict.baseline_lr_factor for verdict in self.verdicts), math.nan)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``relume compare --json`` and ``relume report STUDY --json``; null for what is not finite."""
        told: dict[str, Any] = _plain(
            {
                "schema": SCHEMA,
                "study": self._study(),
                "as_it_stands": asdict(self.as_it_stands),
                "verdicts": [
                    asdict(verdict) | {"equal_time": verdict.equal_time and verdict.equal_time._asdict()}
                    for verdict in self.verdicts
                ],
                "trials": [self._trial(trial) for trial in self.trials],
                "not_swapped": [{"what": what, "where": where, "why": why} for what, where, why in self.not_swapped],
            }
        )
        return told

    def _study(self) -> AskedJson:
        asked, of = self.design, self.subject
        return {
            "name": self.name,
            "script": of.script,
            "argv": list(of.argv),
            "metric": asked.metric,
            "mode": asked.mode,
            "at": asked.at,
            "tune_metric": asked.tune_metric or asked.metric,
            "baseline": BASELINE,
            "replaces": list(self.replaces),
            "sites": self.sites,
            "seeds": self.seeds,
            "tuning_seeds": list(asked.tuning_seeds),
            "lr_factors": list(asked.factors),
            "delta": asked.delta,
            "alpha": asked.alpha,
            "looks": [{"number": look.number, "seeds": look.seeds} for look in self.looks],
            "next_seeds": self.next_seeds,
            "runs_left": dict(self.left),
            "learning_rate": self.rate,
            "corrected_together": self.together,
            "threads": of.threads,
            "settings": dict(of.settings),
            "versions": dict(of.versions),
            "notes": list(self.notes),
        }

    def _trial(self, trial: Trial) -> TrialJson:
        """``metrics``: the last value of each; ``curve``: of the metric that is compared."""
        return {
            "activation": trial.key.activation,
            "seed": trial.key.seed,
            "lr_factor": trial.key.lr_factor,
            "stage": trial.key.stage,
            "status": trial.status,
            "error": trial.error,
            "value": self.values.get(trial.key, math.nan),
            "metrics": {name: curve[-1][1] for name, curve in trial.metrics.items() if curve},
            "curve": [list(point) for point in trial.metrics.get(self.design.metric, ())],
            "seconds": trial.seconds,
            "cpu_seconds": trial.cpu_seconds,
            "peak_memory": trial.peak_memory,
            "parameters_added": trial.parameters_added,
            "dead_share": trial.dead_share,
            "dead_layers": trial.dead_layers,
            "sites": trial.sites,
        }


def _plain(value: Any) -> Any:
    """As strict JSON has it: no nan, no infinity, no tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value

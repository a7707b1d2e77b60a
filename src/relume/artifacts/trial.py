"""The terms of a study: the design, one run of it, and the verdict.

``study.py`` keeps them in a folder; the lab makes them, the reports read them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Stage = Literal["tune", "confirm", "repeat"]
"""``repeat``: a run of the confirmation once more, to see whether it ends the same."""

Status = Literal["finished", "failed", "diverged", "timeout"]
Mode = Literal["min", "max"]
Call = Literal["better", "worse", "equivalent", "undecided"]

BASELINE = "baseline"
"""The contenders' name for the unchanged script."""

DEAD_SHARE = "dead_share"
"""Dead units ÷ units at the end of a run: a metric that every trial has, and that no script logs."""


@dataclass(frozen=True)
class Contender:
    """What takes the place of the script's own activations.

    Attributes:
        name: as it was asked for, such as ``leaky_relu:0.2``; the trials go by it.
        activation: stem in ``activations/``, or "" for the user's own.
        parameters: the activation's own numbers; ``weight`` is the start value of a PReLU's slopes.
        slopes: of a PReLU, who has one: "channel" (every unit) or "shared" (a site).
        target: of the user's own, ``package.module:name`` of an ``nn.Module`` class or a function.
        treatment: a name of ``treatments.py`` for what changes the training and leaves the activations as they are.
    """

    name: str
    activation: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    slopes: Literal["", "channel", "shared"] = ""
    target: str = ""
    treatment: str = ""


class TrialKey(NamedTuple):
    """Which run it is. ``lr_factor`` multiplies the script's own learning rates."""

    activation: str
    seed: int
    lr_factor: float
    stage: Stage


@dataclass(frozen=True)
class Trial:
    """One run of the script, however it ended.

    Attributes:
        metrics: by name, (step, value) in the order of logging; a step that was not given counts from 0.
        error: the last line of a failure, "" otherwise.
        seconds: wall time. ``cpu_seconds``: of the process and its children. ``peak_memory``: bytes.
        parameters_added: numbers that the contender learns. ``dead_share``: dead units ÷ units at the end, None where
            none was judged. ``dead_layers``: sites all of whose units are dead at the end.
        silent_share: units below 0 on all data ÷ units; the dead share counts only those without a slope there.
        weights: a digest of the trained parameters; ``start``: of the initial ones. "" if nothing was trained.
        sites: how many places were replaced. ``counter``: what the metric's steps count, "" if nothing says so.
    """

    key: TrialKey
    status: Status
    metrics: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    parameters_added: int = 0
    dead_share: float | None = None
    weights: str = ""
    start: str = ""
    sites: int = 0
    dead_layers: int = 0
    silent_share: float | None = None
    counter: str = "step"


@dataclass(frozen=True)
class Design:
    """What was asked, fixed before the first number is seen.

    Attributes:
        contenders: in the order in which they were asked for, without the baseline.
        seeds: of the first look; the further ones are at twice and four times as many.
        factors: the grid of learning-rate factors; a single one means that nothing is tuned.
        metric, mode, at: what is compared: its name, whether less or more is better, and "last", "best" or "mean:K".
        tune_metric: what the learning rates are chosen by; "" for the metric. ``tune_mode``: whether less or more of it
            is better; None: as of the metric.
        delta: the smallest difference that would matter, in the metric's unit; None: not said.
        alpha: the error that all verdicts and looks share.
        at_time: runs are also compared after this many seconds; "baseline": after the median of the
            baseline's; "" for no such comparison.
    """

    contenders: tuple[Contender, ...]
    seeds: int = 8
    tuning_seeds: tuple[int, ...] = (10_000,)
    factors: tuple[float, ...] = (0.25, 1.0, 4.0)
    metric: str = ""
    mode: Mode = "max"
    at: str = "last"
    tune_metric: str = ""
    delta: float | None = None
    alpha: float = 0.05
    tune_mode: Mode | None = None
    at_time: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The baseline and the contenders."""
        return (BASELINE, *(contender.name for contender in self.contenders))


@dataclass(frozen=True)
class InterimAnalysis:
    """A verdict that was printed: it has spent its part of the error.

    Attributes:
        number: 1 for the first of the study.
        seeds: on which it rested.
        activations: the contenders that were judged together.
        question: what was asked of them, as ``lab.schedule.question`` writes it. The same activations, seeds and
            question again are the same look.
    """

    number: int
    seeds: int
    activations: tuple[str, ...] = ()
    question: str = ""


class EqualTime(NamedTuple):
    """The difference, contender − baseline, after the same seconds of each run at its best rate; 95 % interval."""

    seconds: float
    difference: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Verdict:
    """The verdict on one contender. Differences are contender − baseline in the metric's unit.

    Attributes:
        n: pairs of finished runs. ``mean``, ``sd``: of the contender in these pairs, at its best confirmed rate.
        difference: of the pairs at the best confirmed rates of both. ``ci``: 95 % interval of the difference of best
            against best for this contender alone, with the choice of the rates paid for. ``ci_simultaneous``: one that
            holds over all contenders and looks together.
        p_holm: of the weakest test that better (or worse) needs, corrected over contenders and looks: the verdict is
            better or worse if it is at most alpha. ``p_sign_flip``: exact, two-sided, of the pairs at the best rates,
            not corrected. ``p_better``: share of pairs in which it is better, a tie counting half.
        correlation: between the pairs. ``mdd``: difference that n pairs detect with 80 % power.
        seeds_needed: from how many to how many seeds find the design's delta with 80 % power at the next look; None
            without a delta, or if the spread is unknown.
        failed: runs at the best rate that did not finish with a value, or collapsed, of ``runs``; ``failed_ci``:
            Wilson's interval.
        lr_factor, baseline_lr_factor: the best confirmed rates. ``at_edge``: the contender's is not bracketed by two
            others, and it cannot be called worse.
        cost: "activation" and "baseline", each with seconds, cpu_seconds, peak_memory, parameters_added and dead_share
            as medians over the finished runs at the chosen rate; None if nothing was measured.
        notes: what a reader must know before believing it, in plain sentences.
        baseline_mean, baseline_sd: of the baseline in the same pairs. ``baseline_failed``: as ``failed``.
        look: the number of the look, 0 while runs of this contender or of the baseline are missing. ``level``: its part
            of alpha. ``dropped``: it lost by far on the first seeds, and no more were run.
        equal_time: an additional comparison, not part of the verdict; None if not requested or unknown.

    A number that the data cannot give is NaN.
    """

    activation: str
    verdict: Call
    n: int
    mean: float
    sd: float
    difference: float
    ci: tuple[float, float]
    ci_simultaneous: tuple[float, float]
    p_holm: float
    p_sign_flip: float
    p_better: float
    correlation: float
    mdd: float
    seeds_needed: tuple[int, int] | None
    runs: int
    failed: int
    failed_ci: tuple[float, float]
    lr_factor: float
    baseline_lr_factor: float
    at_edge: bool
    cost: Mapping[str, Any]
    baseline: str = BASELINE
    notes: tuple[str, ...] = ()
    baseline_mean: float = math.nan
    baseline_sd: float = math.nan
    baseline_failed: int = 0
    look: int = 0
    level: float = math.nan
    dropped: bool = False
    equal_time: EqualTime | None = None

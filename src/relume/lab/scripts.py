"""From a command to a campaign: survey one run of the script, and settle the question from it.

The survey comes first and is kept; nothing compared is chosen after a trial's result was seen.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from relume.artifacts.study import Begun, Study
from relume.artifacts.subject import Subject
from relume.artifacts.survey import Survey
from relume.artifacts.swap_plan import IN_A_CHILD, NotSwapped, SwapPlan
from relume.artifacts.trial import Design, Mode, Trial, TrialKey
from relume.errors import NothingToCompare, StudyError
from relume.framework import FRAMEWORKS
from relume.lab.capture.metrics import Metric, RunCurves, choose, infer_mode
from relume.lab.judging.schedule import AS_IT_STANDS
from relume.lab.trials.spec import Script, TrialSpec
from relume.lab.trials.templates import fill

FIRST = AS_IT_STANDS
"""At the script's own seeds: the survey, and the first trial."""

AGAIN = FIRST._replace(stage="repeat")
"""The first trial again: if it ends differently, runs of one seed are not the same."""


class RunsTrials(Protocol):
    """Runs specs, and yields each as it ends."""

    def run(self, orders: Iterable[TrialSpec]) -> Iterator[Any]:
        """Run these; (order, trial, found) of each."""


@dataclass(frozen=True)
class Request:
    """The user's request.

    Attributes:
        script: the script to run. ``design``: its metric and mode are settled by the survey.
        metric, tune_metric: as given: a name, a regular expression, or "".
        mode: None to take it from the metric's name.
        only: the kind or the site to which the replacement is limited. ``threads``, ``timeout``, ``gpus``: of each
            trial.
        keep_seeds: places, ``file:line``, of seeding calls that keep the script's own seed in every trial.
    """

    script: Script
    design: Design
    metric: str = ""
    tune_metric: str = ""
    mode: Mode | None = None
    only: str = ""
    threads: int = 1
    timeout: float | None = None
    gpus: float = 0.0
    keep_seeds: tuple[str, ...] = ()

    def subject(self, local: Iterable[str] = ()) -> Subject:
        """What the trials run; ``local`` are the modules next to the script."""
        script = self.script
        settings = {"only": self.only, "module": "yes" if script.is_module else ""}
        settings |= {"keep_seeds": ",".join(self.keep_seeds)}
        return Subject.of(
            script.script,
            script.args,
            Path(script.folder),
            local,
            versions=_versions(),
            threads=self.threads,
            settings={name: value for name, value in settings.items() if value},
        )

    def order(self, key: TrialKey, **more: Any) -> TrialSpec:
        """The spec of one trial."""
        fill(self.script.args, key.seed, key.lr_factor)  # report a bad template before anything runs
        contenders = {contender.name: contender for contender in self.design.contenders}
        common: dict[str, Any] = {"threads": self.threads, "timeout": self.timeout, "gpus": self.gpus}
        common |= {"only": self.only, "keep_seeds": self.keep_seeds}
        return TrialSpec(key, self.script, contenders.get(key.activation), **{**common, **more})


@dataclass(frozen=True)
class ScriptTrials:
    """Runs the trials of a script on an executor."""

    request: Request
    survey: Survey
    metric: Metric
    executor: RunsTrials

    def run(self, keys: Iterable[TrialKey]) -> Iterator[Trial]:
        """Run these; yields each as soon as it ends."""
        for _, trial, _ in self.executor.run(self._order(key) for key in keys):
            yield trial

    def _order(self, key: TrialKey) -> TrialSpec:
        plan, survey = self.survey.plan.to_dict(), self.survey
        asked = {"metric": self.metric.name, "regex": self.metric.regex, "tune_metric": self.metric.tuned_by}
        return self.request.order(key, plan=plan, written=survey.written, **asked)


# ---- the survey ----------------------------------------------------------------------------------------------------


def known_survey(request: Request, study: Study) -> Survey | None:
    """The survey of this script with these arguments, if the study has one."""
    number = study.find(request.subject(study.local_modules(request.script.script)))
    return Survey.read(study.folder, number) if number else None


def make_survey(request: Request, executor: RunsTrials) -> Survey:
    """Run the script once unchanged, and see what it does.

    Raises: NothingToCompare: the script failed.
    """
    trial, found = _surveyed(request, executor)
    remarks = [*found.get("remarks", ())]
    if trial.status == "finished" and found.get("resumed"):  # the same without the files it may have continued from
        anew, found_anew = _surveyed(request, executor, tuple(found["written"]))
        if anew.status == "finished":
            trial, found = anew, {**found_anew, "resumed": found["resumed"]}
        else:
            needed = found.pop("resumed")
            found["written"] = [path for path in found["written"] if path not in needed]
            remarks.append(
                f"The script changes its own inputs ({', '.join(needed)}): each trial begins with these files as they "
                "are now."
            )
    if trial.status in ("failed", "timeout") or "plan" not in found:
        raise _failed(request, trial, remarks)
    sources = {
        source: {name: tuple((s, v) for s, v in curve) for name, curve in curves.items()}
        for source, curves in found["sources"].items()
    }
    told = {name: tuple(found.get(name, ())) for name in ("written", "resumed", "outside", "local")}
    plan = SwapPlan.from_dict(found["plan"])
    children = [NotSwapped(what, where, _CHILD) for what, where in found.get("children", ())]
    return Survey(
        replace(plan, not_swapped=(*plan.not_swapped, *children)), trial, sources, **told, remarks=tuple(remarks)
    )


def _failed(request: Request, trial: Trial, remarks: list[str]) -> NothingToCompare:
    error = trial.error or trial.status
    hints = ["Run it with `python` in the same folder first.", *remarks]
    if error.startswith(f"exit status {_USAGE}") and any(arg.startswith("-") for arg in request.script.args):
        hints.insert(0, "relume's own options go before SCRIPT; everything after it is passed to the script.")
    return NothingToCompare(
        f"The script failed on its own ({error}). Expected a run that ends with exit status 0. {' '.join(hints)}",
        slug="script-failed",
    )


_USAGE = 2
"""The exit status of argparse and click for an unknown argument."""


def _surveyed(request: Request, executor: RunsTrials, hidden: tuple[str, ...] = ()) -> tuple[Trial, dict[str, Any]]:
    order = request.order(FIRST, regex=request.metric, written=hidden)
    _, trial, found = next(iter(executor.run([order])))
    return trial, found


_CHILD = f"{IN_A_CHILD}, which is not surveyed: its activations, seeds and rates may not be replaced"


# ---- the question --------------------------------------------------------------------------------------------------


def settle(request: Request, survey: Survey) -> tuple[Design, Metric]:
    """Decide what to compare, and by which metric, from one run.

    Raises:
        NothingToCompare: no replaceable activation, no learning rate, no metric, or several metrics and none chosen.
        StudyError: the metric's name does not say which way is better, or a seed to keep is not there.
    """
    demand_sites(request, survey)
    _demand_rates(request, survey)
    _demand_seeds(request, survey)
    found = RunCurves(
        {source: {n: list(curve) for n, curve in each.items()} for source, each in survey.sources.items()}
    )
    tuned_by = choose(found, request.tune_metric).name if request.tune_metric else ""
    metric = choose(found, request.metric, tuned_by)
    design = replace(
        request.design,
        metric=metric.name,
        mode=request.mode or infer_mode(metric.name),
        tune_metric=tuned_by,
        tune_mode=infer_mode(tuned_by) if tuned_by else None,
    )
    return design, replace(metric, tuned_by=tuned_by)


def demand_sites(request: Request, survey: Survey) -> None:
    """Raises: NothingToCompare: a contender is an activation, and the script has none that it can replace."""
    if survey.plan.chosen(request.only) or all(each.treatment for each in request.design.contenders):
        return
    left = [f"{site.key} ({site.why})" for site in survey.plan.sites if not site.hidden]
    left += [f"{each.what} at {each.where} ({each.why})" for each in survey.plan.not_swapped]
    seen = f" Found but not replaced: {'; '.join(left[:10])}." if left else " It applied none at all."
    only = f" of --only {request.only!r}" if request.only else ""
    hidden = [site.key for site in survey.plan.sites if site.hidden]
    instead = f" Replaceable sites: {', '.join(hidden[:10])}." if hidden else ""
    raise NothingToCompare(
        f"The script has no hidden activation{only} that relume can replace.{seen}{instead} Expected a ReLU or a "
        "related activation between layers, written as a module, layer, function or method of PyTorch, Keras or JAX.",
        slug="nothing-to-swap",
    )


def _demand_rates(request: Request, survey: Survey) -> None:
    """Raises: NothingToCompare: other learning rates were requested, but cannot be set."""
    known = [rate for optimizer in survey.plan.optimizers for rate in optimizer.rates if not math.isnan(rate)]
    if known or request.design.factors == (1.0,) or fill(request.script.args, 0, 1.0).rate:
        return
    raise NothingToCompare(
        "The script's learning rate cannot be changed from outside: no optimizer of PyTorch, Keras or Optax was seen. "
        "If the script takes its rate as an argument, write {lr:0.1} for its value; otherwise compare at the script's "
        "own rate with --lr-factors 1.",
        slug="no-learning-rate",
    )


def _demand_seeds(request: Request, survey: Survey) -> None:
    """Raises: StudyError: the script seeds nothing at the place of a seed to keep."""
    for place in request.keep_seeds:
        if not any(call.endswith(f" at {place}") for call in survey.plan.seeds):
            known = "; ".join(survey.plan.seeds) or "none"
            raise StudyError(
                f"--keep-seed {place}: the script has no seeding call there. Its seeding calls: {known}.",
                slug="no-such-seed",
            )


def begin(request: Request, design: Design, survey: Survey, study: Study) -> Begun:
    """Begin or continue the study with this question, and store the survey in it.

    Raises: StudyError: a verdict on a different question was printed, or the study cannot be written.
    """
    begun = study.begin(design, request.subject(survey.local))
    if Survey.read(study.folder, study.generation) is None:
        survey.save(study.folder, study.generation)
    return begun


def _versions() -> dict[str, str]:
    """Of Python and of the packages that scripts train with; imports nothing."""
    found = {"python": platform.python_version()}
    for framework in FRAMEWORKS:
        if framework.treatment is not None:
            try:
                found[framework.package] = importlib.metadata.version(framework.package)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found

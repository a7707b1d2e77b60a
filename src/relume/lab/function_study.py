"""From a Python function to a campaign: like ``scripts.py`` for a command, without a survey."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relume.artifacts.study import Study
from relume.artifacts.subject import Subject
from relume.artifacts.trial import BASELINE, Contender, Design, Mode, Trial
from relume.errors import NothingToCompare, StudyError
from relume.lab.campaign import Campaign, Terms
from relume.lab.capture.metrics import LOGGED, RunCurves, choose, infer_mode
from relume.lab.judging.schedule import AS_IT_STANDS
from relume.lab.trials.functions import FunctionTrials, Train, run_call


@dataclass(frozen=True)
class FunctionCall:
    """The arguments of ``relume.compare``.

    Attributes:
        train: the user's function. ``activations``: name → the activation passed to it; the first is the baseline.
        metric, tune_metric: names, or "". ``mode``: None to take it from the metric's name.
    """

    train: Train
    activations: Mapping[str, Any]
    metric: str = ""
    tune_metric: str = ""
    mode: Mode | None = None
    jobs: int = 1

    def given(self) -> dict[str, Any]:
        """The activations passed to the function, by name."""
        first, *others = self.activations.items()
        return {BASELINE: first[1], **dict(others)}

    def subject(self) -> Subject:
        """What the trials run: the function, identified by its text if known."""
        train = self.train
        name = f"{getattr(train, '__module__', '')}:{getattr(train, '__qualname__', type(train).__qualname__)}"
        try:
            text = inspect.getsource(train)
        except (OSError, TypeError):  # typed at a prompt, or a callable object
            text = ""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""
        settings = {"baseline": next(iter(self.activations))}
        return Subject(name, (), {name: digest}, {"python": platform.python_version()}, settings=settings)


def activations_of(given: Iterable[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Name → activation: names as they are, functions and classes by their own names.

    Raises: StudyError: fewer than two, or two with one name.
    """
    if isinstance(given, Mapping):
        found = [(str(name), each) for name, each in given.items()]
    else:
        found = [(each if isinstance(each, str) else getattr(each, "__name__", repr(each)), each) for each in given]
    names = [name for name, _ in found]
    if len(set(names)) < max(2, len(names)) or BASELINE in names[1:]:
        raise StudyError(
            f"relume.compare was given the activations {', '.join(names) or 'none'}. Expected two or more with "
            "different names, the baseline first; to name them yourself, give a mapping of name → activation.",
            slug="bad-contenders",
        )
    return dict(found)


def campaign_of(call: FunctionCall, design: Design, study: Study, terms: Terms) -> Campaign:
    """Begin or continue; if nothing has run, the first trial shows which metrics there are.

    Raises:
        NothingToCompare: the first trial failed, or logged no metric or several.
        StudyError: a verdict on a different question was already printed.
    """
    design = replace(design, contenders=tuple(Contender(name) for name in list(call.activations)[1:]))
    known = study.design if study.find(call.subject()) else None
    first = None if known else _first(call)
    if first is not None:
        found = RunCurves({LOGGED: {name: list(curve) for name, curve in first.metrics.items()}})
        tuned_by = choose(found, call.tune_metric).name if call.tune_metric else ""
        metric = choose(found, call.metric, tuned_by).name
    else:
        assert known is not None
        tuned_by, metric = call.tune_metric or known.tune_metric, call.metric or known.metric
    mode = call.mode or infer_mode(metric)
    design = replace(design, metric=metric, mode=mode, tune_metric=tuned_by)
    if tuned_by:
        design = replace(design, tune_mode=infer_mode(tuned_by))
    study.begin(design, call.subject())
    if first is not None and study.claim(AS_IT_STANDS):
        study.save(first)
    trials = FunctionTrials(call.train, call.given(), metric, call.jobs)
    return Campaign(design, study, trials, terms, first=(AS_IT_STANDS,))


def _first(call: FunctionCall) -> Trial:
    trial = run_call(call.train, call.given()[BASELINE], AS_IT_STANDS)
    if trial.status == "failed":
        raise NothingToCompare(
            f"The function failed with its first activation ({trial.error}). Call it yourself: "
            f"train({next(iter(call.activations))!r}, 0, 1.0, log).",
            slug="script-failed",
        )
    return trial

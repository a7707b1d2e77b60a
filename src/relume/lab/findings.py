"""Study → findings: the verdicts with everything else that a report shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from relume.artifacts.study import Study, read_all
from relume.artifacts.study_findings import AsItStands, StudyFindings
from relume.artifacts.survey import Survey
from relume.artifacts.trial import Design, Trial, TrialKey, Verdict
from relume.errors import StudyError
from relume.lab.judging import verdicts as judging
from relume.lab.judging.schedule import AS_IT_STANDS, look_now, next_seeds, runs_left
from relume.lab.judging.stats import moments
from relume.lab.judging.values import scores


def findings_of(study: Study, verdicts: Sequence[Verdict], *, together: int = 1) -> StudyFindings:
    """The findings of a study.

    Args:
        study: a folder whose comparison has begun.
        verdicts: on the contenders that were judged.
        together: how many studies were corrected together.

    Raises: StudyError: the comparison has not begun, or a file of the study is damaged.
    """
    asked, subject, trials = demand_design(study), study.subject, study.trials()
    assert subject is not None
    values = _values(trials, asked)
    survey = Survey.read(study.folder, study.generation)
    sites = survey.plan.chosen(subject.settings.get("only", "")) if survey else ()
    left = survey.plan.left_by(sites) if survey else ()
    named = subject.settings.get("baseline")  # of a function: its activations are not surveyed
    replaced = [site.activation for site in sites] or ([named] if named else [])
    return StudyFindings(
        name=study.folder.name or Path(study.folder).resolve().name,
        design=asked,
        subject=subject,
        verdicts=tuple(verdicts),
        trials=trials,
        values=values,
        looks=study.looks,
        replaces=tuple(name for name, _ in Counter(replaced).most_common()),
        sites=len(sites) if survey else None,
        not_swapped=tuple((each.what, each.where, each.why) for each in left),
        together=together,
        next_seeds=next_seeds(asked, study.looks),
        as_it_stands=_as_it_stands(trials, values),
        rate=_own_rate(survey),
        left={name: runs for name, runs in runs_left(asked, trials, study.looks).items() if runs},
    )


def _own_rate(survey: Survey | None) -> float:
    """The learning rate of the script, if all of its optimizers have the same."""
    rates = (
        {float(f"{rate:.6g}") for optimizer in survey.plan.optimizers for rate in optimizer.rates} if survey else set()
    )
    return rates.pop() if len(rates) == 1 else math.nan


def _as_it_stands(trials: Sequence[Trial], values: Mapping[TrialKey, float]) -> AsItStands:
    mine = [trial for trial in trials if trial.key._replace(seed=0) == AS_IT_STANDS]
    count, mean, sd = (float(each) for each in moments(np.array([values[trial.key] for trial in mine])))
    shares = [trial.dead_share for trial in mine if trial.dead_share is not None]
    return AsItStands(
        runs=len(mine),
        failed=len(mine) - int(count),
        dead_layers=sum(trial.dead_layers > 0 for trial in mine),
        mean=mean,
        sd=sd,
        dead_share=median(shares) if shares else None,
    )


def _values(trials: Sequence[Trial], asked: Design) -> dict[TrialKey, float]:
    """The value of each run. As in the verdicts, tuning and confirmation each detect their own collapses."""
    found: dict[TrialKey, float] = {}
    for tuning in (True, False):
        own = {trial.key: trial for trial in trials if (trial.key.stage == "tune") == tuning}
        found.update(scores(own, asked.metric, asked.at, asked.mode))
    return found


def read_findings(folders: Sequence[str | Path]) -> list[StudyFindings]:
    """The findings of these studies, corrected together. A look that is printed for the first time is recorded.

    Raises: StudyError: one of them cannot be read, or it has no comparison.
    """
    studies = read_all(folders)
    judged = judging.judge_all([_asked(study) for study in studies])
    return [
        findings_of(study, verdicts, together=len(studies)) for study, verdicts in zip(studies, judged, strict=True)
    ]


def _asked(study: Study) -> judging.JudgedStudy:
    design = demand_design(study)
    trials = study.trials()
    look = look_now(design, trials, study.looks)
    if look is not None and look not in study.looks:
        study.add_look(look)
    return judging.JudgedStudy(design, trials, study.looks)


def demand_design(study: Study) -> Design:
    """What was asked.

    Raises: StudyError: the comparison has not begun.
    """
    if study.design is None or study.subject is None:
        raise StudyError(
            f"Nothing has been compared in {study.folder} yet. Start with `relume compare --study {study.folder} "
            "SCRIPT`.",
            slug="study-not-begun",
        )
    return study.design

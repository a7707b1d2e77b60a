"""Searches for a cure that holds: diagnoses the unchanged script, then tries cures, the cheapest first.

Finished runs are kept in a study folder: the same command resumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from relume.artifacts.numbers import percent
from relume.artifacts.plan import CurePlan, read_plan, write_plan
from relume.artifacts.study import Study
from relume.artifacts.survey import Survey
from relume.artifacts.trial import BASELINE, Contender, Trial, TrialKey
from relume.artifacts.tried import Fixed, SourceEdit, Tried
from relume.doctor.cures import CURES
from relume.errors import NothingToCompare, StudyError
from relume.framework import FRAMEWORKS
from relume.lab.campaign import Progress, Quiet
from relume.lab.capture.metrics import TRAINING_LOSS, Metric, RunCurves, infer_mode, mode_of, words
from relume.lab.contenders import parse_contenders
from relume.lab.edits import edit_of
from relume.lab.judging.checks import check_seeds
from relume.lab.judging.cured import FIRST, CureTerms, delta_of, demand_pairs, failed, hopeless, least_seeds, tried
from relume.lab.scripts import FIRST as AS_IT_STANDS
from relume.lab.scripts import Request, RunsTrials, ScriptTrials, settle

ORDER = ("lower_rate", "spare_from_decay", "normalize_input", "initialize_anew", "revive_units", "swap_activation")
"""Cures from the cheapest. Another activation comes last: a unit with a slope below zero is never dead, so its dead
share proves nothing and only the metric counts."""


def demand_framework(survey: Survey, modules: Sequence[str]) -> None:
    """Raises: NothingToCompare: relume cannot change trainings of the script's framework."""
    packages = {site.framework for site in survey.plan.sites} or set(modules)
    loaded = [f for f in FRAMEWORKS if f.package in packages]
    if loaded and all(f.surgery is None for f in loaded):
        raise NothingToCompare(
            f"The script trains with {loaded[-1].name}. relume tries cures in PyTorch scripts only; `relume run` "
            "diagnoses other frameworks.",
            slug="cures-need-torch",
        )


def demand_seeds(request: Request) -> None:
    """Raises: StudyError: too few seeds to show that any of the cures holds."""
    seeds, cures = request.design.seeds, len(request.design.contenders)
    if seeds < (least := least_seeds(cures)):
        raise StudyError(
            f"--seeds {seeds} cannot show that fewer units die: with {cures} cures to try, at least {least} are "
            f"needed. Give --seeds {least}, or fewer cures with --try.",
            slug="too-few-seeds",
        )


def metric_of(request: Request, survey: Survey) -> Request:
    """The request with a metric, if the user named none.

    Test metrics come before training metrics, and scores before losses. Without any, it is the training loss.

    Raises: NothingToCompare, StudyError: as :func:`~relume.lab.scripts.settle`.
    """
    try:
        settle(request, survey)
    except NothingToCompare as nothing:
        if nothing.slug == "no-metric":
            return replace(request, metric=TRAINING_LOSS)
        if nothing.slug != "several-metrics" or request.metric:
            raise
        found = RunCurves(
            {source: {n: list(curve) for n, curve in each.items()} for source, each in survey.sources.items()}
        )
        names = next(iter(found.candidates().values()))
        return replace(request, metric=max(names, key=_promise))
    return request


def _promise(name: str) -> tuple[int, bool]:
    kinds = words(name)
    held_out = 2 * ("test" in kinds or "eval" in kinds) or any(kind.startswith("val") for kind in kinds)
    return int(held_out), mode_of(name) == "max"


@dataclass
class Search:
    """One search in progress.

    Attributes:
        request: the user's; its design's contenders are the cures.
        survey, study, executor: as in a comparison; the study has begun. ``metric``: judges the cures.
        max_dead: the largest dead share that counts as cured.
    """

    request: Request
    survey: Survey
    study: Study
    executor: RunsTrials
    metric: Metric
    max_dead: float
    progress: Progress = field(default_factory=Quiet)

    @property
    def file(self) -> Path:
        """The plan made from the diagnosis."""
        return self.study.folder / f"plan-{self.study.generation}.json"

    def diagnose(self) -> CurePlan:
        """Why units die in the unchanged script, at its own seed; this is its first run.

        Raises: NothingToCompare: it failed, or no unit is dead.
        """
        file = self.file
        if not file.exists() or AS_IT_STANDS not in self.study:
            plan = self.survey.plan.to_dict()
            order = self.request.order(
                AS_IT_STANDS, plan=plan, written=self.survey.written, metric=self.metric.name, regex=self.metric.regex,
                diagnose=True,
            )  # fmt: skip
            _, trial, found = next(iter(self.executor.run([order])))
            if trial.status not in ("finished", "diverged") or "cures" not in found:
                raise NothingToCompare(
                    f"The script failed on its own ({trial.error or trial.status}). Run it with `python` first.",
                    slug="script-failed",
                )
            write_plan(CurePlan.from_dict(found["cures"]), file)
            self.study.save(trial)
        made = read_plan(file)
        first = next(trial for trial in self.study.trials() if trial.key == AS_IT_STANDS)
        if not first.dead_share or not made.actions:
            self._refuse(first, made)
        return made

    def _refuse(self, first: Trial, made: CurePlan) -> None:
        if first.dead_share is None:
            raise NothingToCompare(
                "relume watched no activation in a training step of this script, or saw fewer than 300 examples. "
                "`relume run` says why.",
                slug="nothing-watched",
            )
        if not first.dead_share:
            diverged = " Its values became NaN or infinite." if first.status == "diverged" else ""
            raise NothingToCompare(
                f"No unit is dead at the end of the script, so there is nothing to cure.{diverged} `relume run` shows "
                "other findings.",
                slug="nothing-dead",
            )
        why = "; ".join(f"{each.site}: {each.why}" for each in made.open)
        raise NothingToCompare(f"No cure is known for these dead units. {why}.", slug="no-cure")

    def propose(self, made: CurePlan) -> tuple[Contender, ...]:
        """The cures that fit the diagnosis and this script, the cheapest first."""
        named = {action.cure for action in made.actions}
        known = {cure.name: cure for cure in CURES}
        texts = [text for name in ORDER if name in named for text in known[name].tries]
        rates = [r for o in self.survey.plan.optimizers for r in o.rates if not math.isnan(r)]
        possible = {
            "": bool(self.survey.plan.chosen(self.request.only)),
            **dict.fromkeys(("lr", "warmup"), bool(rates)),
            **dict.fromkeys(("clip", "init", "no_decay"), bool(self.survey.plan.optimizers)),
            "revive": bool(self.survey.plan.optimizers) and not self.survey.plan.compiled,
            "normalize": bool(self.survey.plan.inputs),
        }
        offered = [each for each in (parse_contenders(texts) if texts else ()) if possible.get(each.treatment, True)]
        if not offered:
            raise NothingToCompare(
                f"relume cannot apply a cure for these units from outside ({', '.join(sorted(named)) or 'none'}). "
                "`relume plan` shows what you can do by hand.",
                slug="no-cure",
            )
        return tuple(offered)

    def carry_out(self) -> Fixed:
        """Run the unchanged script, then each cure, until one holds.

        Raises:
            NothingToCompare: the unchanged script fails at too many seeds.
            StudyError: the seeds have no effect, or the study cannot be written.
        """
        design = self.request.design
        terms = CureTerms(design.metric, design.mode, design.at, design.delta, self.max_dead, len(design.contenders))
        demand_seeds(self.request)
        base = self._runs(BASELINE, design.seeds)
        check_seeds(base)
        demand_pairs(base, len(design.contenders))
        found: list[Tried] = []
        for contender in design.contenders:
            found.append(self._try(contender, base, terms))
            if found[-1].outcome == "cured":
                break
        cure = found[-1] if found and found[-1].outcome == "cured" else None
        script = self.request.script
        return Fixed(
            script=script.script,
            argv=script.args,
            metric=design.metric,
            mode=design.mode,
            delta=delta_of(base, terms),
            max_dead=self.max_dead,
            seeds=design.seeds,
            level=terms.level,
            tried=tuple(found),
            failed=len(lost := failed(base)),
            error=next((trial.error or trial.status for trial in lost), ""),
            untried=design.names[len(found) + 1 :],
            edit=None if cure is None else self._edit(cure.cure, terms),
        )

    def _try(self, contender: Contender, base: Sequence[Trial], terms: CureTerms) -> Tried:
        seeds = self.request.design.seeds
        runs = self._runs(contender.name, min(FIRST, seeds))
        if not hopeless(base, runs, terms):
            runs = self._runs(contender.name, seeds)
        return tried(contender, base, runs, terms, seeds)

    def _runs(self, name: str, seeds: int) -> list[Trial]:
        """The trials of one contender; runs the missing ones."""
        keys = [TrialKey(name, seed, 1.0, "confirm") for seed in range(seeds)]
        missing = [key for key in keys if key not in self.study]
        trials = ScriptTrials(self.request, self.survey, self.metric, self.executor)
        self.progress.planned("confirm", len(keys) - len(missing), len(missing))
        for trial in trials.run(self._claimed(missing)):
            self.study.save(trial)
            self.progress.ended(trial)
        ended = {trial.key: trial for trial in self.study.trials()}
        if left := [key for key in keys if key not in ended]:
            raise StudyError(
                f"{len(left)} runs of {name} are being run by another process in {self.study.folder}. Wait for it, or "
                "name another folder with --study.",
                slug="study-in-use",
            )
        return [ended[key] for key in keys]

    def _claimed(self, keys: Sequence[TrialKey]) -> Iterator[TrialKey]:
        for key in keys:
            if self.study.claim(key):
                yield key

    def _edit(self, name: str, terms: CureTerms) -> SourceEdit:
        """The edit that does what a cure did, confirmed by a run of the edited script."""
        contender = next(each for each in self.request.design.contenders if each.name == name)
        script = self.request.script
        files = [*([] if script.is_module else [script.script]), *self.survey.local]
        known = {file: Path(script.folder) / file for file in dict.fromkeys(files)}
        made = edit_of(
            contender, {name: path for name, path in known.items() if path.suffix == ".py"}, self.survey.plan
        )
        if not made.diff:
            return made
        key = AS_IT_STANDS._replace(activation=f"{name} as an edit")
        if key not in self.study:
            order = self.request.order(
                key, plan=self.survey.plan.to_dict(), written=self.survey.written, sources=made.sources,
                metric=self.metric.name, regex=self.metric.regex,
            )  # fmt: skip
            _, trial, _ = next(iter(self.executor.run([order])))
            self.study.save(trial)
        ended = {trial.key: trial for trial in self.study.trials()}
        return _proven(made, ended[key], ended[AS_IT_STANDS._replace(activation=name)], terms)


def _proven(made: SourceEdit, edited: Trial, cured: Trial, terms: CureTerms) -> SourceEdit:
    """The edit with its proof; without a diff if it does not do the same as the cure."""
    if edited.weights and edited.weights == cured.weights:
        return replace(made, proof="the edited script ends with the same weights as the cure's run, to the bit")
    share = edited.dead_share
    if edited.status == "finished" and share is not None and share <= max(terms.max_dead, cured.dead_share or 0.0):
        return replace(made, proof=f"{percent(share)} of the units are dead at the end of a run of the edited script")
    seen = f"{percent(share)} of its units are dead" if share is not None else edited.error or edited.status
    return SourceEdit(why=f"an edit was made, but a run of the edited script did not do what the cure did ({seen})")


def design_of(request: Request, contenders: tuple[Contender, ...], metric: Metric) -> Request:
    """The request for these cures, judged by this metric at the script's own rate."""
    design = replace(
        request.design,
        contenders=contenders,
        factors=(1.0,),
        metric=metric.name,
        mode=request.mode or infer_mode(metric.name),
    )
    return replace(request, design=design)

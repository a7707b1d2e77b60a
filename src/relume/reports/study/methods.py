"""Study → the Methods paragraph that a paper could cite, written from the study's own numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.swap_plan import IN_A_CHILD
from relume.artifacts.trial import BASELINE
from relume.reports.study import wording
from relume.version import __version__

_AT = {"last": "the last value of a run", "best": "the best value of a run"}
_MADE_WITH = {"python": "Python", "torch": "PyTorch", "relume": "relume", "numpy": "NumPy", "cuda": "CUDA"}


def paragraph(findings: StudyFindings) -> str:
    """One paragraph in plain text: what was run, on what, how it was tuned, tested and corrected, and what failed."""
    return " ".join([*_what(findings), *_tuning(findings), *_measure(findings), *_tests(findings), *_runs(findings)])


def to_methods(studies: Sequence[StudyFindings]) -> str:
    """A paragraph a study."""
    return "\n\n".join(paragraph(findings) for findings in studies) + "\n"


def _what(findings: StudyFindings) -> Iterator[str]:
    if not findings.confirmed:
        yield "This study is not complete."
    names = wording.listed([wording.short(contender.name) for contender in findings.design.contenders])
    places = "" if findings.sites is None else f", at {_count(findings.sites, 'place')} of it"
    compared = f"We compared {names} with {wording.baseline(findings)} ({wording.command(findings)}): "
    if findings.own_baseline:
        yield f"{compared}the same function trained with each; its arguments were activation, seed and rate factor."
    else:
        yield (
            f"{compared}the script was run unchanged, and its activations were replaced while it ran{places}, in "
            "training and evaluation alike."
        )
    versions = [
        f"{_MADE_WITH.get(name, wording.short(name))} {wording.short(version)}"
        for name, version in findings.subject.versions.items()
    ]
    threads = _count(findings.subject.threads, "thread")
    yield f"All runs used {f'{wording.listed(versions)}, with ' if versions else ''}{threads} each."
    if "relume" not in findings.subject.versions:
        yield f"relume {__version__} did the replacement, tuning and statistics."
    others = [why for _, _, why in findings.not_swapped if not why.startswith(IN_A_CHILD)]
    if others:
        yield f"{_count(len(others), 'other activation')} of the script stayed in place."
    if len(others) < len(findings.not_swapped):
        yield "Activations in the script's child processes were not replaced."


def _tuning(findings: StudyFindings) -> Iterator[str]:
    asked = findings.design
    seeds = f"{findings.seeds} seeds (0 to {findings.seeds - 1})"
    if findings.tuned:
        factors = wording.listed([f"{factor:g}" for factor in findings.tuned])
        by, on = wording.short(asked.tune_metric or asked.metric), _count(len(asked.tuning_seeds), "seed")
        yield (
            f"The learning rate of each, {BASELINE} included, was chosen from {factors} times the script's rate by "
            f"{by} on {on} used for nothing else."
        )
        extra = len({trial.key.seed for trial in findings.trials if trial.key.stage == "tune"} - {*asked.tuning_seeds})
        if extra:
            yield f"Runs that gave no value were replaced by up to {_count(extra, 'further seed')}."
        if findings.confirmed_rates:
            yield (
                f"The best rate of each and its neighbors then ran on {seeds}, the same for all; rates were added until"
                " the best was between two others."
            )
    else:
        yield f"All ran at the script's own learning rate on {seeds}, the same for all."
    if not findings.own_baseline:
        yield "Runs of one seed share initial weights, batches and dropout."


def _measure(findings: StudyFindings) -> Iterator[str]:
    asked = findings.design
    at = _AT.get(asked.at, f"the mean of the last {asked.at.partition(':')[2]} values of a run")
    better = "more" if asked.mode == "max" else "less"
    yield f"The outcome is {wording.short(asked.metric)} ({better} is better), {at}, fixed before the first run."


def _tests(findings: StudyFindings) -> Iterator[str]:
    asked = findings.design
    family = _count(len(asked.contenders), "contender")
    if findings.together > 1:
        family += f" and {findings.together} studies together"
    yield (
        f"Differences are paired by seed and tested by two-sided paired t-tests at α = {asked.alpha:g}, corrected by "
        f"Holm's method over {family}; intervals are 95 % t-intervals of the difference at the best rates."
    )
    if findings.confirmed_rates > 1:
        yield (
            "Because the best rate is uncertain, a contender counts as better only if it beats the baseline "
            "at each of the baseline's rates and between them, and as worse only if it loses at each of its own."
        )
    if asked.delta is not None:
        yield f"Equivalence within ±{asked.delta:g} was tested by two one-sided tests."
    if findings.looks:
        at = wording.listed([str(look.seeds) for look in findings.looks])
        spent = sorted({verdict.level for verdict in findings.verdicts if verdict.look})
        level = f", the latest with α = {spent[-1]:.2g} of it" if spent else ""
        yield f"Verdicts at fixed numbers of seeds share α; they were reached at {at} seeds{level}."


def _runs(findings: StudyFindings) -> Iterator[str]:
    total = len(findings.trials)
    lost = [trial for trial in findings.trials if trial.status != "finished"]
    if not lost:
        yield f"All {total:,} runs finished."
        return
    kinds: dict[str, int] = {}
    for trial in lost:
        kinds[trial.status] = kinds.get(trial.status, 0) + 1
    words = {"timeout": "ran out of time"}
    said = wording.listed([f"{number:,} {words.get(kind, kind)}" for kind, number in kinds.items()])
    yield f"Of {total:,} runs {said}; they count as outcomes of their contender and are listed with it."


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"

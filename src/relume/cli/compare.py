"""``relume compare``: which activation a task wants, decided by experiment."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relume.cli._settings import Configured

if TYPE_CHECKING:
    from relume.artifacts.study import Begun, Study
    from relume.artifacts.survey import Survey
    from relume.artifacts.trial import Design
    from relume.cli._progress import Bar
    from relume.lab.capture.metrics import Metric
    from relume.lab.scripts import Request

WITH = "leaky_relu,prelu:channel,rrelu,relu6,elu,gelu,silu"


class Factors(click.ParamType):  # type: ignore[type-arg]
    """Learning-rate factors: ``1/4,1,4`` or ``0.25,1,4``."""

    name = "factors"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Each a number above 0, or a fraction."""
        try:
            found = tuple(_fraction(part) for part in str(value).split(","))
            if all(factor > 0 for factor in found):
                return found
        except (ValueError, ZeroDivisionError):
            pass
        self.fail(f"{value!r} is not a list of factors above 0, such as 1/4,1,4.", param, ctx)


class Time(click.ParamType):  # type: ignore[type-arg]
    """``60s``, ``5m``, ``1h``, or ``baseline``: seconds as text, or the word."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """A number above 0 with its unit; seconds without one."""
        text = str(value).strip()
        if text in ("", "baseline"):
            return text
        number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "s")
        try:
            seconds = float(number) * _UNITS[unit]
            if 0 < seconds < math.inf:
                return f"{seconds:g}"
        except ValueError:
            pass
        self.fail(f"{value!r} is no time, such as 60s, 5m, 1h or baseline.", param, ctx)


_UNITS = {"s": 1, "m": 60, "h": 3600}


class Shard(click.ParamType):  # type: ignore[type-arg]
    """``K/N``: the K-th of N parts."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Two numbers, the first of them from 1 to the second."""
        own, slash, of = str(value).partition("/")
        if slash and own.isdecimal() and of.isdecimal() and 1 <= int(own) <= int(of):
            return int(own), int(of)
        self.fail(f"{value!r} is not a part K/N with K from 1 to N, such as 2/8.", param, ctx)


def _fraction(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


@click.command("compare", cls=Configured, context_settings={"allow_interspersed_args": False})
@click.option("-m", "is_module", is_flag=True, help="SCRIPT is a module, as in python -m.")
@click.option("--with", "contenders", default=WITH, show_default=True, metavar="A,B", help="Activations to compare.")
@click.option("--seeds", type=click.IntRange(min=2), default=8, show_default=True, help="Seeds of the first verdict.")
@click.option("--until-decided", is_flag=True, help="Double the seeds, up to 4×, until every verdict is decided.")
@click.option("--metric", default="", metavar="NAME|REGEX", help="Metric to compare; REGEX has the number as a group.")
@click.option(
    "--mode", type=click.Choice(["min", "max"]), help="Which way is better, if the metric's name does not show it."
)
@click.option("--at", default="last", show_default=True, metavar="last|best|mean:K", help="Which value counts.")
@click.option(
    "--at-time", type=Time(), default="", metavar="60s|baseline", help="Also compare after the same time of each run."
)
@click.option("--tune-metric", default="", metavar="NAME", help="Validation metric to choose learning rates by.")
@click.option("--delta", type=click.FloatRange(min=0, min_open=True), help="Smallest difference that matters.")
@click.option("--lr-factors", type=Factors(), default="1/4,1,4", show_default=True, help="Multiples of SCRIPT's rates.")
@click.option("--only", default="", metavar="KIND|SITE", help="Replace only these: relu, file:line, a module's path.")
@click.option("--keep-seed", "keep_seeds", multiple=True, metavar="FILE:LINE", help="Never change the seed set here.")
@click.option(
    "--study", "folder", default="relume-study", show_default=True, metavar="DIR", help="Folder of the study."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Trials at a time; default: one per core, or one per GPU.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads per trial.")
@click.option("--gpus-per-trial", type=click.FloatRange(min=0), default=0.0, help="GPUs per trial, such as 1 or 0.5.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Limit per trial.")
@click.option("--max-hours", type=click.FloatRange(min=0, min_open=True), help="Start no trial after this many hours.")
@click.option("--shard", type=Shard(), default="1/1", help="Run the K-th of N parts, for Slurm arrays.")
@click.option("--ray", metavar="ADDRESS|local", help="Run the trials on a Ray cluster.")
@click.option("--probe", is_flag=True, help="Run once: show what would be replaced, the metrics and the cost.")
@click.option("--dry-run", is_flag=True, help="Run the probe only; show all trials and the estimated time.")
@click.option("--json", "as_json", is_flag=True, help="Stable, versioned JSON.")
@click.argument("script")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(script: str, args: tuple[str, ...], **options: Any) -> int:
    """Find out by experiment which activation SCRIPT should use.

    relume runs SCRIPT with each activation, over several seeds, each at its own best learning rate. SCRIPT is not
    edited. Everything after SCRIPT is passed to it, with {seed} and {lr:0.001} filled in. The same command continues
    an interrupted study.
    """
    from relume.artifacts.study import Study

    request = _request(script, args, options)
    study = Study.open(options["folder"])
    try:
        return _compare(request, study, options)
    finally:
        study.close()


def _request(script: str, args: tuple[str, ...], options: dict[str, Any]) -> Request:
    from relume.artifacts.trial import Design
    from relume.lab.contenders import parse_contenders
    from relume.lab.judging.values import tail_length
    from relume.lab.scripts import Request
    from relume.lab.trials.spec import Script

    tail_length(options["at"])
    contenders = parse_contenders(options["contenders"])
    if options["lr_factors"] != (1.0,) and any(each.treatment == "lr" for each in contenders):
        raise click.UsageError("lr:FACTOR changes the rate that compare tunes. Give --lr-factors 1 with it.")
    design = Design(
        contenders,
        seeds=options["seeds"],
        factors=options["lr_factors"],
        at=options["at"],
        delta=options["delta"],
        at_time=options["at_time"],
    )
    return Request(
        Script(script, args, options["is_module"], str(Path.cwd())),
        design,
        options["metric"],
        options["tune_metric"],
        options["mode"],
        options["only"],
        options["threads"],
        options["timeout"],
        options["gpus_per_trial"],
        options["keep_seeds"],
    )


def _compare(request: Request, study: Study, options: dict[str, Any]) -> int:
    from rich.console import Console

    from relume.cli._progress import Bar
    from relume.lab import scripts

    stderr = Console(stderr=True)
    with _executor(request, study, options) as executor, Bar(stderr) as bar:
        survey = scripts.known_survey(request, study)
        if survey is None:
            bar.surveying(request.script.script)
            survey = scripts.make_survey(request, executor)
            for remark in () if options["probe"] else survey.remarks:
                _say(remark)
        if options["probe"]:
            return _probe(request, survey, bar)
        design, metric = scripts.settle(request, survey)
        begun = scripts.begin(request, design, survey, study)
        if options["dry_run"]:
            return _dry_run(design, study, survey, bar, options)
        _say_begun(begun, study, bar)
        return _carry_out(request, design, metric, study, survey, executor, bar, options)


def _executor(request: Request, study: Study, options: dict[str, Any]) -> Any:
    """Who runs the trials: this machine, or Ray."""
    from relume.lab.trials.forked import Place
    from relume.lab.trials.spec import TrialSpec

    folder = str(study.folder.resolve())

    def place(order: TrialSpec) -> Place:
        return Place(str(study.log(order.key).resolve()), folder)

    until = _until(options)
    if options["ray"]:
        from relume.lab.executors.ray import RayExecutor

        return RayExecutor(place, options["ray"], threads=request.threads, until=until)
    from relume.lab.executors.local import LocalExecutor

    return LocalExecutor(place, options["jobs"] or 0, threads=request.threads, until=until)


def _until(options: dict[str, Any]) -> float | None:
    hours = options["max_hours"]
    return None if hours is None else time.monotonic() + hours * 3600


def _carry_out(
    request: Request,
    design: Design,
    metric: Metric,
    study: Study,
    survey: Survey,
    executor: Any,
    bar: Bar,
    options: dict[str, Any],
) -> int:
    from relume.cli import Exit
    from relume.lab.campaign import Campaign, Terms
    from relume.lab.findings import findings_of
    from relume.lab.scripts import AGAIN, FIRST, ScriptTrials

    executor.preload = survey.plan.modules
    terms = Terms(options["until_decided"], options["shard"], _until(options))
    trials = ScriptTrials(request, survey, metric, executor)
    campaign = Campaign(design, study, trials, terms, bar, (FIRST, AGAIN))
    try:
        verdicts = campaign.carry_out()
    except KeyboardInterrupt:
        bar.close()
        _say(f"interrupted. {len(study.trials())} trials are kept; the same command continues from there.")
        return Exit.INTERRUPTED
    bar.close()
    _print(findings_of(study, verdicts), study, options["as_json"])
    _say_failed(study)
    if campaign.out_of_time:
        _say(f"the time is up; {len(campaign.ahead())} trials are left. The same command continues from here.")
        return Exit.INTERRUPTED
    return Exit.DONE


def _print(findings: Any, study: Study, as_json: bool) -> None:
    from relume.cli._reading import tolerant_stdout

    tolerant_stdout()
    if as_json:
        from relume.reports.study.json import to_json

        click.echo(to_json([findings]))
        return
    from relume.cli._terminal import show
    from relume.reports.study import terminal

    name = shlex.quote(os.path.relpath(study.folder))
    show(terminal.render([findings]), f"relume report {name} --html study.html")


def _say_failed(study: Study) -> None:
    """Print the most common error and a log with details; the reports only count failures."""
    failed = [trial for trial in study.trials() if trial.status in ("failed", "timeout")]
    if failed:
        (error, times), *others = Counter(trial.error for trial in failed).most_common()
        log = next(study.log(trial.key) for trial in failed if trial.error == error)
        also = f", the rest with {len(others)} other errors" if others else ""
        _say(f"{len(failed)} runs failed; {times} with: {error}{also}. The output of the first is in {log}")


def _say_begun(begun: Begun, study: Study, bar: Bar) -> None:
    if begun.how == "changed":
        _say(
            f"the subject has changed ({', '.join(begun.changes)}): generation {study.generation} of the study begins. "
            "The earlier trials are kept but not counted."
        )
    elif begun.how == "resumed" and study.trials():
        _say(f"continuing {study.folder}: {len(study.trials())} trials are done.")


def _probe(request: Request, survey: Survey, bar: Bar) -> int:
    """Show what one run showed; exit 5 if nothing can be compared."""
    from relume.cli._terminal import show
    from relume.errors import NothingToCompare, StudyError
    from relume.lab.scripts import settle
    from relume.reports.study import survey as survey_report

    bar.close()
    trouble: StudyError | None = None
    design = None
    try:
        design, _ = settle(request, survey)
    except StudyError as error:
        trouble = error
    comparable = design is not None and survey.plan.chosen(request.only)
    show(survey_report.render(survey, request.only, design), "the same command without --probe" if comparable else None)
    if isinstance(trouble, NothingToCompare):
        raise trouble
    if trouble is not None:
        _say(str(trouble))
    return 0


def _dry_run(design: Design, study: Study, survey: Survey, bar: Bar, options: dict[str, Any]) -> int:
    from relume.cli._terminal import show
    from relume.lab.executors.local import cores
    from relume.lab.matrix import matrix
    from relume.reports.study import survey as survey_report

    bar.close()
    planned = matrix(design, study.trials(), survey.trial, options["jobs"] or cores())
    show(survey_report.render_matrix(planned))
    return 0


def _say(text: str) -> None:
    print(f"relume: {text}", file=sys.stderr)

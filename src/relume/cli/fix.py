"""``relume fix``: try cures on the script, and show the first that works as a diff."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relume.cli._settings import Configured
from relume.cli._share import Share

if TYPE_CHECKING:
    from relume.artifacts.study import Study
    from relume.artifacts.tried import Fixed
    from relume.lab.scripts import Request

STUDY = "relume-fix"


@click.command("fix", cls=Configured, context_settings={"allow_interspersed_args": False})
@click.option("-m", "is_module", is_flag=True, help="SCRIPT is a module, as in python -m.")
@click.option("--try", "cures", default="", metavar="A,B", help="Cures to try; default: those for what was found.")
@click.option(
    "--seeds", type=click.IntRange(min=2), default=8, show_default=True, help="Runs per cure, paired by seed."
)
@click.option(
    "--max-dead",
    type=Share("all units", "1% or 0.01", zero=True),
    default="1%",
    show_default=True,
    help="Share of dead units that counts as cured.",
)
@click.option("--metric", default="", metavar="NAME|REGEX", help="Metric that must not get worse.")
@click.option(
    "--mode", type=click.Choice(["min", "max"]), help="Which way is better, if the metric's name does not show it."
)
@click.option("--at", default="last", show_default=True, metavar="last|best|mean:K", help="Which value counts.")
@click.option(
    "--delta", type=click.FloatRange(min=0, min_open=True), help="Smallest loss in the metric that counts as worse."
)
@click.option("--study", "folder", default=STUDY, show_default=True, metavar="DIR", help="Folder of the runs.")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time; default: one per core.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads per run.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Limit per run.")
@click.option("--write", is_flag=True, help="Apply the edit to the source.")
@click.option("--json", "as_json", is_flag=True, help="Stable, versioned JSON.")
@click.argument("script")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(script: str, args: tuple[str, ...], **options: Any) -> int:
    """Try cures for the dead units of SCRIPT, and prove the first one that works.

    \b
        relume fix train.py --lr 0.25
        relume fix --try lr:1/4,revive --metric val_acc train.py

    relume runs SCRIPT unchanged and finds out why units die. Then it tries the cures for that cause on the same seeds,
    the cheapest first, and stops at the first that works: fewer units die, at most --max-dead are dead, and the metric
    is not worse by --delta. The edit of your source follows as a diff; --write applies it. SCRIPT is not edited
    otherwise, and its runs write to a copy. The same command continues an interrupted search.

    Exit status: 0 if a cure works, 1 if none does, 5 if there is nothing to cure.
    """
    from relume.artifacts.study import Study
    from relume.lab.fix import demand_seeds

    request = _request(script, args, options)
    demand_seeds(request)
    study = Study.open(options["folder"])
    try:
        return _fix(request, study, options)
    finally:
        study.close()


def _request(script: str, args: tuple[str, ...], options: dict[str, Any]) -> Request:
    from relume.artifacts.trial import Design
    from relume.lab.contenders import parse_contenders
    from relume.lab.judging.values import tail_length
    from relume.lab.scripts import Request
    from relume.lab.trials.spec import Script

    tail_length(options["at"])
    cures = parse_contenders(options["cures"]) if options["cures"] else ()
    design = Design(cures, options["seeds"], factors=(1.0,), at=options["at"], delta=options["delta"])
    return Request(
        Script(script, args, options["is_module"], str(Path.cwd())),
        design,
        options["metric"],
        mode=options["mode"],
        threads=options["threads"],
        timeout=options["timeout"],
    )


def _fix(request: Request, study: Study, options: dict[str, Any]) -> int:
    from rich.console import Console

    from relume.cli import Exit
    from relume.cli._progress import Bar
    from relume.lab import fix, scripts
    from relume.lab.executors.local import LocalExecutor
    from relume.lab.trials.forked import Place
    from relume.lab.trials.spec import TrialSpec

    folder = str(study.folder.resolve())

    def place(order: TrialSpec) -> Place:
        return Place(str(study.log(order.key).resolve()), folder)

    with (
        LocalExecutor(place, options["jobs"] or 0, threads=request.threads) as executor,
        Bar(Console(stderr=True)) as bar,
    ):
        try:
            survey = scripts.known_survey(request, study)
            if survey is None:
                bar.surveying(request.script.script)
                survey = scripts.make_survey(request, executor)
            fix.demand_framework(survey, executor.preload)
            asked = fix.metric_of(request, survey)
            design, metric = scripts.settle(asked, survey)
            scripts.begin(asked, design, survey, study)
            executor.preload = survey.plan.modules
            search = fix.Search(asked, survey, study, executor, metric, options["max_dead"], bar)
            made = search.diagnose()
            cures = request.design.contenders or search.propose(made)
            search.request = fix.design_of(asked, cures, metric)
            scripts.begin(search.request, search.request.design, survey, study)
            found = search.carry_out()
        except KeyboardInterrupt:
            bar.close()
            _say(f"interrupted. {len(study.trials())} runs are kept; the same command continues from there.")
            return Exit.INTERRUPTED
    _tell(found, options["as_json"], _written(found, request, options), str(search.file))
    return Exit.DONE if found.cure is not None else Exit.CHECK_FAILED


def _written(found: Fixed, request: Request, options: dict[str, Any]) -> bool:
    """Apply the edit if ``--write`` was given. Returns: whether it was applied."""
    if not options["write"] or found.edit is None or not found.edit.sources:
        return False
    from relume.errors import CureError

    for name, text in found.edit.sources.items():
        file = Path(request.script.folder) / name
        try:
            file.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise CureError(
                f"Cannot write {file}: {error.strerror or error}. The edit is in the table; apply it by hand.",
                slug="cannot-write",
            ) from error
    return True


def _tell(found: Fixed, as_json: bool, written: bool, plan: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from relume.cli._reading import tolerant_stdout
    from relume.cli._terminal import show
    from relume.reports.run import fix

    tolerant_stdout()
    if as_json:
        import json

        click.echo(json.dumps(found.to_dict(), allow_nan=False))
        return
    show(fix.render(found))
    if (edit := fix.edit(found, written=written)) is not None:
        Console(highlight=False).print(edit, soft_wrap=True)  # a wrapped diff cannot be copied
    show(Text(), _next(found, written, plan))


def _next(found: Fixed, written: bool, plan: str) -> str | None:
    script = shlex.join([found.script, *found.argv])
    if written:
        return f"relume run {script}"
    if found.edit is not None and found.edit.diff:
        return f"relume fix --write {_given()}{script}"
    return f"relume plan {shlex.quote(plan)}" if found.cure is None else None


def _given() -> str:
    """The options of this command as they were given."""
    context = click.get_current_context()
    told = []
    for option in context.command.params:
        source = context.get_parameter_source(str(option.name))
        if isinstance(option, click.Option) and source is click.core.ParameterSource.COMMANDLINE:
            told += [option.opts[0], *([] if option.is_flag else [str(context.params[str(option.name)])])]
    return shlex.join(told) + " " if told else ""


def _say(text: str) -> None:
    print(f"relume: {text}", file=sys.stderr)

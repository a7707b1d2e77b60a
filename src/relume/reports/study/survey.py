"""The survey of one run, and the cost of a comparison: read before anything is compared."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relume.artifacts.matrix import Matrix
from relume.artifacts.survey import Survey
from relume.artifacts.trial import Design
from relume.reports.study.wording import short

_MOST = 12  # of one kind of line


def render(survey: Survey, only: str, design: Design | None) -> RenderableType:
    """The probe.

    Args:
        survey: of one run.
        only: to what the replacement keeps; "" for all.
        design: what would be compared; None if that cannot be said yet.
    """
    parts: list[RenderableType] = [
        Text(f"One run took {_time(survey.trial.seconds)}, including the work of the survey.", style="bold"),
        Text(),
        *_sites(survey, only),
        *_metrics(survey, design),
        *_control(survey),
        *_files(survey),
    ]
    return Group(*parts)


def _sites(survey: Survey, only: str) -> list[RenderableType]:
    swapped = survey.plan.chosen(only)
    table = _table(f"{_count(len(swapped), 'site')} would be replaced", "activation", "units")
    for site in swapped[:_MOST]:
        table.add_row(short(site.key), site.call, str(site.units))
    parts: list[RenderableType] = [table, *_more(len(swapped))]
    left = [(s.key, s.why or "excluded by --only") for s in survey.plan.sites if s not in swapped]
    left += [(f"{each.what} at {each.where}", each.why) for each in survey.plan.not_swapped]
    if left:
        parts += [Text(), Text("Not replaced:")]
        parts += [Text(short(f"  {what}: {why}", 200), style="dim") for what, why in left[:_MOST]]
        parts += _more(len(left))
    return [*parts, Text()]


def _metrics(survey: Survey, design: Design | None) -> list[RenderableType]:
    every = [(source, name, curve) for source, curves in survey.sources.items() for name, curve in curves.items()]
    if not every:
        return [Text("No metric was found."), Text()]
    asked = () if design is None else (design.metric, design.tune_metric)
    curves = [row for row in every if len(row[2]) > 1 or row[1] in asked]
    rows = curves or every  # a number printed once is a metric if there is no other
    table = _table("metric", "found in", "values", "first", "last", "")
    for source, name, curve in rows[:_MOST]:
        is_it = design is not None and name == design.metric
        chosen = f"compared: {design.mode} at {design.at}" if design is not None and is_it else ""
        if design is not None and name == design.tune_metric:
            chosen = "used to choose learning rates"
        table.add_row(short(name), source, str(len(curve)), f"{curve[0][1]:.5g}", f"{curve[-1][1]:.5g}", chosen)
    once = len(every) - len(rows)
    others = [Text(f"  … and {_count(once, 'number')} printed once", style="dim")]
    return [table, *_more(len(rows)), *(others if once else []), Text()]


def _control(survey: Survey) -> list[RenderableType]:
    """How seeds and rates are controlled."""
    plan = survey.plan
    calls = _listed(plan.seeds)
    nothing = "the script sets none; relume seeds torch, numpy and random at its start"
    seeds = f"different in each trial: {calls}" if plan.seeds else nothing
    rates = ", ".join(f"{each.optimizer} at {'/'.join(f'{rate:g}' for rate in each.rates)}" for each in plan.optimizers)
    schedule = f", under {_listed(plan.schedulers)}" if plan.schedulers else ""
    lines = [
        f"Seeds: {seeds}.",
        f"Learning rates: {rates or 'no optimizer took a step'}{schedule}; multiplied in step().",
    ]
    if plan.compiled:
        lines.append("torch.compile: trials compile the contender; the survey did not compile.")
    return [*(Text(line) for line in lines), Text()]


def _files(survey: Survey) -> list[RenderableType]:
    lines = []
    if survey.written:
        lines.append(f"It writes {_listed(survey.written)}; each trial has its own copy.")
    if survey.resumed:
        lines.append(f"It reads or moves files from earlier runs ({_listed(survey.resumed)}); trials do not see them.")
    if survey.outside:
        lines.append(
            f"It writes outside its folder: {_listed(survey.outside)}. All trials share them; move them if you can."
        )
    lines += survey.remarks
    told = [Text(line, style="yellow" if "outside" in line or line in survey.remarks else "") for line in lines]
    return [*told, *([Text()] if lines else [])]


def render_matrix(matrix: Matrix) -> RenderableType:
    """The matrix with its estimated time."""
    table = _table("stage", "trials", "at most", "about")
    if matrix.tuning:
        grid = ", ".join(f"{factor:g}" for factor in matrix.factors)
        seeds = _count(matrix.tuning_seeds, "seed")
        stage = f"choose rates: {len(matrix.names)} × {len(matrix.factors)} factors ({grid}) × {seeds}"
        most = _time(matrix.hours(matrix.tuning) * 3600)
        table.add_row(stage, str(matrix.tuning), str(matrix.most_tuning), most)
    for number, (count, trials) in enumerate(matrix.looks):
        stage = f"confirm: {len(matrix.names)} × {_count(matrix.rates, 'rate')} × {count} seeds"
        only = "" if number == 0 else "  (--until-decided, or later)"
        table.add_row(f"{stage}{only}", "", str(trials), _time(matrix.hours(trials) * 3600))
    ahead = f"{_count(matrix.done, 'trial')} are done already." if matrix.done else "Nothing has been run yet."
    at = f"One run takes {_time(matrix.seconds)}; {matrix.jobs} at a time. {ahead}"
    return Group(Text(f"{', '.join(matrix.names)}", style="bold"), Text(), table, Text(), Text(at, style="dim"))


# ---- words ---------------------------------------------------------------------------------------------------------


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        numbers = heading in ("units", "values", "first", "last", "trials", "at most", "about")
        table.add_column(heading, overflow="fold" if place == 0 else "ellipsis", justify="right" if numbers else "left")
    return table


def _listed(names: Iterable[str]) -> str:
    known = [short(name) for name in names]
    more = f" and {len(known) - _MOST} more" if len(known) > _MOST else ""
    return ", ".join(known[:_MOST]) + more


def _more(count: int) -> list[RenderableType]:
    return [Text(f"  … and {count - _MOST} more", style="dim")] if count > _MOST else []


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

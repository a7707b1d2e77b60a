"""What every report of a study says in the same words: the sentence, the columns, the notes."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from relume.activations import ACTIVATIONS
from relume.artifacts.numbers import percent
from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.trial import BASELINE, Verdict
from relume.reports.study.numbers import LONGEST as LONGEST
from relume.reports.study.numbers import NONE as NONE
from relume.reports.study.numbers import interval as interval
from relume.reports.study.numbers import number as number
from relume.reports.study.numbers import p_says as p_says
from relume.reports.study.numbers import p_value as p_value
from relume.reports.study.numbers import short as short
from relume.reports.study.numbers import signed as signed

WAITING, DROPPED = "waiting", "dropped"
"""In place of the verdict of a contender whose runs have not all ended, or that lost by far on the first seeds."""
MOST_NOTES = 12
"""Notes, and places that were not replaced, that are printed in full; the rest are counted."""

_LONGEST_NOTE = 400
_ORDER = ("better", "equivalent", "undecided", "worse")


def spread(findings: StudyFindings) -> float:
    """The spread that sets the digits of all differences of a study: the shortest half of an interval."""
    return _least((verdict.ci[1] - verdict.ci[0]) / 2 for verdict in findings.verdicts)


def _least(spreads: Iterable[float]) -> float:
    return min((each for each in spreads if math.isfinite(each) and each > 0), default=math.nan)


def baseline(findings: StudyFindings) -> str:
    """The activation that contenders replace, such as ``the script's ReLU``; for a function, the one it names."""
    if findings.own_baseline:
        return short(findings.own_baseline)
    names = [_title(name) for name in findings.replaces]
    return f"the script's {' and '.join(names)}" if 0 < len(names) < 4 else "the unchanged script"


def _title(name: str) -> str:
    return ACTIVATIONS[name].title if name in ACTIVATIONS else short(name)


# ---- the sentence --------------------------------------------------------------------------------------------------


def sentence(findings: StudyFindings) -> str:
    """The study in plain words: which is better, by how much and how certain; then what is undecided."""
    if not findings.verdicts:
        return "Nothing was compared."
    if not findings.confirmed:
        return why_no_verdict(findings)
    decided = [verdict for call in ("better", "worse") for verdict in _of(findings, call)]
    parts = [_decided(findings, verdict, first=not place) for place, verdict in enumerate(decided)]
    equal = _of(findings, "equivalent")
    undecided = _of(findings, "undecided")
    open_ones = [verdict for verdict in undecided if verdict.look and not verdict.dropped]
    dropped = [verdict for verdict in undecided if verdict.dropped]
    waiting = [verdict for verdict in undecided if not verdict.look and not verdict.dropped]
    metric = short(findings.design.metric)
    if not parts:
        on = f"in {metric} on {findings.seeds} seeds"
        parts.append(f"No contender is shown to be better or worse than {baseline(findings)} {on}")
    if equal:
        parts.append(f"{_are(equal)} equivalent to it within ±{findings.design.delta:g}")
    said = f"{'; '.join(parts)}."
    if open_ones:
        said += f" {_are(open_ones)} undecided{_needed(findings, open_ones)}."
    if dropped:
        names = listed([short(verdict.activation) for verdict in dropped])
        said += f" {names} lost by far on the first seeds and {'was' if len(dropped) == 1 else 'were'} dropped."
    return f"{said} {_are(waiting)} not judged yet." if waiting else said


def why_no_verdict(findings: StudyFindings) -> str:
    """What the verdicts wait for."""
    notes = {note for verdict in findings.verdicts for note in verdict.notes[:1]}
    if len(notes) == 1:
        return notes.pop()
    return f"No verdict until all runs of {findings.design.seeds} seeds have ended."


def _of(findings: StudyFindings, call: str) -> list[Verdict]:
    """The verdicts of one kind, the best first; what has no difference at the end."""
    way = 1 if findings.design.mode == "min" else -1
    found = [verdict for verdict in findings.verdicts if verdict.verdict == call]
    return sorted(found, key=lambda v: way * v.difference if math.isfinite(v.difference) else math.inf)


def _decided(findings: StudyFindings, verdict: Verdict, *, first: bool) -> str:
    """``elu is better than the script's ReLU by 2.46 in accuracy (95 % interval …)``; then without what was said."""
    than, of = (f" than {baseline(findings)}", f" in {short(findings.design.metric)}") if first else ("", "")
    said = f"{short(verdict.activation)} is {verdict.verdict}{than}"
    p = f"Holm {p_says(verdict.p_holm)}"
    if not math.isfinite(verdict.difference):
        failed = (
            f"{verdict.failed} of its {verdict.runs} runs"
            if verdict.verdict == "worse"
            else f"{verdict.baseline_failed} of the baseline's runs"
        )
        return f"{said}: {failed} failed or collapsed ({p})"
    digits = spread(findings)
    low, high = verdict.ci if verdict.ci[0] < 0 < verdict.ci[1] else sorted(abs(bound) for bound in verdict.ci)
    how = f"95 % interval {interval((low, high), digits)}, {verdict.n} seeds, {p}"
    return f"{said} by {number(abs(verdict.difference), digits)}{of} ({how})"


def _are(verdicts: Sequence[Verdict]) -> str:
    names = [short(verdict.activation) for verdict in verdicts]
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'}"


def _needed(findings: StudyFindings, undecided: Sequence[Verdict]) -> str:
    needed = [verdict.seeds_needed for verdict in undecided if verdict.seeds_needed]
    if not needed or findings.design.delta is None:
        return ""
    low, high = (max(each) for each in zip(*needed, strict=True))
    return f"; {low} to {high} seeds would find a difference of {findings.design.delta:g} with 80 % power"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


# ---- the tables ----------------------------------------------------------------------------------------------------

Column = tuple[str, list[str]]
"""A heading, and a cell for each row of :func:`names`."""
AS_IT_STANDS = "script as it stands"


def has_own_row(findings: StudyFindings) -> bool:
    """Whether the unchanged script has its own row: the baseline's best rate is not the script's."""
    return findings.as_it_stands.runs > 0 and findings.baseline_factor != 1.0


def calls(findings: StudyFindings) -> list[str]:
    """The verdict of each row, "" for rows of the script."""
    return [*[""] * (1 + has_own_row(findings)), *(verdict.verdict for verdict in rows(findings))]


def rows(findings: StudyFindings) -> list[Verdict]:
    """The verdicts in the order in which tables have them: best first."""
    return [verdict for call in _ORDER for verdict in _of(findings, call)]


def names(findings: StudyFindings) -> list[str]:
    """The first column: the script as it stands if it is not the baseline, the baseline, the contenders."""
    one = [_title(name) for name in findings.replaces] or [findings.own_baseline]
    first = f"{BASELINE} ({short(one[0])})" if len(one) == 1 and one[0] else BASELINE
    own = [AS_IT_STANDS] * has_own_row(findings)
    return [*own, first, *(short(verdict.activation) for verdict in rows(findings))]


def quality(findings: StudyFindings) -> list[Column]:
    """The quality of each contender: the metric, the difference, how certain it is."""
    told = rows(findings)
    if not told:
        return []
    first = max(told, key=lambda verdict: verdict.n)
    own = [findings.as_it_stands] * has_own_row(findings)
    failures = [
        *((script.failed, script.runs) for script in own),
        (first.baseline_failed, first.runs),
        *((each.failed, each.runs) for each in told),
    ]
    failed = [f"{count}/{runs}" if count else NONE for count, runs in failures]
    trained = [(first.baseline_mean, first.baseline_sd), *((each.mean, each.sd) for each in told)]
    digits = _least(deviation for _, deviation in trained)
    spreads = [*((script.mean, script.sd) for script in own), *trained]
    blank = [""] * (1 + len(own))
    factors = [*[(1.0, False)] * len(own), (first.baseline_lr_factor, False), *((v.lr_factor, v.at_edge) for v in told)]
    columns: list[Column] = [
        ("verdict", [*blank, *(_call(verdict) for verdict in told)]),
        (
            f"{short(findings.design.metric, 24)} ± sd",
            [_mean(mean, each, digits) for mean, each in spreads],
        ),
        ("difference [95 %]", [*blank, *(_difference(verdict, spread(findings)) for verdict in told)]),
        ("p (Holm)", [*blank, *(p_value(verdict.p_holm) for verdict in told)]),
        ("n", [*blank, *(str(verdict.n) for verdict in told)]),
        ("failed", failed),
        ("lr", [f"{times(factor)}{'!' * at_edge}" for factor, at_edge in factors]),
    ]
    return [column for column in columns if column[0] != "failed" or set(failed) != {NONE}]


def equal_time(findings: StudyFindings) -> list[Column]:
    """The differences after the same seconds, if they were asked for."""
    known = [(verdict, verdict.equal_time) for verdict in rows(findings)]
    seconds = next((time.seconds for _, time in known if time), None)
    if seconds is None:
        return []
    digits = spread(findings)
    cells = [
        _with_interval(time.difference, (time.low, time.high), digits) if time and time.n else NONE for _, time in known
    ]
    blank = [""] * (1 + has_own_row(findings))
    pairs = [str(time.n) if time else NONE for _, time in known]
    return [(f"difference after {seconds:.3g} s [95 %]", [*blank, *cells]), ("n", [*blank, *pairs])]


def _call(verdict: Verdict) -> str:
    return DROPPED if verdict.dropped else verdict.verdict if verdict.look else WAITING


def progress(findings: StudyFindings) -> list[Column]:
    """The ended and the waiting runs of the baseline and each contender; nothing if none waits."""
    if not findings.left:
        return []
    ended = Counter(trial.key.activation for trial in findings.trials)
    lost = Counter(trial.key.activation for trial in findings.trials if trial.status != "finished")
    who = [BASELINE, *(verdict.activation for verdict in rows(findings))]
    blank = [""] * has_own_row(findings)  # its runs are the baseline's
    return [
        ("runs ended", [*blank, *(str(ended[name]) for name in who)]),
        ("failed", [*blank, *(str(lost[name] or NONE) for name in who)]),
        (WAITING, [*blank, *(str(findings.left.get(name, NONE)) for name in who)]),
    ]


def _mean(mean: float, deviation: float, digits: float) -> str:
    return f"{number(mean, digits)} ± {number(deviation, digits)}" if math.isfinite(mean) else NONE


def _difference(verdict: Verdict, digits: float) -> str:
    return _with_interval(verdict.difference, verdict.ci, digits)


def _with_interval(difference: float, bounds: tuple[float, float], digits: float) -> str:
    if not math.isfinite(difference):
        return NONE
    low, high = (signed(bound, digits) for bound in bounds)
    return f"{signed(difference, digits)} [{low}, {high}]"


def times(factor: float) -> str:
    """A learning-rate factor: ``×1/4``, ``×4``.

    Example:
        >>> times(0.25), times(0.5**0.5), times(4.0)
        ('×1/4', '×0.7071', '×4')
    """
    if not math.isfinite(factor):
        return NONE
    under = round(1 / factor)
    return f"×1/{under}" if under > 1 and math.isclose(factor * under, 1) else f"×{factor:.4g}"


def learning_rate(findings: StudyFindings, factor: float) -> str:
    """A factor with the rate that it makes of the script's own: ``×1/4 (0.0156)``."""
    known = math.isfinite(findings.rate * factor)
    return f"{times(factor)} ({findings.rate * factor:.3g})" if known else times(factor)


def tables(findings: StudyFindings) -> list[tuple[str, list[Column]]]:
    """The tables of a report with their titles: of the verdicts, or of the progress before any verdict."""
    told = [("progress", progress(findings))]
    if findings.confirmed:
        times = ("at equal time", equal_time(findings))
        told = [("quality", quality(findings)), times, ("cost", cost(findings)), *told]
    return [(title, columns) for title, columns in told if columns]


def cost(findings: StudyFindings) -> list[Column]:
    """The cost of each contender: medians of a run; the baseline's in units, the contenders' relative to them."""
    told = rows(findings)
    if not told:
        return []
    base = told[0].cost.get("baseline", {})
    ours = [verdict.cost.get("activation", {}) for verdict in told]
    changed = {c.name: c.parameters["factor"] for c in findings.design.contenders if c.treatment == "lr"}
    rates = [findings.rate * v.lr_factor * changed.get(v.activation, 1.0) for v in told]
    columns: list[Column] = [
        ("rate", [_rate(findings.rate * told[0].baseline_lr_factor), *map(_rate, rates)]),
        ("time", [_seconds(base.get("seconds")), *(_ratio(each, base, "seconds") for each in ours)]),
        ("CPU", [_seconds(base.get("cpu_seconds")), *(_ratio(each, base, "cpu_seconds") for each in ours)]),
        ("memory", [_bytes(base.get("peak_memory")), *(_ratio(each, base, "peak_memory") for each in ours)]),
        ("learns", [NONE, *(_added(each.get("parameters_added")) for each in ours)]),
        ("dead", [_share(base.get("dead_share")), *(_share(each.get("dead_share")) for each in ours)]),
    ]
    if has_own_row(findings):
        first = {"dead": _share(findings.as_it_stands.dead_share), "rate": _rate(findings.rate)}
        columns = [(heading, [first.get(heading, NONE), *cells]) for heading, cells in columns]
    return [column for column in columns if set(column[1]) != {NONE}]


def _rate(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else NONE


def _seconds(value: float | None) -> str:
    return NONE if not value else f"{value:.3g} s" if value < 1000 else f"{value / 60:,.0f} min"


def _bytes(value: float | None) -> str:
    return NONE if not value else f"{value / 1e6:,.0f} MB" if value < 1e10 else f"{value / 1e9:,.1f} GB"


def _ratio(each: dict[str, float | None], base: dict[str, float | None], what: str) -> str:
    mine, theirs = each.get(what), base.get(what)
    return f"×{mine / theirs:.2f}" if mine and theirs else NONE


def _added(value: float | None) -> str:
    return f"+{int(value):,}" if value else NONE


def _share(value: float | None) -> str:
    return NONE if value is None else percent(value)


# ---- the notes -----------------------------------------------------------------------------------------------------


def notes(findings: StudyFindings) -> list[str]:
    """Notes on the study, then on the verdicts; each appears once, with the names of its contenders."""
    told = list(findings.notes)
    by_note: dict[str, list[str]] = {}
    for verdict in rows(findings):
        for note in verdict.notes:
            by_note.setdefault(note, []).append(short(verdict.activation))
    if not findings.confirmed:
        by_note.pop(why_no_verdict(findings), None)  # said in the first line
    for note, of in by_note.items():
        named = len(of) == len(findings.verdicts) or any(name in note for name in of)
        told.append(note if named else f"{listed(of)}: {note}")
    if any(verdict.equal_time for verdict in findings.verdicts):
        told.append(
            "Equal time compares the runs after the same seconds, at the best rates of both; each run's pace is taken"
            " for constant. No error is corrected for it, and no verdict rests on it."
        )
    own = findings.as_it_stands
    if own.failed and has_own_row(findings):
        dead = f", {own.dead_layers} with a dead layer" if own.dead_layers else ""
        told.append(f"{own.failed} of {own.runs} runs of the script as it stands (×1) failed or collapsed{dead}.")
    if any(verdict.at_edge for verdict in findings.verdicts):
        told.append("A learning rate with ! is at the end of the grid that was tried.")
    return [short(note, _LONGEST_NOTE) for note in told]


def left_alone(findings: StudyFindings) -> list[tuple[str, str, str]]:
    """(what, where, why) of what was not replaced."""
    return [(short(what), short(where, 120), short(why, _LONGEST_NOTE)) for what, where, why in findings.not_swapped]


def command(findings: StudyFindings) -> str:
    """The script with its arguments, as it was given."""
    return short(shlex.join([findings.subject.script, *findings.subject.argv]), 200)


def looks(findings: StudyFindings) -> str:
    """The verdicts so far, and the next planned one."""
    spent = len(findings.looks)
    if not spent:
        return ""
    at = listed([str(look.seeds) for look in findings.looks])
    said = f"Verdict{'s' * (spent > 1)} at {at} seeds."
    if findings.next_seeds:
        said += f" Next planned verdict: {findings.next_seeds} seeds."
    if findings.together > 1:
        said += f" Corrected together over {findings.together} studies."
    return said


def rests_on(findings: StudyFindings) -> str:
    """How many places, rates and runs the verdicts rest on, in a sentence."""
    parts = []
    if findings.sites is not None:
        parts.append(f"{findings.sites} activation{'s' * (findings.sites != 1)} replaced")
    asked = findings.design
    if findings.tuned:
        seeds = len(asked.tuning_seeds)
        parts.append(f"learning rates tuned over {len(findings.tuned)} values × {seeds} seed{'s' * (seeds > 1)}")
    elif asked.factors == (1.0,):
        parts.append("at the script's own learning rate")
    finished = sum(trial.status == "finished" for trial in findings.trials)
    total = len(findings.trials)
    parts.append(f"{total:,} runs" + (f", {total - finished:,} failed" if finished < total else ""))
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."

"""What every report of a study says in the same words: the sentence, the columns, the notes."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence

from relume.activations import ACTIVATIONS
from relume.artifacts.study_findings import StudyFindings
from relume.artifacts.trial import BASELINE, Verdict

NONE = "·"
WAITING = "waiting"
"""Instead of the verdict of a contender whose runs have not all ended."""
MOST_NOTES = 12
"""Notes, and places that were not replaced, that are printed in full; the rest are counted."""

LONGEST = 60
"""Letters of a name of the user's that are shown."""

_LONGEST_NOTE = 400
_ORDER = ("better", "equivalent", "undecided", "worse")


def short(name: str, most: int = LONGEST) -> str:
    """A name on one line, cut if it is long, without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def number(value: float, spread: float = math.nan) -> str:
    """A number with the digits that its spread allows: two of the spread's own; four of its own without one.

    Example:
        >>> number(67.1234, 1.21), number(0.93456, 0.0021), number(1234.5), number(float("nan"))
        ('67.1', '0.9346', '1234', '·')
    """
    if not math.isfinite(value):
        return NONE
    if not (math.isfinite(spread) and spread > 0):
        return f"{value:.4g}".replace("-", "−")
    digits = min(max(0, 1 - math.floor(math.log10(spread))), 12)
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, spread: float = math.nan) -> str:
    """A difference: always with its sign."""
    text = number(value, spread)
    return f"+{text}" if math.isfinite(value) and value > 0 else text


def p_value(p: float) -> str:
    """``0.029``, ``< 0.001``."""
    if not math.isfinite(p):
        return NONE
    if p < 0.001:
        return "< 0.001"
    return (f"{p:.3f}" if p < 0.1 else f"{p:.2f}").replace("1.00", "1")


def p_says(p: float) -> str:
    """``p = 0.029``, ``p < 0.001``."""
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def interval(bounds: tuple[float, float], spread: float) -> str:
    """``0.96 to 3.96``."""
    return f"{number(bounds[0], spread)} to {number(bounds[1], spread)}"


def spread(findings: StudyFindings) -> float:
    """By whose digits all differences of a study are shown: the shortest half of an interval."""
    return _least((verdict.ci[1] - verdict.ci[0]) / 2 for verdict in findings.verdicts)


def _least(spreads: Iterable[float]) -> float:
    return min((each for each in spreads if math.isfinite(each) and each > 0), default=math.nan)


def baseline(findings: StudyFindings) -> str:
    """What the contenders replace: ``the script's ReLU``; of a function, the activation that they are compared with."""
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
    open_ones = [verdict for verdict in _of(findings, "undecided") if verdict.look]
    waiting = [verdict for verdict in _of(findings, "undecided") if not verdict.look]
    metric = short(findings.design.metric)
    if not parts:
        on = f"in {metric} on {findings.seeds} seeds"
        parts.append(f"No contender is shown to be better or worse than {baseline(findings)} {on}")
    if equal:
        parts.append(f"{_are(equal)} equivalent to it within ±{findings.design.delta:g}")
    said = f"{'; '.join(parts)}."
    if open_ones:
        said += f" {_are(open_ones)} undecided{_needed(findings, open_ones)}."
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
        return f"{said}: {verdict.failed} of its {verdict.runs} runs failed ({p})"
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
"""A heading, and a cell for each row: the baseline, then the contenders in the order of :func:`rows`."""


def rows(findings: StudyFindings) -> list[Verdict]:
    """The verdicts in the order in which tables have them: best first."""
    return [verdict for call in _ORDER for verdict in _of(findings, call)]


def names(findings: StudyFindings) -> list[str]:
    """The first column: the baseline, then the contenders."""
    one = [_title(name) for name in findings.replaces] or [findings.own_baseline]
    first = f"{BASELINE} ({short(one[0])})" if len(one) == 1 and one[0] else BASELINE
    return [first, *(short(verdict.activation) for verdict in rows(findings))]


def quality(findings: StudyFindings) -> list[Column]:
    """What each contender buys: the metric, the difference, how sure it is."""
    told = rows(findings)
    if not told:
        return []
    first = max(told, key=lambda verdict: verdict.n)
    failed = [
        f"{first.baseline_failed}/{first.runs}" if first.baseline_failed else NONE,
        *(f"{each.failed}/{each.runs}" if each.failed else NONE for each in told),
    ]
    spreads = [(first.baseline_mean, first.baseline_sd), *((each.mean, each.sd) for each in told)]
    digits = _least(deviation for _, deviation in spreads)
    columns: list[Column] = [
        ("verdict", ["", *(verdict.verdict if verdict.look else WAITING for verdict in told)]),
        (
            f"{short(findings.design.metric, 24)} ± sd",
            [_mean(mean, each, digits) for mean, each in spreads],
        ),
        ("difference [95 %]", ["", *(_difference(verdict, spread(findings)) for verdict in told)]),
        ("p (Holm)", ["", *(p_value(verdict.p_holm) for verdict in told)]),
        ("n", ["", *(str(verdict.n) for verdict in told)]),
        ("failed", failed),
        ("lr", [_rate(first.baseline_lr_factor, False), *(_rate(each.lr_factor, each.at_edge) for each in told)]),
    ]
    return [column for column in columns if column[0] != "failed" or set(failed) != {NONE}]


def _mean(mean: float, deviation: float, digits: float) -> str:
    return f"{number(mean, digits)} ± {number(deviation, digits)}" if math.isfinite(mean) else NONE


def _difference(verdict: Verdict, digits: float) -> str:
    if not math.isfinite(verdict.difference):
        return NONE
    low, high = (signed(bound, digits) for bound in verdict.ci)
    return f"{signed(verdict.difference, digits)} [{low}, {high}]"


def _rate(factor: float, at_edge: bool) -> str:
    return f"×{factor:g}{'!' if at_edge else ''}" if math.isfinite(factor) else NONE


def cost(findings: StudyFindings) -> list[Column]:
    """The cost of each contender: medians of a run; the baseline's in units, the contenders' relative to them."""
    told = rows(findings)
    if not told:
        return []
    base = told[0].cost.get("baseline", {})
    ours = [verdict.cost.get("activation", {}) for verdict in told]
    columns: list[Column] = [
        ("time", [_seconds(base.get("seconds")), *(_ratio(each, base, "seconds") for each in ours)]),
        ("CPU", [_seconds(base.get("cpu_seconds")), *(_ratio(each, base, "cpu_seconds") for each in ours)]),
        ("memory", [_bytes(base.get("peak_memory")), *(_ratio(each, base, "peak_memory") for each in ours)]),
        ("learns", [NONE, *(_added(each.get("parameters_added")) for each in ours)]),
        ("dead", [_share(base.get("dead_share")), *(_share(each.get("dead_share")) for each in ours)]),
    ]
    return [column for column in columns if set(column[1]) != {NONE}]


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
    return NONE if value is None else f"{value:.1%}"


# ---- the notes -----------------------------------------------------------------------------------------------------


def notes(findings: StudyFindings) -> list[str]:
    """What a reader must know: of the study, then of the verdicts, each said once with the names it holds for."""
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
    """In a sentence, how many places, rates and runs the verdicts rest on."""
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

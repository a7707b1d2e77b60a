"""Numbers in what a script prints: by a regular expression, or found beside their names.

Each line counts in its final state, as a progress bar overwrites itself.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator

from relume.lab.capture.metrics import Points, compiled, first_known, may_be_metric, mode_of
from relume.lab.capture.tables import Tables

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[^\r]\x08")
_LONGEST = 4000  # letters of a line that are looked at

_NUMBER = r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|0,\d+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)"
_BESIDE = re.compile(
    r"""(?:["']?\s{0,8}(?P<sign>:=|=>|->|→|[:=|│])\s{0,40}["']?(?:[A-Za-z_][\w.]*\()?|(?<=[^\s:=])\s{1,8})"""
    rf"(?P<number>{_NUMBER})(?:\s?/\s?(?P<total>\d[\d,]*))?(?!\w|[.:]\d|,\d|-\w)\s?(?P<percent>%)?",
    re.IGNORECASE,
)
_NAME = re.compile(r"([A-Za-z_][\w@./-]*(?:[ ]+\(?[A-Za-z_@][\w@./-]*\)?){0,5})[\"'\s]*$")
_STEP = re.compile(
    r"\b(global_?step|steps?|iter(?:ation)?s?|updates?|episodes?|rounds?|epochs?)\b[\"']?\s*[:=#]?\s*[\[(]?\s*(\d[\d,]*)",
    re.IGNORECASE,
)
_PART = "(train|training|test|testing|valid|validation|val|eval|evaluation|dev)"
_PART_IN_NAME = re.compile(rf"(?<![a-z]){_PART}(?![a-z])")
_PART_IN_LINE = re.compile(rf"(?<![\w/.]){_PART}(?![\w/.])", re.IGNORECASE)
_SAME = {"training": "train", "testing": "test", "valid": "val", "validation": "val", "evaluation": "eval"}
_FILLERS = frozenset("the a an of on for and with is are was at in by info debug warning set".split())
_MOST_WORDS = 4


def matched(text: str, regex: str) -> dict[str, Points]:
    """What a regular expression's groups match: a named group gives its name, a single unnamed one the words before it.

    Raises: StudyError: it is not a regular expression.
    """
    pattern = compiled(regex)
    found: dict[str, list[tuple[float | None, float]]] = {}
    counters: dict[str, str] = {}
    for line in lines(text) if regex and pattern.groups else ():
        for match in pattern.finditer(line):
            for name, group in _groups(pattern):
                value = to_number(match[group])
                if value is not None:
                    found.setdefault(name, []).append((_step(line)[1], value))
                    counters[name] = _step(line)[0]
    return {name: _stepped(points, counters[name]) for name, points in found.items()}


def _groups(pattern: re.Pattern[str]) -> list[tuple[str, int]]:
    """(name, number) of the groups that are metrics: those with names, or the first."""
    if pattern.groupindex:
        return list(pattern.groupindex.items())
    before = re.sub(r"\\[a-zA-Z]|[^\w@/. ]", " ", re.split(r"(?<!\\)\((?!\?)", pattern.pattern)[0])
    return [(_normal(before.strip(" ./@")) or "metric", 1)]


def detected(text: str) -> dict[str, Points]:
    """Numbers beside their names: ``name: number``, ``name=number``, ``name number%``, dicts, JSON, tables.

    A name is in lower case, with the part of the data that its line names: ``test_accuracy``. Counters and settings,
    such as epochs and learning rates, are left out; an epoch or a step in a line is the step of its numbers. Lines that
    count differently give different names: ``epoch_accuracy`` of each epoch, ``accuracy`` at the end. So do different
    headings: ``test_loss`` below ``Test:``.
    """
    found: dict[tuple[str, str, str], list[tuple[float | None, float]]] = {}
    table, part = Tables(), ""
    for line in _without_tracebacks(lines(text)):
        row = table.read(line)
        part = _headed(line, part)
        counter, step = _step(line if row is None else " ".join(f"{heading} {cell}" for heading, cell in row))
        for name, value in _in_line(line) if row is None else _in_row(row):
            found.setdefault((name, counter, part), []).append((step, value))
    names = Counter(name for name, _, _ in found)
    told: dict[str, list[tuple[float | None, float]]] = {}
    counters: dict[str, str] = {}
    for (name, counter, part), points in found.items():
        before = (part or counter) if names[name] > 1 else ""
        own = f"{before}_{name}" if before else name
        told.setdefault(own, []).extend(points)
        counters[own] = counter
    return {name: _stepped(points, counters[name]) for name, points in told.items()}


def _headed(line: str, part: str) -> str:
    """The part of the data that a heading above names, such as ``Validation:``; an empty line ends what it heads."""
    if not line.strip():
        return ""
    if line.rstrip(" -=#*").endswith(":") and not any(letter.isdigit() for letter in line):
        return next((_SAME.get(word.lower(), word.lower()) for word in _PART_IN_LINE.findall(line)), "")
    return part


def lines(text: str) -> Iterator[str]:
    """The lines as a terminal finally shows them."""
    for raw in text.split("\n"):
        states = [state for state in raw.split("\r") if state.strip()] if "\r" in raw else [raw]
        if states:
            yield _ESCAPES.sub("", states[-1])[:_LONGEST]


def to_number(text: str | None) -> float | None:
    """The number in a text: thousands with commas, percentages not divided; None if it is not a number.

    Example:
        >>> to_number("1,234.5"), to_number("93.1 %"), to_number("0,25"), to_number("-inf"), to_number("high")
        (1234.5, 93.1, 0.25, -inf, None)
    """
    plain = (text or "").strip().rstrip("%").strip()
    plain = plain.replace(",", ".") if re.fullmatch(r"[-+]?0,\d+", plain) else plain.replace(",", "")
    try:
        return float(plain)
    except ValueError:
        return None


def _without_tracebacks(lines: Iterator[str]) -> Iterator[str]:
    """The lines without warnings and tracebacks, whose numbers are line numbers."""
    in_traceback = skip = False
    for line in lines:
        if _TRACEBACK.match(line):
            in_traceback = True
        elif in_traceback and not line.startswith(" "):  # the error itself ends it
            in_traceback = bool(not line or _CHAINED.match(line))
        elif _WARNING.match(line):
            skip = True  # the source line follows
        elif not in_traceback and not (skip and line.startswith("  ")):
            skip = False
            yield line


_TRACEBACK = re.compile(r"\s*Traceback \(most recent call last\)")
_CHAINED = re.compile(r"(During handling of the above|The above exception)")
_WARNING = re.compile(r"\S.*:\d+: \w*Warning\b")


def _in_row(row: list[tuple[str, str]]) -> Iterator[tuple[str, float]]:
    for heading, cell in row:
        name, value = _normal(heading), to_number(cell)
        if name and value is not None and may_be_metric(name):
            yield name, value


def _in_line(line: str) -> Iterator[tuple[str, float]]:
    end = 0  # of what belongs to the name before
    for match in _BESIDE.finditer(line):
        value = to_number(match["number"])
        name = _name(line, end, match.start(), plain=not (match["sign"] or match["percent"]))
        if name and value is not None:
            end = match.end()
            if may_be_metric(name):
                total = to_number(match["total"])
                whole = total and re.fullmatch(r"[\d,]+", match["number"])
                yield name, value / total if total and whole else value


def _name(line: str, begin: int, end: int, *, plain: bool) -> str:
    """The name that ends before a number; without a sign between them it must be a known metric."""
    before = line[max(begin, end - 120) : end]
    match = _NAME.search(before)
    if match is None:
        return ""
    name = _normal(match[1])
    if plain and not mode_of(name.rpartition("_")[2]):
        return ""
    if not mode_of(name):  # "Accuracy of the network on the 10000 test images: 54 %"
        name = first_known(re.findall(r"[A-Za-z]\w*", before)).lower() or name
    of = [] if _PART_IN_NAME.search(name) else _PART_IN_LINE.findall(line[:end])
    return f"{_SAME.get(of[-1].lower(), of[-1].lower())}_{name}" if of and name else name


def _normal(name: str) -> str:
    """``Average loss`` → ``average_loss``: at most four words, without those that say nothing."""
    parts = [re.sub(r"[^\w@./]+", "", word) for word in name.lower().split()]
    kept = [part for part in parts if part and part not in _FILLERS][-_MOST_WORDS:]
    return "_".join(kept).strip("_.")


def _step(line: str) -> tuple[str, float | None]:
    """The step, or else the epoch, that a line names: the counter's name and its number; "" and None without one."""
    named = {match[1].lower().rstrip("s"): match[2] for match in _STEP.finditer(line)}
    best = next((name for name in named if name != "epoch"), next(iter(named), ""))
    return best, to_number(named.get(best))


class Printed(list[tuple[float, float]]):
    """A curve that was printed. ``counter``: what its steps count, as the lines name it; "" if they were counted."""

    counter = ""


def _stepped(points: list[tuple[float | None, float]], counter: str) -> Points:
    """The steps that the lines name if they always rise; otherwise counted."""
    steps = [step for step, _ in points if step is not None]
    if len(steps) == len(points) and all(a < b for a, b in itertools.pairwise(steps)):
        curve = Printed(zip(steps, (value for _, value in points), strict=True))
        curve.counter = counter
        return curve
    return Printed((float(place), value) for place, (_, value) in enumerate(points))

"""Which of a script's numbers is compared, which way is better, and whether it ended finite."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from relume.artifacts.trial import DEAD_SHARE, Design, Mode
from relume.errors import NothingToCompare, StudyError

Points = list[tuple[float, float]]
"""A curve: (step, value) in the order of logging."""

LOGGED, LOGGERS, REGEX, DETECTED, STDERR = "relume.log", "loggers", "--metric", "stdout", "stderr"
"""Where a metric was found; if several sources have metrics, the first in this order counts."""

LOWER = frozenset(
    "loss error err perplexity ppl wer cer fid mse rmse mae mape nll bce ce kl bpc bpb cost regret".split()
)
HIGHER = frozenset(
    "acc accuracy auc auroc f1 reward rewards return returns rew iou miou map bleu rouge psnr ssim r2 score precision "
    "recall dice top1 top5".split()
)
"""Words of a metric's name that say which way is better."""

_COUNTS = frozenset("epoch epochs step steps iter iters iteration iterations batch batches episode episodes".split())
_SETTINGS = frozenset("lr time times seconds sec runtime elapsed eta dur duration momentum decay seed".split())
_NO_METRIC = re.compile(r"learning_?rate|per_second|grad_?norm|samples|num_|_size$|memory|fps")

TRAINING_LOSS = "training_loss"
"""The scalar on which backward is called, used if the script logs and prints no metric."""

MOST_POINTS = 500
"""Points that a trial's file keeps of a curve that is not judged, evenly spaced, with the first and the last."""


@dataclass(frozen=True)
class Metric:
    """What is compared.

    Attributes:
        name: of the metric. ``regex``: how it is found on stdout; "" if it is found by its name.
        tuned_by: the metric that chooses learning rates, "" if it is the same.
    """

    name: str
    regex: str = ""
    tuned_by: str = ""


@dataclass(frozen=True)
class RunCurves:
    """The curves of one run, by source and name."""

    sources: Mapping[str, Mapping[str, Points]] = field(default_factory=dict)

    def curves(self, whole: Collection[str] = ()) -> dict[str, tuple[tuple[float, float], ...]]:
        """A curve a name, for a :class:`Trial`: what ``--metric`` matches, then in the order of the sources.

        Args:
            whole: names of the judged metrics: all of their points are kept.
        """
        found: dict[str, tuple[tuple[float, float], ...]] = {}
        for source in (REGEX, LOGGED, LOGGERS, DETECTED, STDERR):
            for name, curve in self.sources.get(source, {}).items():
                if name not in found:
                    found[name] = tuple(curve if name in whole else _thinned(curve))
        return found

    def counter(self, name: str) -> str:
        """What the steps of a curve count: "epoch", "step" …; "" if its values were counted."""
        for source in (REGEX, LOGGED, LOGGERS, DETECTED, STDERR):
            if name in self.sources.get(source, {}):
                return str(getattr(self.sources[source][name], "counter", "step"))
        return "step"

    def candidates(self) -> dict[str, Mapping[str, Points]]:
        """Source → what may be compared: no counters or settings; of printed numbers, only specific names."""
        told = {}
        for source, curves in self.sources.items():
            kept = curves if source in (LOGGED, REGEX) else {n: c for n, c in curves.items() if may_be_metric(n)}
            if source in (DETECTED, STDERR) and any(mode_of(name) for name in kept):
                kept = {name: curve for name, curve in kept.items() if mode_of(name)}
            if kept:
                told[source] = kept
        return told


def _thinned(curve: Points) -> Points:
    if len(curve) <= MOST_POINTS:
        return curve
    last = len(curve) - 1
    return [curve[round(place * last / (MOST_POINTS - 1))] for place in range(MOST_POINTS)]


def choose(found: RunCurves, asked: str = "", besides: str = "") -> Metric:
    """The one metric by which trials are compared.

    Args:
        found: of the first run, with what :class:`Capture` found for ``asked``.
        asked: of ``--metric``: a name, or a regular expression. With a group it finds a number on stdout, without one a
            name.
        besides: the metric used to tune rates, which is not compared.

    Raises:
        NothingToCompare: the script shows no number, or several and none was chosen; lists the candidates.
        StudyError: ``asked`` is not a regular expression.
    """
    if asked in (DEAD_SHARE, TRAINING_LOSS):
        return Metric(asked)
    if asked:
        return _asked(found, asked, besides)
    for source, curves in found.candidates().items():
        names = [name for name in curves if name != besides]
        if len(names) == 1:
            return Metric(names[0])
        if names:
            raise _several(names, source, found)
    raise NothingToCompare(
        "The script shows no number to compare its runs by: none was logged (relume.log, TensorBoard, "
        "Lightning, MLflow, W&B), and no line such as `accuracy: 0.93` was printed on stdout. Add "
        "`import relume; relume.log(step, test_accuracy=value)` to it (it does nothing in other runs), print such a "
        "line, or give --metric 'REGEX' with a group that matches the number.",
        slug="no-metric",
    )


def _asked(found: RunCurves, asked: str, besides: str) -> Metric:
    every = {name: source for source in (STDERR, LOGGED, LOGGERS, DETECTED) for name in found.sources.get(source, {})}
    if asked in every:
        return Metric(asked)
    if compiled(asked).groups:
        names = [name for name in found.sources.get(REGEX, {}) if name != besides]
        if len(names) == 1:
            return Metric(names[0], asked)
        if names:
            raise _several(names, REGEX, found)
        raise NothingToCompare(
            f"--metric {shlex.quote(asked)} matched no number on stdout. It must match a line, with the number in a "
            f"group.{_instead(found)}",
            slug="metric-not-found",
        )
    names = [name for name in every if re.fullmatch(asked, name) and name != besides]
    if len(names) == 1:
        return Metric(names[0])
    if names:
        raise _several(names, every[names[0]], found)
    raise NothingToCompare(
        f"The script logs and prints no metric {asked!r}.{_instead(found)} To pick any number on stdout, give a "
        "regular expression with a group.",
        slug="metric-not-found",
    )


def compiled(regex: str) -> re.Pattern[str]:
    """The regular expression of ``--metric``.

    Raises: StudyError: it is invalid.
    """
    try:
        return re.compile(regex)
    except re.error as error:
        raise StudyError(
            f"--metric {shlex.quote(regex)} is not a regular expression: {error}. A plain name works as it is; put a "
            "backslash before literal dots and parentheses.",
            slug="bad-metric-regex",
        ) from error


def _several(names: Sequence[str], source: str, found: RunCurves) -> NothingToCompare:
    """The error that lists the candidates, each with the option that picks it."""
    rows = [("metric", "values", "first", "last", "to compare by it")]
    for name in names[:_MOST_LISTED]:
        curve = found.sources[source][name] if name in found.sources.get(source, {}) else _anywhere(found, name)
        option = "keep one group of the expression" if source == REGEX else f"--metric {shlex.quote(_short(name))}"
        rows.append((_short(name), str(len(curve)), f"{curve[0][1]:.6g}", f"{curve[-1][1]:.6g}", option))
    more = f"\n  … and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}"
        for row in rows
    ]
    return NothingToCompare(
        f"The script has {len(names)} metrics ({source}); choose the one to compare before any result is seen:\n"
        + "\n".join(lines)
        + more
        + "\n",
        slug="several-metrics",
    )


_MOST_LISTED = 20
_LONGEST_NAME = 60


def _anywhere(found: RunCurves, name: str) -> Points:
    return next(curves[name] for curves in found.sources.values() if name in curves)


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def _instead(found: RunCurves) -> str:
    names = list(dict.fromkeys(name for curves in found.candidates().values() for name in curves))
    if not names:
        return " No other was found either."
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f" Found: {', '.join(_short(name) for name in names[:_MOST_LISTED])}{more}."


# ---- names ---------------------------------------------------------------------------------------------------------


def words(name: str) -> list[str]:
    """The words of a metric's name in lower case: ``valLoss_epoch`` → val, loss, epoch."""
    apart = re.sub(r"(?<=[a-z][a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^A-Za-z0-9]+", apart.lower()) if word]


def mode_of(name: str) -> Mode | None:
    """Whether less or more of it is better, by the last word that says so; None if none does.

    Example:
        >>> mode_of("val/F1"), mode_of("test_loss"), mode_of("Acc@1"), mode_of("accuracy_error"), mode_of("beauty")
        ('max', 'min', 'max', 'min', None)
    """
    for word in reversed(words(name)):
        for each in (word, word.rstrip("0123456789")):
            if each in LOWER:
                return "min"
            if each in HIGHER:
                return "max"
    return None


def infer_mode(name: str) -> Mode:
    """Whether less or more is better, by the name.

    Raises: StudyError: the name does not say.
    """
    mode = "min" if name == DEAD_SHARE else mode_of(name)
    if mode is None:
        raise StudyError(
            f"The name {_short(name)!r} does not say whether more or less is better. Give --mode max or --mode min.",
            slug="unknown-mode",
        )
    return mode


def is_loss(name: str) -> bool:
    """Whether the name is that of a loss."""
    return "loss" in words(name)


def is_own(name: str) -> bool:
    """Whether one of relume's own callbacks logged it."""
    return name.startswith("relume/")


def may_be_metric(name: str) -> bool:
    """Whether the name is not a counter or a setting."""
    parts = words(name)
    counter = not parts or (parts[-1] in _COUNTS and not (set(parts) & (LOWER | HIGHER)))
    return not counter and not set(parts) & _SETTINGS and not _NO_METRIC.search(name.lower())


def first_known(texts: Iterable[str]) -> str:
    """The first of these words that says which way is better; "" where none does."""
    return next((text for text in texts if mode_of(text)), "")


# ---- ends ----------------------------------------------------------------------------------------------------------


def is_diverged(metrics: Mapping[str, Sequence[tuple[float, float]]], design: Design) -> bool:
    """Whether the metric, the tuning metric or a loss ended in NaN or infinity."""
    return any(
        bool(curve) and not isfinite(curve[-1][1])
        for name, curve in metrics.items()
        if name in (design.metric, design.tune_metric) or is_loss(name)
    )

"""Which of a script's numbers is compared, which way is better, and whether it came to an end at all."""

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
"""Where a metric was found; where several have metrics, the first in this order."""

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
"""The scalar on which backward is called, where the script logs and prints no metric."""

MOST_POINTS = 500
"""Of a curve by which nothing is judged: a trial's file keeps so many, evenly, with the first and the last."""


@dataclass(frozen=True)
class Metric:
    """What is compared.

    Attributes:
        name: of the metric. ``regex``: where it stands on stdout; "" where it is found by its name.
        tuned_by: the metric by which learning rates are chosen, "" where it is the same.
    """

    name: str
    regex: str = ""
    tuned_by: str = ""


@dataclass(frozen=True)
class Found:
    """The curves of one run by source and name."""

    sources: Mapping[str, Mapping[str, Points]] = field(default_factory=dict)

    def curves(self, whole: Collection[str] = ()) -> dict[str, tuple[tuple[float, float], ...]]:
        """A curve a name, for a :class:`Trial`: what ``--metric`` matches, then in the order of the sources.

        Args:
            whole: names by which is judged: all of their points are kept.
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
        """Source → what may be compared: neither counters nor settings; of what is printed, names that say more."""
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


def choose(found: Found, asked: str = "", besides: str = "") -> Metric:
    """The one metric by which trials are compared.

    Args:
        found: of the first run, with what :class:`Capture` found for ``asked``.
        asked: of ``--metric``: a name, or a regular expression: with a group it stands for a number on stdout, without
            one for a name.
        besides: the metric by which rates are tuned, which is not compared.

    Raises:
        NothingToCompare: the script shows no number, or several between which nobody has chosen; the candidates.
        StudyError: ``asked`` is no regular expression.
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
        "The script shows no number by which its runs could be compared: none was logged (relume.log, TensorBoard, "
        "Lightning, MLflow, W&B), and no line such as `accuracy: 0.93` was printed on stdout. Add "
        "`import relume; relume.log(step, test_accuracy=value)` to it, which does nothing in other runs, print such a "
        "line, or say where the number stands: --metric 'REGEX' with a group for the number.",
        slug="no-metric",
    )


def _asked(found: Found, asked: str, besides: str) -> Metric:
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
            f"--metric {shlex.quote(asked)} matched no number on stdout. A line of it must match, with the number in "
            f"a group.{_instead(found)}",
            slug="metric-not-found",
        )
    names = [name for name in every if re.fullmatch(asked, name) and name != besides]
    if len(names) == 1:
        return Metric(names[0])
    if names:
        raise _several(names, every[names[0]], found)
    raise NothingToCompare(
        f"The script logs and prints no metric {asked!r}.{_instead(found)} A number on stdout is also found by a "
        "regular expression with a group for it.",
        slug="metric-not-found",
    )


def compiled(regex: str) -> re.Pattern[str]:
    """The regular expression of ``--metric``.

    Raises: StudyError: it is none.
    """
    try:
        return re.compile(regex)
    except re.error as error:
        raise StudyError(
            f"--metric {shlex.quote(regex)} is no regular expression: {error}. A name is taken as it is; dots and "
            "parentheses of a text are written with a backslash.",
            slug="bad-metric-regex",
        ) from error


def _several(names: Sequence[str], source: str, found: Found) -> NothingToCompare:
    """The error that lists the candidates, with what picks each."""
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
        f"The script has {len(names)} metrics ({source}); say which is compared, before the first number is seen:\n"
        + "\n".join(lines)
        + more
        + "\n",
        slug="several-metrics",
    )


_MOST_LISTED = 20
_LONGEST_NAME = 60


def _anywhere(found: Found, name: str) -> Points:
    return next(curves[name] for curves in found.sources.values() if name in curves)


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def _instead(found: Found) -> str:
    names = list(dict.fromkeys(name for curves in found.candidates().values() for name in curves))
    if not names:
        return " No other was found either."
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f" Found: {', '.join(_short(name) for name in names[:_MOST_LISTED])}{more}."


# ---- names ---------------------------------------------------------------------------------------------------------


def words(name: str) -> list[str]:
    """The words of a metric's name in small letters: ``valLoss_epoch`` → val, loss, epoch."""
    apart = re.sub(r"(?<=[a-z][a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^A-Za-z0-9]+", apart.lower()) if word]


def mode_of(name: str) -> Mode | None:
    """Whether less or more of it is better, by the last word that says so; None where none does.

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
            f"Whether more or less of {_short(name)!r} is better cannot be told from its name. Give --mode max or "
            "--mode min.",
            slug="unknown-mode",
        )
    return mode


def is_loss(name: str) -> bool:
    """Whether the name is that of a loss."""
    return "loss" in words(name)


def is_own(name: str) -> bool:
    """Whether relume's own watching logged it, through one of its callbacks."""
    return name.startswith("relume/")


def may_be_metric(name: str) -> bool:
    """Whether the name is neither a counter's nor a setting's."""
    parts = words(name)
    counter = not parts or (parts[-1] in _COUNTS and not (set(parts) & (LOWER | HIGHER)))
    return not counter and not set(parts) & _SETTINGS and not _NO_METRIC.search(name.lower())


def first_known(texts: Iterable[str]) -> str:
    """The first of these words that says which way is better; "" where none does."""
    return next((text for text in texts if mode_of(text)), "")


# ---- ends ----------------------------------------------------------------------------------------------------------


def is_diverged(metrics: Mapping[str, Sequence[tuple[float, float]]], design: Design) -> bool:
    """Whether the metric, the one by which rates are tuned, or a loss ended in nan or infinity."""
    return any(
        bool(curve) and not isfinite(curve[-1][1])
        for name, curve in metrics.items()
        if name in (design.metric, design.tune_metric) or is_loss(name)
    )

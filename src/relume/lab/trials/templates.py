"""``{seed}`` and ``{lr:0.001}`` in the script's arguments, for scripts that take their seed and rate as flags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from relume.errors import StudyError

_TEMPLATE = re.compile(r"\{(seed|lr)(?::([^{}]*))?\}")


class Filled(NamedTuple):
    """The arguments of one trial, and what they set, which is then not set a second time."""

    args: tuple[str, ...]
    seed: bool
    rate: bool


def fill(args: Sequence[str], seed: int, lr_factor: float) -> Filled:
    """Fill in a trial's seed, and the script's own rate times the factor.

    Raises: StudyError: ``{lr}`` without the script's own rate.

    Example:
        >>> fill(["--seed={seed}", "--lr", "{lr:0.001}"], 3, 4.0)
        Filled(args=('--seed=3', '--lr', '0.004'), seed=True, rate=True)
    """
    found: set[str] = set()

    def value(place: re.Match[str]) -> str:
        found.add(place[1])
        return str(seed) if place[1] == "seed" else repr(_rate(place) * lr_factor)

    filled = tuple(_TEMPLATE.sub(value, arg) for arg in args)
    return Filled(filled, "seed" in found, "lr" in found)


def _rate(place: re.Match[str]) -> float:
    try:
        return float(place[2])
    except (TypeError, ValueError):
        raise StudyError(
            f"The argument {place[0]} lacks the script's own learning rate. Write it after a colon: "
            "{lr:0.001}; a trial gets this times its factor.",
            slug="bad-template",
        ) from None

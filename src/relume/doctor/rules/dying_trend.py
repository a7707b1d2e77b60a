"""Units that still fire, but whose firing rate is falling toward zero.

## What it finds
Units that fired on at least 5 % of the samples before the latest window. In the window they still fire, but on less
than a quarter of that and on less than 2 %. Only units that can die are judged.

## Why it hurts
A unit that rarely fires rarely gets a gradient, and once it is silent no gradient brings it back. While it still fires,
a small change is enough to keep it.

## Evidence
The number of units whose rate fell, and for the unit that fell furthest its rate before the window and in it.

## False alarms
Ordered data (a curriculum, unshuffled classes) change the rates without harm. Some networks need sparse units: a rate
that falls and then stays is not a death.

## Cure and its safety
Lower the learning rate from this point in training, or warm it up in the next run; add a normalization before the
activation. Check the causes of the units that have already died at this site.

## Sources
Threshold from our own runs: in healthy examples no unit fell that far within a window of 1,000 examples.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import percent
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share

FELL_TO = 0.25
"""Of the earlier rate."""

FIRED = 0.05
"""Least share of the earlier samples on which the unit fired."""

NEAR_ZERO = 0.02
"""Largest share of the current samples: a unit that has become sparse is not dying."""


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    fell, dead = {}, set(site.dead)
    for unit in range(0 if site.provisional else site.site.units):
        before, now = site.earlier_rate[unit], site.firing_rate[unit]
        if before is None or now is None or unit in dead or not site.mortal[unit]:
            continue
        if before >= FIRED and 0 < now < min(FELL_TO * before, NEAR_ZERO):
            fell[unit] = (before, now)
    if not fell:
        return None
    worst = min(fell, key=lambda unit: fell[unit][1] / fell[unit][0])
    before, now = fell[worst]
    said = f"{'fires' if len(fell) == 1 else 'fire'} less than a quarter as often as before, near zero"
    evidence = f"{share(tuple(fell), site)} {said}; unit {worst}: {percent(before)} to {percent(now)}"
    return (
        tuple(fell),
        evidence,
        "lower the learning rate from this point in training, or add a normalization before the activation",
    )


RULE = Rule("RLM009", "dying_trend", "warning", _examine)

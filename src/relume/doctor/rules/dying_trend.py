"""Units whose firing rate is falling toward zero, and which still fire.

## What it finds
Units that fired on at least 5 % of the samples before the latest window, and in it on less than a quarter of that and
on less than 2 %, while they still fire. Only of activations whose units can die.

## Why it hurts
A unit that fires seldom gets its gradient seldom; when it has fallen silent no gradient brings it back. While it still
fires it can be kept with little.

## Evidence
The firing rate before the window and in it, of the unit that fell furthest, and how many fell.

## False alarms
Data that come in an order (a curriculum, unshuffled classes) move the rates without harm. Sparse units are wanted in
some networks: a rate that falls and stays is no death.

## Cure and its safety
Lower the learning rate from this point in training, or warm it up in the next run; normalise before the activation.
Look at the causes of the units that have died at this site.

## Sources
Threshold by our own runs: on healthy examples no unit fell so far within a window of 1,000 examples.
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share

FELL_TO = 0.25
"""Of the earlier rate."""

FIRED = 0.05
"""Of the samples before, at least."""

NEAR_ZERO = 0.02
"""Of the samples now, at most: a unit that has become sparse is not one that dies."""


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
    said = "fell to less than a quarter of their rate, near zero"
    evidence = f"{share(tuple(fell), site)} {said}; unit {worst}: {before:.1%} to {now:.2%}"
    return (
        tuple(fell),
        evidence,
        "lower the learning rate from this point in training, or normalise before the activation",
    )


RULE = Rule("RLM009", "dying_trend", "warning", _examine)

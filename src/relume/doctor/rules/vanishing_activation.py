"""Activations that have shrunk to a thousandth.

## What it finds
A site whose units fire, and whose output (root mean square, at the latest look) is less than a thousandth of that of
the first look.

## Why it hurts
The layer passes on hardly any signal. Its units fire as before, because firing depends on the sign of a number and not
on its size, so no count of dead units shows it.

## Evidence
Both root mean squares, and how much the gradient of its layer has shrunk, if that is known.

## False alarms
A part of a network that is faded out on purpose.

## Cure and its safety
The usual cause is weight decay that is too strong, above all with a large learning rate: each step shrinks the weights
by the product of both. Lower it, or exclude this layer from it.

## Sources
Krogh, Hertz 1991, "A simple weight decay can improve generalization" (weights fall by the factor 1 − rate · decay).
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.rules.rule import Rule

TIMES = 1_000.0


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    first, now = site.statistics.get("rms_first", 0.0), site.statistics.get("rms", 0.0)
    if not now or now * TIMES > first or len(site.dead) == site.site.units:
        return None
    evidence = f"its output shrank from {figures(first, 2)} to {figures(now, 2)} (root mean square)"
    before, gradient = site.statistics.get("gradient_first", 0.0), site.statistics.get("gradient", 0.0)
    if before and gradient:
        shrank = f"from {figures(before, 2)} to {figures(gradient, 2)} per element"
        evidence += f", the gradient of {site.site.layer or 'its layer'} {shrank}"
    return (), evidence, "lower the weight decay or the learning rate of the layers up to here"


RULE = Rule("RLM018", "vanishing_activation", "warning", _examine)

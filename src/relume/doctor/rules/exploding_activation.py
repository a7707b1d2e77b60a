"""Activations that have grown a hundredfold.

## What it finds
A site whose output (root mean square, at the latest look) is more than 100 times that of the first look.

## Why it hurts
Large activations cause large gradients, overflow in half precision, and push the following activations onto their flat
parts.

## Evidence
Both root mean squares, and the largest |output|.

## False alarms
Outputs that must grow (a regression of large numbers from small initial weights).

## Cure and its safety
Lower the learning rate, use weight decay, or add a normalization before the activation. A bounded activation (ReLU6)
only hides it.

## Sources
He, Zhang, Ren, Sun 2015, arXiv 1502.01852, section 2.2 (how an initialization keeps the forward variance).
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.rules.rule import Rule

TIMES = 100.0


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    first, now = site.statistics.get("rms_first", 0.0), site.statistics.get("rms", 0.0)
    if not first or now < TIMES * first:
        return None
    peak = site.statistics["peak"]
    grew = f"from {figures(first, 2)} to {figures(now, 2)} (root mean square)"
    evidence = f"its output grew {grew}; the largest was {figures(peak)}"
    return (), evidence, "lower the learning rate, use weight decay, or add a normalization before it"


RULE = Rule("RLM012", "exploding_activation", "warning", _examine)

"""Activations that have grown a hundredfold.

## What it finds
A site whose output (root mean square, at the latest look) is more than 100 times that of the first look.

## Why it hurts
Large activations make large gradients, overflow in half precision, and push what follows onto its flat parts.

## Evidence
Both root mean squares, and the largest |output| seen.

## False alarms
Outputs that must grow (a regression of large numbers from small initial weights).

## Cure and its safety
Lower the learning rate, decay the weights, or normalise before the activation; a bounded member (ReLU6) hides it.

## Sources
He, Zhang, Ren, Sun 2015, arXiv 1502.01852, section 2.2 (the forward variance that an initialisation keeps).
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule

TIMES = 100.0


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    first, now = site.statistics.get("rms_first", 0.0), site.statistics.get("rms", 0.0)
    if not first or now < TIMES * first:
        return None
    peak = site.statistics["peak"]
    evidence = f"its output grew from {first:.2g} to {now:.2g} (root mean square); the largest was {peak:.3g}"
    return (), evidence, "lower the learning rate, decay the weights, or normalise before it"


RULE = Rule("RLM012", "exploding_activation", "warning", _examine)

"""ReLU6 units that stay at their upper bound.

## What it finds
Units of a ReLU6 (or of a clamp to [0, c]) whose pre-activation is at the bound or above on at least 99 % of the
samples of the latest window.

## Why it hurts
Above the bound the slope is 0, as below zero: the unit's output is constant and its weights do not learn.

## Evidence
The share of samples at the bound.

## False alarms
A unit at the bound on 99 % of the samples still learns from the others.

## Cure and its safety
A smaller learning rate, a normalization before the activation, or ReLU if no bound is needed; the bound is meant for
fixed-point arithmetic (Howard et al. 2017, MobileNets).

## Sources
Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10" (the 6); Howard et al. 2017, arXiv 1704.04861.
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.stuck_high:
        return None
    high = site.site.parameters.get("max_val", 6.0)
    evidence = (
        f"{share(site.stuck_high, site)} at the upper bound {high:g} in at least 99 % of {site.samples:,} samples"
    )
    return (
        site.stuck_high,
        evidence,
        "lower the learning rate, add a normalization before it, or use ReLU if no bound is needed",
    )


RULE = Rule("RLM006", "stuck_high", "warning", _examine)

"""Leaky units that see only one side of their kink, and so are linear on the data.

## What it finds
Units of a LeakyReLU, PReLU or RReLU whose pre-activation had the same sign on every sample of the latest window.

## Why it hurts
Such a unit cannot die, because its slope is never 0, but on this data it is a straight line. With a small slope both
its output and its gradient are small.

## Evidence
The number of samples with the same sign. A unit whose learned slope is 0 is judged as a ReLU instead (`RLM001`).

## False alarms
As for `RLM004`: after a sum of positive numbers the positive side is natural.

## Cure and its safety
A normalization before the activation balances the two sides.

## Sources
Maas, Hannun, Ng 2013; He et al. 2015, arXiv 1502.01852, section 2.1.
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.one_sided:
        return None
    below = sum(site.firing_rate[unit] == 0 for unit in site.one_sided)
    evidence = f"{share(site.one_sided, site)} linear on {site.samples:,} samples ({below} always below zero)"
    return site.one_sided, evidence, "they cannot die, but they are straight lines on this data"


RULE = Rule("RLM005", "one_sided", "info", _examine)

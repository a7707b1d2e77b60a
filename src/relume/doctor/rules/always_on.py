"""Units that are never off, and so are linear.

## What it finds
Units that fired on every sample of the latest window, of an activation whose units can die.

## Why it hurts
A ReLU that is never off is the identity. The unit is a linear map, and if all units of a layer are on, that layer and
the next act as one. It does not hinder training.

## Evidence
The number of samples on which the unit was on.

## False alarms
After a sum of positive numbers (a residual branch after a ReLU, a pooled ReLU) it is natural for units to be always on.
In a net that has not trained long, large biases have the same effect.

## Cure and its safety
A large positive bias or input offset is the usual cause; a normalization before the activation balances it.

## Sources
Serra, Kumar, Ramalingam 2020, "Lossless compression of deep neural networks", arXiv 2001.00218: stably active units.
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.always_on:
        return None
    evidence = f"{share(site.always_on, site)} on in all of {site.samples:,} samples"
    return site.always_on, evidence, "these units are linear; a normalization before the activation would balance them"


RULE = Rule("RLM004", "always_on", "info", _examine)

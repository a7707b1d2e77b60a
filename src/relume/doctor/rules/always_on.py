"""Units that are never off, so that they are linear.

## What it finds
Units of an activation that can die which fired on every sample of the latest window.

## Why it hurts
A ReLU that is never off is the identity: the unit adds a linear map, and two layers in a row become one where all
units are on. It is no obstacle to training.

## Evidence
The number of samples on which the unit was on.

## False alarms
Behind a sum of positive numbers (a residual branch behind a ReLU, a pooled ReLU) being on is natural. In a net that
has not trained long, wide biases do the same.

## Cure and its safety
A large positive bias or input offset is the usual cause; a normalisation before the activation balances it.

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
    return site.always_on, evidence, "these units are linear; a normalisation before the activation would balance them"


RULE = Rule("RLM004", "always_on", "info", _examine)

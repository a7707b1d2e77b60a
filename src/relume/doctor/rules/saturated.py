"""Units on a flat part of a smooth curve: sigmoid, tanh, ELU and its relatives.

## What it finds
Units with at least 99 % of the samples of the latest window where |slope| < 0.01: beyond ±4.6 for sigmoid, beyond
±3 for tanh, below ln(0.01/α) for ELU.

## Why it hurts
The gradient through the unit is less than a hundredth of what comes in: it hardly learns.

## Evidence
The share of samples on a flat part. The edges are each activation's own, in `relume explain NAME`.

## False alarms
An output sigmoid that is sure of its answer is saturated by purpose.

## Cure and its safety
Smaller weights at the start (the activation's init gain), a normalisation before it, or a member that is not flat.

## Sources
Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", section 3;
Clevert, Unterthiner, Hochreiter 2016, arXiv 1511.07289 (ELU's saturation is wanted: it is the noise-robust "off").
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    units = tuple(unit for unit in site.saturated if unit not in site.dead)
    if not units:
        return None
    evidence = f"{share(units, site)} on a flat part of the curve in at least 99 % of {site.samples:,} samples"
    return units, evidence, "start with smaller weights, or normalise before the activation"


RULE = Rule("RLM007", "saturated", "warning", _examine)

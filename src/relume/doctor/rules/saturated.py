"""Units on a flat part of a smooth curve: sigmoid, tanh, ELU and its relatives.

## What it finds
Units that have |slope| < 0.01 on at least 99 % of the samples of the latest window: beyond ±4.6 for sigmoid, beyond ±3
for tanh, below ln(0.01/α) for ELU.

## Why it hurts
The unit passes on less than a hundredth of the gradient, so it hardly learns.

## Evidence
The share of samples on a flat part. `relume explain NAME` gives the edges of an activation.

## False alarms
An output sigmoid that is sure of its answer is saturated on purpose.

## Cure and its safety
Smaller weights at the start (the activation's init gain), a normalization before it, or an activation without flat
parts.

## Sources
Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", section 3; Clevert,
Unterthiner, Hochreiter 2016, arXiv 1511.07289 (ELU's saturation is wanted: it is the noise-robust "off").
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    units = tuple(unit for unit in site.saturated if unit not in site.dead)
    if not units:
        return None
    evidence = f"{share(units, site)} on a flat part of the curve in at least 99 % of {site.samples:,} samples"
    return units, evidence, "start with smaller weights, or add a normalization before the activation"


RULE = Rule("RLM007", "saturated", "warning", _examine)

"""Units of a checkpoint whose incoming weights are all zero.

## What it finds
Rows of a weight that are exactly zero, with a bias (or a shift of the normalization after it) that is not above zero.

## Why it hurts
The unit computes the same number for every input, and a ReLU after it is off. No gradient reaches it, so it never
changes. It uses memory and time and adds nothing.

## Evidence
The stored numbers. This is true for every input, not only for the data seen.

## False alarms
A layer without an activation after it (an output, an attention's projection) can have such rows too, as pruned or
unused outputs. A layer that is entirely zero starts at zero by design and is not judged.

## Cure and its safety
Removing the unit does not change the outputs. To train it again, give it new incoming weights. If weight decay or
pruning made the zeros, it will make them again.

## Sources
Mehta, Kim, Theobalt 2019, "On implicit filter level sparsity in convolutional neural networks", arXiv 1811.12495.
"""

from relume.artifacts.audited import ZERO
from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    units = tuple(unit for unit, cause in site.cause.items() if cause.kind == ZERO)
    if not units:
        return None
    evidence = f"{share(units, site)} with incoming weights of exactly zero, at or below 0 for every input"
    return (
        units,
        evidence,
        "remove them, or give them new weights; look for weight decay or pruning that made the zeros",
    )


RULE = Rule("RLM020", "zero_unit", "warning", _examine, proven=True, audits=True)

"""Units of a checkpoint that a batch normalization keeps at or below zero in every training batch.

## What it finds
Channels of a BatchNorm with scale γ and shift β for which |γ| · 4096 + β ≤ 0. In training no normalized value x
of a batch of n values is larger than √(n − 1), so that up to 16.7 million values a channel cannot lift γ · x + β above
zero.

## Why it hurts
A ReLU after it is off on every example of every batch: neither the scale nor the shift nor the layer before gets a
gradient, and the channel is lost for good.

## Evidence
The stored scale and shift: this holds for every such batch, and for every input if the scale is exactly zero. In
evaluation mode the running statistics take the place of the batch's; an input far from all training data could then
still lift a channel whose scale is not zero.

## False alarms
It holds for a ReLU directly after the normalization. The last one of a residual branch is added to something first, and
may be shut without harm; those named downsample, shortcut, skip or residual, and those whose scales are all zero, are
not judged.

## Cure and its safety
Removing the channel leaves the outputs in training as they are. Weight decay on scales is the usual reason: leave
normalizations out of it.

## Sources
Samuelson 1968, "How deviant can you be?", JASA 63(324), for the bound; Mehta, Kim, Theobalt 2019, "On implicit filter
level sparsity in convolutional neural networks", arXiv 1811.12495.
"""

from relume.artifacts.audited import SHUT
from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    units = tuple(unit for unit, cause in site.cause.items() if cause.kind == SHUT)
    if not units:
        return None
    evidence = (
        f"{share(units, site)} are kept below 0 by their normalization (unit {units[0]}: {site.cause[units[0]].says})"
    )
    return units, evidence, "leave normalizations out of weight decay; removing these channels changes no output"


RULE = Rule("RLM021", "shut_unit", "warning", _examine, proven=True, audits=True)

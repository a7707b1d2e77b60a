"""Units of a checkpoint that a batch normalization keeps at or below zero in every training batch.

## What it finds
Channels of a BatchNorm with scale γ and shift β for which |γ| · 4096 + β ≤ 0. In training no normalized value x of a
batch of n values is larger than √(n − 1), so with up to 16.7 million values per channel γ · x + β stays at or below
zero.

## Why it hurts
A ReLU after it is off on every example of every batch. Neither the scale, the shift nor the layer before it gets a
gradient, so the channel is lost for good.

## Evidence
The stored scale and shift. This is true for every such batch, and for every input if the scale is exactly zero. In
evaluation mode the running statistics replace those of the batch; an input far from all training data could then still
lift a channel whose scale is not zero.

## False alarms
The rule assumes a ReLU directly after the normalization. The last normalization of a residual branch is added to
something first and may be shut without harm. Normalizations named downsample, shortcut, skip or residual, and those
whose scales are all zero, are not judged.

## Cure and its safety
Removing the channel does not change the outputs in training. The usual reason is weight decay on the scales: exclude
normalizations from it.

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
        f"{share(units, site)} kept below 0 by their normalization (unit {units[0]}: {site.cause[units[0]].says})"
    )
    return units, evidence, "exclude normalizations from weight decay; removing these channels changes no output"


RULE = Rule("RLM021", "shut_unit", "warning", _examine, proven=True, audits=True)

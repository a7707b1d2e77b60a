"""Units of a checkpoint with a weight that is NaN or infinite.

## What it finds
Rows of a weight, or elements of a bias or of a normalization, that are not finite numbers.

## Why it hurts
The output of such a unit is NaN or infinite, and so is everything computed from it: the checkpoint is useless.

## Evidence
The stored numbers.

## False alarms
None known.

## Cure and its safety
Go back to an earlier checkpoint, and look for the step at which the numbers broke: a lower learning rate, gradient
clipping, or float32 instead of float16.

## Sources
IEEE 754-2019, section 6.
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.non_finite:
        return None
    advice = "go back to an earlier checkpoint; lower the learning rate, clip gradients, or use float32"
    return site.non_finite, f"{share(site.non_finite, site)} have a weight that is NaN or infinite", advice


RULE = Rule("RLM023", "broken_weight", "error", _examine, proven=True, audits=True)

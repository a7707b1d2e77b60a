"""Layers whose input has a mean much larger than its variation.

## What it finds
A layer before an activation whose input has γ = ‖mean‖/‖std‖ ≥ 3 over the features and samples of the latest look.

## Why it hurts
The mean then decides the sign of a unit's pre-activation: the unit is on for all examples or for none. One step along
the mean moves all units at once, and many die together.

## Evidence
γ at the latest look.

## False alarms
One-hot and other non-negative inputs always have some offset; after a ReLU, γ ≈ 1 is normal.

## Cure and its safety
Center the data, add a normalization before the layer, or use an activation whose mean output is near zero (ELU).

## Sources
LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp", section 4.3; Clevert, Unterthiner, Hochreiter 2016, section 2.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.causes import OFFSET
from relume.doctor.rules.rule import Rule


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    offset = site.statistics.get("offset", 0.0)
    if offset < OFFSET:
        return None
    evidence = f"the mean of the input of {site.site.layer or 'its layer'} is {figures(offset, 2)} times its variation"
    return (), evidence, "center the input: normalize the data, or add a normalization before the layer"


RULE = Rule("RLM015", "input_offset", "info", _examine)

"""Layers whose gradient is noise from step to step.

## What it finds
A layer at least 99 % of whose weight gradient changes from look to look: 1 − ‖E g‖² / E‖g‖² over eight looks or more,
freed of the part that the mean of a few noisy gradients has by chance.

## Why it hurts
The steps are a random walk. Early in a training it means that the batch is too small or the learning rate too large
for this layer to learn; late in one it means that the layer has arrived.

## Evidence
The share, and over how many looks.

## False alarms
At the end of a training it is the normal state. The estimate mixes what changes by the batch with what changes because
the weights move.

## Cure and its safety
A larger batch, a lower learning rate or a schedule that lowers it, more momentum.

## Sources
McCandlish, Kaplan, Amodei et al. 2018, "An empirical model of large-batch training", arXiv 1812.06162, section 2.
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule

SHARE = 0.99
LOOKS = 8


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    noise, looks = site.vitals.get("noise", 0.0), site.vitals.get("gradients", 0.0)
    if noise < SHARE or looks < LOOKS:
        return None
    evidence = f"{noise:.1%} of the gradient of {site.site.layer or 'its layer'} is noise, over {looks:.0f} looks"
    return (), evidence, "early in a training: a larger batch or a lower learning rate; at its end it is normal"


RULE = Rule("RLM013", "noisy_gradient", "info", _examine)

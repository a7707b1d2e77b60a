"""Layers whose gradient is mostly noise.

## What it finds
A layer at least 99 % of whose weight gradient changes from look to look, while the loss of the run does not fall:
1 − ‖E g‖² / E‖g‖² over 32 looks or more, corrected for the chance part in the mean of a few noisy gradients.

## Why it hurts
The steps are a random walk: the batch is too small or the learning rate too large for this layer to learn.

## Evidence
The share, the number of looks, and the loss at the first and at the last look.

## False alarms
Most of the gradient is noise in most successful trainings too, which is why the loss is checked. A training that has
converged looks the same, and so does one whose loss does not measure success (adversarial networks, reinforcement
learning). The estimate mixes changes from the batch with changes from moving weights.

## Cure and its safety
A larger batch, a lower learning rate or a schedule that lowers it, more momentum.

## Sources
McCandlish, Kaplan, Amodei et al. 2018, "An empirical model of large-batch training", arXiv 1812.06162, section 2.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures, percent
from relume.doctor.rules.rule import Rule

SHARE = 0.99
LOOKS = 32
FELL = 0.02
"""Share of the first loss by which the loss must fall to count as falling."""


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    noise, looks = site.statistics.get("noise", 0.0), site.statistics.get("gradients", 0.0)
    if noise < SHARE or looks < LOOKS or site.losses is None:
        return None
    first, last = site.losses
    if first - last >= FELL * abs(first):
        return None
    evidence = (
        f"{percent(noise)} of the gradient of {site.site.layer or 'its layer'} is noise, over {looks:.0f} looks, "
        f"and the loss does not fall ({figures(first)} at first, {figures(last)} at the end)"
    )
    return (), evidence, "use a larger batch or a lower learning rate; after convergence this is normal"


RULE = Rule("RLM013", "noisy_gradient", "info", _examine)

"""Layers that hardly any gradient reaches.

## What it finds
A layer whose weight gradient (root mean square over its elements, at the latest look) is less than 1/10,000 of the
largest among the layers of the model that feed an activation.

Some optimizers scale each gradient (Adam and its relatives, RMSprop, Adagrad). Their layers are reported only if the
gradient is also below 1e-8, the ε below which such an optimizer no longer scales it.

## Why it hurts
With one learning rate for all layers, this layer stays at its initialization while the others learn on top of it.

## Evidence
The ratio to the largest, and the gradient itself.

## False alarms
A layer that is frozen on purpose has no gradient and is not judged. Tied or very wide layers have smaller gradients per
element, and so has the bottom of a U-Net, because the skip connections bypass it.

## Cure and its safety
Initialize with the activation's gain (`relume.gain`), add a normalization or a residual connection, or replace a
saturating activation by one with a slope near 1.

## Sources
Bengio, Simard, Frasconi 1994, "Learning long-term dependencies with gradient descent is difficult"; Glorot, Bengio
2010, section 4; the threshold of 1e-4 is an order of magnitude below the ratios in a healthy deep net.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.rules.rule import Rule

RATIO = 1e-4
EPSILON = 1e-8
SCALING = {
    *("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "SparseAdam"),
    *("RMSprop", "Rprop", "Adagrad", "Adadelta", "Adafactor", "Lion"),
}


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if site.gradient_share is None or site.gradient_share >= RATIO:
        return None
    if site.optimizer.partition("#")[0] in SCALING and site.statistics["gradient"] >= EPSILON:
        return None
    evidence = (
        f"the gradient of {site.site.layer or 'its layer'} is {figures(site.statistics['gradient'], 2)} per element, "
        f"{figures(site.gradient_share, 1)} of the largest in the model"
    )
    return (), evidence, "initialize with the activation's gain, add a normalization, or add a residual connection"


RULE = Rule("RLM010", "vanishing_gradient", "warning", _examine)

"""Layers that hardly any gradient reaches.

## What it finds
A layer whose weight gradient (root mean square over its elements, at the latest look) is less than 1/10,000 of the
largest among the layers of the model that feed an activation.

Of layers that are stepped by an optimiser which scales each gradient (Adam and its relatives, RMSprop, Adagrad) only
those are named whose gradient is below 1e-8 as well, the ε from which on such an optimiser no longer scales.

## Why it hurts
With one learning rate for all, such a layer stays where it was initialised while the others learn on top of it.

## Evidence
The ratio to the largest, and the gradient itself.

## False alarms
A layer that is frozen on purpose has no gradient and is not judged. Tied or very wide layers have smaller gradients an
element, and so has the bottom of a U-Net, around which the skip connections lead.

## Cure and its safety
An initialisation by the activation's gain (`relume.gain`), a normalisation, a residual way around, or an activation
with a slope near 1 in the place of a saturating one.

## Sources
Bengio, Simard, Frasconi 1994, "Learning long-term dependencies with gradient descent is difficult"; Glorot, Bengio
2010, section 4; the threshold is that of a ratio of 1e-4 between layers, an order below what a healthy deep net shows.
"""

from relume.artifacts.findings import Judged
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
        f"the gradient of {site.site.layer or 'its layer'} is {site.statistics['gradient']:.2g} an element, "
        f"{site.gradient_share:.1g} of the largest in the model"
    )
    return (), evidence, "initialise by the activation's gain, normalise, or add a residual way around"


RULE = Rule("RLM010", "vanishing_gradient", "warning", _examine)

"""Layers whose initial gain does not fit their activation.

## What it finds
A layer whose initial weights have a gain √(E[w²] · inputs) below a third or above three times the gain that keeps the
scale of the signal through this activation. The gain √(E[w²] · outputs), which keeps the scale of the gradient, must be
as far off: if either fits, nothing is reported.

## Why it hurts
Over L layers the scale of the signal changes by (gain / fitting gain)^L: a factor of 3 becomes 59,000 over ten layers,
forward and backward.

## Evidence
The gain, measured at the first look, before the first step of the optimizer, and the fitting gain.

## False alarms
A normalization before the activation sets the scale itself, so layers before one are not judged. In shallow networks
the gain hardly matters. A network that is fine-tuned does not start from an initialization. PyTorch's own default for
linear and convolutional layers has a gain of 0.58, which is within the bound for ReLU. Sigmoids are not judged, because
they are outputs and gates.

## Cure and its safety
`torch.nn.init.kaiming_normal_` or an initializer that takes a gain, with `relume.gain(name)`.

## Sources
He, Zhang, Ren, Sun 2015, arXiv 1502.01852, eq. 10 and 15 (with the slope below zero).
"""

from relume.activations import ACTIVATIONS
from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule

FACTOR = 3.0


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    measured = site.statistics.get("init_gain")
    activation = ACTIVATIONS[site.site.activation]
    known = {p.name for p in activation.parameters}
    fitting = activation.gain(**{name: v for name, v in site.site.parameters.items() if name in known})
    if activation.name == "sigmoid" or not measured or not fitting > 0:
        return None
    gains = (measured, site.statistics.get("init_gain_back", measured))
    if min(gains) <= FACTOR * fitting and max(gains) >= fitting / FACTOR:
        return None
    evidence = (
        f"{site.site.layer or 'its layer'} started with a gain of {measured:.2f}; {activation.title} keeps the scale "
        f"with {fitting:.2f}"
    )
    return (), evidence, f'initialize it with relume.gain("{activation.name}")'


RULE = Rule("RLM014", "init_gain", "info", _examine)

"""Layers whose gradient has grown a thousandfold.

## What it finds
A layer whose weight gradient (root mean square over its elements) at the latest look is more than 1,000 times that of
the first look.

## Why it hurts
The steps are as large as the gradient: weights jump far away, many units die, and outputs soon become NaN or infinite.

## Evidence
Both gradients.

## False alarms
A first look at a layer that starts at zero (a residual branch, LoRA) has hardly any gradient. Loss scaling that is
not undone before the optimizer's step multiplies all gradients.

## Cure and its safety
Clip the gradients (`torch.nn.utils.clip_grad_norm_`), lower the learning rate or warm it up.

## Sources
Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks", section 3.2.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.rules.rule import Rule

TIMES = 1_000.0


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    first, now = site.statistics.get("gradient_first", 0.0), site.statistics.get("gradient", 0.0)
    if not first or now < TIMES * first:
        return None
    grew = f"grew from {figures(first, 2)} to {figures(now, 2)} per element"
    evidence = f"the gradient of {site.site.layer or 'its layer'} {grew}"
    return (), evidence, "clip the gradients, or lower or warm up the learning rate"


RULE = Rule("RLM011", "exploding_gradient", "warning", _examine)

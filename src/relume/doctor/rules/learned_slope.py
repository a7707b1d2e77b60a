"""PReLUs that have become another, simpler activation.

## What it finds
PReLU sites whose learned slopes are all near 0 (a ReLU), all small (a LeakyReLU), all near 1 (linear), partly negative,
or all alike although each unit has its own.

## Why it hurts
It does not. But a PReLU that became a ReLU or a LeakyReLU can be replaced by it, which is faster and smaller; a slope
near 1 does nothing; and a negative slope folds the input, which is rarely intended.

## Evidence
The smallest and the largest slope.

## False alarms
Early in training the slopes are still at their start (0.25 in PyTorch, 0 in Keras). Weight decay pulls slopes to 0
for any data, so small slopes under weight decay are no reason to replace the PReLU.

## Cure and its safety
Replace it by the simpler activation, or share one slope, and compare before and after. If the optimizer decays the
slopes, exempt them first: put them into a parameter group with `weight_decay=0`.

## Sources
He, Zhang, Ren, Sun 2015, arXiv 1502.01852, section 2.1 ("we do not use weight decay when updating a_i; a weight decay
tends to push a_i to zero") and table 1 (the slopes learned there).
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.rules.rule import Rule

NEAR = 0.02
SMALL = 0.2


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.slopes:
        return None
    least, most = min(site.slopes), max(site.slopes)
    negative = tuple(unit for unit, slope in enumerate(site.slopes) if slope < -NEAR)
    if negative:
        what, advice = (
            f"{len(negative)} of {len(site.slopes)} slopes are negative: they fold the input",
            "check whether that is intended",
        )
    elif most <= NEAR:
        what, advice = "its slopes are near 0: it is a ReLU", "use ReLU here"
    elif least >= 1 - NEAR and most <= 1 + NEAR:
        what, advice = "its slopes are near 1: it is linear", "remove the activation"
    elif most <= SMALL:
        what, advice = (
            "its slopes are small: it is a LeakyReLU",
            f"use LeakyReLU({(least + most) / 2:.2g}) here",
        )
    elif len(set(site.slopes)) > 1 and most - least <= NEAR:
        what, advice = "its slopes are all alike", "share one slope"
    else:
        return None
    decay = site.statistics.get("slope_decay", 0.0)
    if decay > 0 and not negative and most <= SMALL:
        what = f"its slopes are near 0, where the weight decay of {decay:g} pulls them"
        advice = "exempt the slopes from weight decay: put them into a parameter group with weight_decay=0"
    return negative, f"{what} (from {figures(least)} to {figures(most)})", advice


RULE = Rule("RLM017", "learned_slope", "info", _examine)

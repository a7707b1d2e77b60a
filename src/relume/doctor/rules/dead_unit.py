"""Units that no longer fire on any example.

## What it finds
Units of a ReLU, a ReLU6, or a leaky activation with slope 0 that did not fire on any example of the latest window of
steps. A unit fires if its pre-activation is above 0. A unit is a channel of a convolution or a feature of a linear
layer. Units that never fired at all belong to `RLM002`.

## Why it hurts
The slope of a ReLU that is off is 0, so no gradient reaches the unit's weights, and no example brings it back. The
layer has fewer working units than its width. A few dead units do no harm; many are lost capacity.

## Evidence
The number of examples on which the unit was silent. If a unit does not fire in n examples, its firing rate is below 3/n
with 95 % confidence. A unit that fired rarely before must be silent for longer: 22 times the mean gap between its last
eight firings. Until then it is rare (`RLM003`). A site seen on fewer than 300 examples is provisional and fails no
check. The unit died after `died_after`, the last step at which it was seen firing, and at or before `died_at`, the
first step at which it was seen silent.

## False alarms
"Dead" means dead on the data seen. A unit for a rare class is silent in a window without that class (see `RLM003`). A
unit may revive when the layers before it change (`revived_at` in the JSON).

## Cure and its safety
The cure depends on the cause, which the finding names with its evidence (`cause` in the JSON has it for each unit). The
most common cause is a step that was too large: lower the learning rate, or warm it up; add a normalization before the
activation; or use an activation with a slope below zero (LeakyReLU, PReLU, ELU). Each of these changes the training
from its start.

## Sources
Maas, Hannun, Ng 2013, "Rectifier nonlinearities improve neural network acoustic models"; Lu et al. 2019, "Dying ReLU
and initialization", arXiv 1903.06733; the rule of three: Hanley and Lippman-Hand 1983, JAMA 249(13).
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import advice, died_on, died_when, share, why


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    units = tuple(sorted(set(site.dead) - set(site.born_dead)))
    if not units:
        return None
    evidence = f"{share(units, site)} {died_on(units, site)}; {died_when(units, site)}{why(units, site)}"
    return units, evidence, advice(units, site)


RULE = Rule("RLM001", "dead_unit", "warning", _examine)

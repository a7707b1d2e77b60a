"""Units that no longer fire on any example.

## What it finds
Units of a ReLU, a ReLU6, or a leaky member whose slope is 0, that fired on none of the examples of the latest window
of steps (pre-activation > 0 for the family). A unit of a convolution is a channel, one of a linear layer a feature.
Units that never fired at all are `RLM002`'s.

## Why it hurts
Where a ReLU is off its slope is 0: no gradient reaches the unit's weights, and no example brings it back. The layer
computes with fewer units than it has. Some dead units are a saving rather than a fault; many are lost capacity.

## Evidence
The number of examples on which the unit was silent, and what they prove: with no firing in n examples its firing
rate is below 3/n with 95 % confidence. A unit that fired seldom lately must be silent for longer: 22 times as long as
between two of its last eight firings. Until then it is rare (`RLM003`). A site seen on fewer than 300 examples is
provisional and fails no check. The unit died after `died_after`, the last step at which it was seen firing, and at or
before `died_at`, the first step at which it was seen silent.

## False alarms
"Dead" is said of the data seen. A unit for a rare class is silent in a window without that class (see `RLM003`); a
unit may revive when the layers before it move (`revived_at` in the JSON).

## Cure and its safety
What to do depends on the cause, which the finding names with its evidence (`cause` in the JSON has each unit's). The
usual one is a step that was too large: lower the learning rate, or warm it up; add a normalisation before the
activation; use a member with a slope below zero (LeakyReLU, PReLU, ELU). Each changes the training from its start.

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
    evidence = f"{share(units, site)} {died_on(site.examples)}; {died_when(units, site)}{why(units, site)}"
    return units, evidence, advice(units, site)


RULE = Rule("RLM001", "dead_unit", "warning", _examine)

"""Units that fire on fewer than 1 % of the samples.

## What it finds
Units that can die and fire on more than none and fewer than 1 % of the samples (examples × positions) of the latest
window.

## Why it hurts
They learn from one sample in a hundred. Some are specialists, and the net needs them; many at one site are often
units on their way to dying.

## Evidence
The firing rate of each unit is in the JSON, `firing_rate`.

## False alarms
Sparse coding is a purpose of ReLU: a rare unit is no fault by itself, which is why this is information.

## Cure and its safety
None is needed for specialists. Where their number grows from run to run or with the learning rate, treat them as
`RLM001`.

## Sources
The 1 % is the "dead" threshold of Dohare et al. 2024, Nature 632, post-run analysis; here it is called what it is.
"""

from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.rare:
        return None
    rates = [rate for unit in site.rare if (rate := site.firing_rate[unit]) is not None]
    evidence = (
        f"{share(site.rare, site)} fired on less than 1 % of {site.samples:,} samples (the rarest on {min(rates):.2%})"
    )
    return site.rare, evidence, "specialists, or units on their way to dying: compare with a lower learning rate"


RULE = Rule("RLM003", "rare_unit", "info", _examine)

"""Units that fire on fewer than 1 % of the samples.

## What it finds
Units that can die and that fire on some, but fewer than 1 %, of the samples (examples × positions) of the latest
window. In a sparse code every unit is rare by design: there the limit is 1 % of the mean rate, over the whole run.

## Why it hurts
They learn from less than one sample in a hundred. Some are specialists that the net needs; many at one site are often
units that are about to die.

## Evidence
The firing rate of each unit is in the JSON, `firing_rate`.

## False alarms
ReLU is meant to give sparse codes: a rare unit is not a fault in itself, so the severity is info.

## Cure and its safety
None is needed for specialists. If their number grows from run to run or with the learning rate, treat them as `RLM001`.

## Sources
The 1 % is the "dead" threshold of Dohare et al. 2024, Nature 632, post-run analysis; here such units are called rare.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import percent
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.rare:
        return None
    rates = [rate for unit in site.rare if (rate := site.firing_rate[unit]) is not None]
    least = "1 % of the mean latent's share" if site.site.code else "1 %"
    seldom = f"fired on less than {least} of {site.samples:,} samples (the rarest on {percent(min(rates))})"
    evidence = f"{share(site.rare, site)} {seldom}"
    return site.rare, evidence, "specialists, or units about to die: compare with a lower learning rate"


RULE = Rule("RLM003", "rare_unit", "info", _examine)

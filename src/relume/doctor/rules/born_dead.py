"""Units that have never fired since the first look.

## What it finds
Dead units (see `RLM001`) that did not fire on any example of the whole run.

## Why it hurts
They have learned nothing: apart from weight decay, their weights are still those of the initialization.

## Evidence
All examples since the first look, and the bound 3/n on the firing rate.

## False alarms
A unit that fired only in steps that were not looked at counts as born dead; `--every 1` looks at every step.

## Cure and its safety
Look at how the layer starts: a bias far below zero, inputs whose mean is large compared with their spread, an
initialization without the factor 2 of He et al., a narrow and deep net. Width matters: the probability that a ReLU net
of depth L is born dead is at most 1 − ∏(1 − 2^−N) over its hidden widths N. Change the initialization before training;
after training it has no effect. In a trained net the units can be removed without changing its outputs.

## Sources
Lu, Shin, Su, Karniadakis 2019, "Dying ReLU and initialization: theory and numerical examples", arXiv 1903.06733; He,
Zhang, Ren, Sun 2015, "Delving deep into rectifiers", arXiv 1502.01852, section 2.2.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import percent
from relume.doctor.judge import bound
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import advice, examples, share, why


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.born_dead:
        return None
    evidence = (
        f"{share(site.born_dead, site)} never fired in {site.total_examples:,} {examples(site)} since the first look "
        f"(true rate below {percent(bound(site.total_examples))}, 95 % confidence){why(site.born_dead, site)}"
    )
    return site.born_dead, evidence, advice(site.born_dead, site)


RULE = Rule("RLM002", "born_dead", "warning", _examine)

"""Units with an output that was NaN or infinite.

## What it finds
Units with a NaN or an infinity among their outputs on any step that was looked at.

## Why it hurts
A NaN spreads through every later layer, and through the backward pass into all weights. From that step the training is
lost. A unit that outputs NaN does not fire, but it is not dead: only this rule counts it.

## Evidence
The first step that was looked at and had such an output (`non_finite_since` in the JSON), the learning rates around it,
and the site where it began: the one with the earliest such step, or the first in the network if several have it. relume
checks the sum of |output| of a unit. Finite outputs whose sum overflows float32 are reported too; they are as much a
fault.

## False alarms
None known.

## Cure and its safety
Fix the first site: the others follow from it. Lower the learning rate or warm it up, clip gradients, use float32
instead of float16 for this layer, or guard a division or a logarithm before it.

## Sources
IEEE 754-2019, section 6.
"""

from relume.artifacts.findings import Judged
from relume.artifacts.numbers import figures
from relume.doctor.rules.rule import Rule


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    if not site.non_finite:
        return None
    evidence = f"{_which(site)} NaN or infinite{_since(site)}"
    if site.broken_by is not None:
        path, model = site.broken_by.module, site.broken_by.model
        first = f"{model}.{path}" if path.replace(".", "").isdigit() else path or model
        where = f"{first} ({site.broken_by.file}:{site.broken_by.line})"
        return site.non_finite, f"{evidence}; it began at {where}", f"fix {first} first: this one follows from it"
    return (
        site.non_finite,
        f"{evidence}; it began here{_rates(site)}",
        "lower or warm up the learning rate, clip gradients, or use float32; look at this layer's input and weights",
    )


def _which(site: Judged) -> str:
    number, units = len(site.non_finite), site.site.units
    if number == units > 1:
        return f"all {units:,} units are"
    return f"{number:,} of {units:,} units {'is' if number == 1 else 'are'}"


def _since(site: Judged) -> str:
    return "" if site.broken_since is None else f" since step {site.broken_since:,}"


def _rates(site: Judged) -> str:
    """``, at a learning rate of 1.5 since step 14,940 (0.05 before)``."""
    if not site.rates_when_broken:
        return ""
    *before, (step, rates) = site.rates_when_broken
    told = f", at a learning rate of {_listed(rates)}"
    return f"{told} since step {step:,} ({_listed(before[0][1])} before)" if before else told


def _listed(rates: tuple[float, ...]) -> str:
    """The rates of the parameter groups; those that are the same once."""
    different = dict.fromkeys(figures(rate) for rate in rates)
    return " and ".join(list(different)[:4])


RULE = Rule("RLM008", "non_finite", "error", _examine, proven=True)

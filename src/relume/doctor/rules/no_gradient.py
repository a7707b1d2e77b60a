"""Units of a checkpoint that have had no gradient for a long time, judged by the optimizer's moments.

## What it finds
Units whose parameters' moments have decayed as without a gradient for 95 steps or more. Adam keeps m and v of every
parameter; without a gradient they fall by β1 and β2 a step, so m²/v falls by ln(β2/β1²) = 0.21 a step from its value in
living units. If the units of a layer have gradients only now and then, a much longer silence is required.

## Why it hurts
A unit whose ReLU never fires gets no gradient: it does not learn, and only chance brings it back.

## Evidence
The number of steps since the last gradient: an estimate and an upper limit. On planted deaths 100 to 800 steps ago the
estimate is within 20 steps; for older ones m has vanished, and the report says "more than". If you also give an earlier
checkpoint of the run, v is compared: it has fallen by β2 in each step between the two, up to rounding, if and only if
no example gave a gradient.

## False alarms
A unit whose gradients became tiny rather than zero looks the same in one checkpoint; so does a layer that was frozen by
setting its gradients to zero, and the row of a class or a token that no batch contained. Decay rates are read from the
file; without them 0.9 and 0.999 are assumed.

## Cure and its safety
As for `RLM001`. To see why the units died, watch the training: `relume run`.

## Sources
Kingma, Ba 2015, "Adam: a method for stochastic optimization", arXiv 1412.6980, algorithm 1.
"""

from relume.artifacts.audited import NO_GRADIENT
from relume.artifacts.findings import Judged
from relume.doctor.rules.rule import Rule
from relume.doctor.rules.words import share


def _examine(site: Judged) -> tuple[tuple[int, ...], str, str] | None:
    units = tuple(unit for unit, cause in site.cause.items() if cause.kind == NO_GRADIENT)
    if not units:
        return None
    born = len(set(units) & set(site.born_dead))
    ages = sorted(site.steps - step for unit, step, _ in site.events if unit in units)
    told = [
        *([f"for about {ages[0]:,}{f' to {ages[-1]:,}' if ages[-1] > ages[0] else ''} steps"] if ages else []),
        *([f"{born} since the first step"] if born else []),
        *([f"{older} for longer than can be dated"] if (older := len(units) - len(ages) - born) else []),
    ]
    evidence = f"{share(units, site)} got no gradient: {', '.join(told)} (unit {units[0]}: {site.cause[units[0]].says})"
    return units, evidence, "watch the training to see why they died: relume run SCRIPT"


RULE = Rule("RLM022", "no_gradient", "warning", _examine, audits=True)

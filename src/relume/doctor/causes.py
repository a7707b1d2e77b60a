"""Why a unit died: decided by the numbers that were kept of its death, and by nothing else.

The fall of its largest pre-activations, from the last look at which they were usual to a look in which it is silent, is
split into the parts that its weights, its bias and its input had in it. The largest part names what moved; how far the
parameters moved between two looks, and what they were at the first look, say how.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from relume.artifacts.findings import Cause
from relume.artifacts.numbers import figures, percent
from relume.artifacts.recording import Death, SiteRecord

LARGE = 5.0
"""Parameters that moved this many times as far between two looks as usual had a large update."""

MOSTLY = 0.5
"""A part with at least this share of the change is the one that moved."""

STEADY = 0.75
"""A bias that fell between at least this share of the looks was drifting."""

SHRINKING = 0.7
"""cos(Δw, −w) above which the weights shrank rather than turned."""

SHRUNK = 0.5
"""‖w‖ over its value at the first look, below which weight decay took part."""

OFFSET = 3.0
"""γ = ‖mean‖/‖std‖ of the input above which its mean decides the sign of a unit more than its variation does."""


_LUCK = 2 * math.sqrt(2)
"""In standard errors of one look, what two looks at the same data differ by 19 times in 20: no change of the input."""

MENTIONED = 0.02
"""A part below this share of the largest one is not reported."""

RARELY = 0.001
"""A probability below this is reported as small, not as a number."""

KINDS = {
    "born dead": "start again with another seed or initialization: He's, with a bias of 0 or slightly above",
    "large update": "lower or warm up the learning rate, or clip the gradients",
    "bias drift": "lower the rate of the biases, add a normalization before it, or revive units on a schedule",
    "weight drift": "lower or warm up the learning rate, add a normalization before it, or revive units on a schedule",
    "weight decay": "lower the weight decay of this layer, or apply it to its bias too",
    "upstream cascade": "first cure the site that feeds it",
    "constant zero input": "check the data: its input is always zero",
    "input offset": "center the input: normalize the data or add a normalization before this layer",
    "input change": "lower or warm up the learning rate of the layers before it, or add a normalization before it",
    "normalization collapse": "exclude the normalization from weight decay, or lower its learning rate",
    "frozen": "no optimizer steps it: check where its weights come from, or train it",
    "non-finite": "find the step at which outputs stop being finite; clip the gradients or lower the learning rate",
    "unknown": "lower or warm up the learning rate, add a normalization before it, or revive units on a schedule",
}
"""Each kind of cause, and its advice."""


IN_A_GRAPH = "it is inside a compiled graph, and weights and inputs are not read there"
"""Why the cause of a death in compiled code is not known."""

FAR_LOOKS = "no look at its weights and input was close enough to its death; --every 1 looks at every step"
"""The most frequent reason for an unknown cause: only some looks keep weights and inputs."""

NO_LAYER = "the input of its layer is not known: the layer is of another kind, or is not directly before it"
"""Why the cause is unknown if no look keeps weights and inputs."""


def causes(
    record: SiteRecord, units: Sequence[int], sites: Sequence[SiteRecord], chance: float = math.nan
) -> dict[int, Cause]:
    """The cause of each dead unit of a site; ``sites``: all of the run's, in their order; ``chance``: of its place."""
    return {unit: _unseen(record, unit) or explain(record.deaths[unit], sites, chance) for unit in units}


def chances_of_birth_dead(sites: Sequence[SiteRecord]) -> list[float]:
    """For each site, :func:`chance_of_birth_dead` of its model's sites up to it."""
    alive: dict[str, float] = {}  # the logarithm
    found = []
    for record in sites:
        model = record.site.model
        alive[model] = alive.get(model, 0.0) + math.log1p(-(2.0**-record.site.units))
        found.append(-math.expm1(alive[model]))
    return found


def _unseen(record: SiteRecord, unit: int) -> Cause | None:
    """Most looks keep only counts. If one of these saw the unit fire last, the stored death terms say nothing."""
    death, never_fired = record.deaths.get(unit), record.first_fired[unit] < 0
    if death is None and never_fired:
        return Cause("born dead", "it never fired; no look has its weights and its input")
    if death is None and record.site.compiled:
        return Cause("unknown", IN_A_GRAPH)
    if death is None:
        return Cause("unknown", FAR_LOOKS if record.deaths or "offset" in record.statistics else NO_LAYER)
    if (death.before < 0 and not never_fired) or death.after <= record.last_fired[unit]:
        return Cause("unknown", FAR_LOOKS)
    return None


def chance_of_birth_dead(widths: Sequence[int]) -> float:
    """An upper bound on the probability that a network of these widths is born dead: 1 − Π(1 − 2^−width).

    Source: Lu, Shin, Su & Karniadakis 2019, theorem 3.2, https://arxiv.org/abs/1903.06733

    Example:
        >>> round(chance_of_birth_dead([3] * 9), 3)
        0.699
    """
    return -math.expm1(sum(math.log1p(-(2.0**-width)) for width in widths))


def explain(death: Death, sites: Sequence[SiteRecord] = (), chance: float = math.nan) -> Cause:
    """The cause of one death; ``chance``: that a whole network of these widths is born dead, as a context."""
    numbers = (death.level_before, death.level_after, death.path, death.input_after)
    if not all(map(math.isfinite, numbers)):
        return Cause("non-finite", f"at step {death.after:,} its weights or its input are not finite")
    if death.input_after == 0:
        return _without_input(death, sites)
    if death.before < 0:
        return _born(death, chance)
    if not death.trained or death.path == 0:
        says = "no optimizer steps its weights" if not death.trained else "its weights have never changed"
        return Cause("frozen", f"{says}; {_fell(death)}")
    return _moved_by(death)


def _without_input(death: Death, sites: Sequence[SiteRecord]) -> Cause:
    if death.upstream >= 0:
        feeds = f"; {sites[death.upstream].site.key} feeds it" if death.upstream < len(sites) else ""
        return Cause("upstream cascade", f"all its inputs were zero at step {death.after:,}{feeds}")
    if death.before < 0:
        return Cause("constant zero input", "all its inputs were zero on every example looked at")
    return Cause("constant zero input", f"all its inputs were zero from step {death.after:,}")


def figure(number: float, *, signed: bool = False) -> str:
    """``−39.1``, ``+1,790``: three digits, whole numbers from 1,000 on."""
    large = 1000 <= abs(number) < math.inf
    return f"{number:{'+' if signed else ''}{',.0f' if large else '.3g'}}".replace("-", "−")


def _born(death: Death, chance: float) -> Cause:
    if not death.trained:
        return Cause("frozen", "it never fired, and no optimizer steps its weights")
    return Cause(
        "born dead",
        f"it never fired: its largest pre-activations were {figure(death.level_first + 0.0)} at the first look, "
        f"with a bias of {figure(death.bias_first)}; {_context(chance)}",
    )


def _context(chance: float) -> str:
    """What theory says of the widths up to here."""
    if chance < RARELY:
        return f"a whole layer starts like this with a probability below {RARELY:g} for layers this wide"
    return f"a whole layer starts like this with a probability of up to {figures(chance, 2)} for layers this narrow"


def _moved_by(death: Death) -> Cause:
    weight, bias, inputs = -death.by_weight, -death.by_bias, -death.by_input - _LUCK * death.luck
    parameters = weight + bias
    if parameters >= inputs and death.kind == "norm":
        moved = "scale" if weight > bias else "shift"
        return Cause("normalization collapse", f"the {moved} of the normalization before it moved; {_fell(death)}")
    if parameters >= inputs and LARGE <= death.leap < math.inf:
        return Cause("large update", _large(death))
    if slow := _slow(death):
        return slow
    if inputs > parameters:
        return _input_moved(death)
    if bias >= weight and death.bias_falls >= STEADY:
        return Cause("bias drift", _drifted(death))
    return Cause("weight drift", _fell(death))


def _slow(death: Death) -> Cause | None:
    """A change since the first look, if it explains the death."""
    fall = death.level_first - death.level_after
    kept = death.weight_after / death.weight_first if death.weight_first else 1.0
    if death.decay > 0 and kept < SHRUNK and death.shrinking >= SHRINKING:
        return Cause(
            "weight decay",
            f"‖w‖ shrank to {percent(kept, 0)} of its first value, along −w (cosine {death.shrinking:.2f}), "
            f"with a weight decay of {death.decay:g}",
        )
    if fall > 0 and death.bias_first - death.bias_after >= MOSTLY * fall and death.bias_falls >= STEADY:
        return Cause("bias drift", _drifted(death))
    return None


def _input_moved(death: Death) -> Cause:
    if death.offset_after >= OFFSET and death.offset_after > 2 * death.offset_before:
        return Cause(
            "input offset",
            f"γ = ‖mean‖/‖std‖ of its input went from {figures(death.offset_before, 2)} to "
            f"{figures(death.offset_after, 2)}; {_fell(death)}",
        )
    return Cause("input change", _fell(death))


def _large(death: Death) -> str:
    far = f"{death.leap:,.0f}" if death.leap >= 100 else figures(death.leap, 2)
    rates = [figures(rate) for rate in (death.rate_before, death.rate_after) if math.isfinite(rate)]
    at = f" at learning rate {' to '.join(dict.fromkeys(rates))}" if rates else ""
    return f"its weights and bias moved {far} times as far as usual between two looks{at}; {_fell(death)}"


def _drifted(death: Death) -> str:
    return (
        f"its bias fell from {figure(death.bias_first)} to {figure(death.bias_after)}, "
        f"in {percent(death.bias_falls, 0)} of the intervals between looks"
    )


def _fell(death: Death) -> str:
    """How far the largest pre-activations fell, between which steps, and what took how much of it."""
    parts = (
        ("its weights", death.by_weight),
        ("its bias", death.by_bias),
        ("its input", death.by_input),
    )
    least = MENTIONED * max(abs(change) for _, change in parts)
    told = ", ".join(f"{figure(change, signed=True)} by {name}" for name, change in parts if abs(change) >= least)
    return (
        f"from step {death.before:,} to {death.after:,} its largest pre-activations fell "
        f"from {figure(death.level_before)} to {figure(death.level_after)}: {told}"
    )

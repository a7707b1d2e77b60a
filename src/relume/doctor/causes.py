"""Why a unit died: decided by the numbers that were kept of its death, and by nothing else.

The change of its largest pre-activation between the last look in which it fired and the first in which it did not is
split into the parts that the weights, the bias, the input and the rest had in it. The largest part names what moved;
how large the update was against the unit's usual ones, and where it has come from since the first look, say how.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from relume.artifacts.findings import Cause
from relume.artifacts.recording import Death, SiteRecord

LARGE = 5.0
"""An update of so many times the unit's usual one is a large one."""

MOSTLY = 0.5
"""A part of so much of the change is what moved."""

STEADY = 0.75
"""A bias that fell between so many of the looks was drifting."""

SHRINKING = 0.7
"""cos(Δw, −w) from which on the weights shrank rather than turned."""

SHRUNK = 0.5
"""‖w‖ over what it was at the first look, below which weight decay had its part."""

OFFSET = 3.0
"""γ = ‖mean‖/‖std‖ of the input from which on its mean decides the sign of a unit more than its variation does."""


KINDS = {
    "born dead": "it never fired: as it was initialised, no example reaches it",
    "large update": "one update was far larger than the usual ones",
    "bias drift": "its bias fell, step by step",
    "weight drift": "its weights turned away, step by step",
    "weight decay": "its weights shrank until the bias outweighed them",
    "upstream cascade": "all the units that feed it had fallen silent",
    "constant zero input": "its input is zero on every example",
    "input offset": "the mean of its input moved, and outweighs the input's variation",
    "input change": "its input changed, its weights hardly",
    "normalisation collapse": "the scale or the shift of the normalisation before it moved",
    "frozen": "no gradient reaches its weights, and its input moved",
    "non-finite": "its numbers are not finite",
    "unknown": "what was kept does not say",
}
"""Each kind of cause, in a few words."""


def causes(record: SiteRecord, units: Sequence[int], silent_sites: Collection[int]) -> dict[int, Cause]:
    """The cause of each dead unit. ``silent_sites``: the numbers of the sites no unit of which fires."""
    unseen = Cause("unknown", "no factors of its death were kept")
    return {unit: explain(record.deaths[unit], silent_sites) if unit in record.deaths else unseen for unit in units}


def explain(death: Death, silent_sites: Collection[int]) -> Cause:
    """The cause of one death."""
    if not all(map(math.isfinite, (death.top_after, death.weight_after, death.bias_after, death.input_after))):
        return Cause("non-finite", f"at step {death.after:,} its weights or its input are not finite")
    if death.input_after == 0:
        return _without_input(death, silent_sites)
    if death.before < 0:
        return _born(death)
    if death.update == 0 or not death.trained:
        says = "no optimiser steps its weights" if not death.trained else "its weights did not change"
        return Cause("frozen", f"{says}, while its input moved its largest pre-activation {_moved(death)}")
    return _moved_by(death)


def _without_input(death: Death, silent_sites: Collection[int]) -> Cause:
    if death.upstream >= 0 and (death.upstream in silent_sites or death.input_before > 0):
        return Cause("upstream cascade", f"every input of it was zero at step {death.after:,}")
    if death.before < 0:
        return Cause("constant zero input", "every input of it was zero on every example looked at")
    return Cause("constant zero input", f"every input of it was zero from step {death.after:,} on")


def _born(death: Death) -> Cause:
    if not death.trained:
        return Cause("frozen", "it never fired, and no optimiser steps its weights")
    return Cause(
        "born dead",
        f"it never fired: its largest pre-activation was {death.top_first:.3g} at the first look, with a bias of "
        f"{death.bias_first:.3g}",
    )


def _moved_by(death: Death) -> Cause:
    drop = death.top_before - death.top_after
    weight, bias, inputs, rest = (
        -part / drop for part in (death.by_weight, death.by_bias, death.by_input, death.by_rest)
    )
    times = death.update / death.usual if death.usual > 0 else math.nan
    parameters = weight + bias
    if death.kind == "norm" and parameters >= max(inputs, rest):
        moved = "scale" if weight > bias else "shift"
        return Cause(
            "normalisation collapse", f"the {moved} before it moved its largest pre-activation {_moved(death)}"
        )
    if parameters >= max(inputs, rest) and times >= LARGE:
        return Cause("large update", _large(death, times))
    if slow := _slow(death):
        return slow
    if inputs >= max(parameters, rest):
        return _input_moved(death, inputs)
    if parameters < rest:
        return Cause("unknown", f"what is added behind its layer moved its largest pre-activation {_moved(death)}")
    if bias >= weight and death.bias_falls >= STEADY:
        return Cause("bias drift", _drifted(death))
    return Cause("weight drift", f"its weights moved its largest pre-activation {_moved(death)}, by {weight:.0%} of it")


def _slow(death: Death) -> Cause | None:
    """What went on since the first look, where that explains the death."""
    fall = death.top_first - death.top_after
    kept = death.weight_after / death.weight_first if death.weight_first else 1.0
    if death.decay > 0 and kept < SHRUNK and death.shrinking >= SHRINKING:
        return Cause(
            "weight decay",
            f"‖w‖ shrank to {kept:.0%} of what it was, along −w (cosine {death.shrinking:.2f}), with a weight decay of "
            f"{death.decay:g}",
        )
    if fall > 0 and death.bias_first - death.bias_after >= MOSTLY * fall and death.bias_falls >= STEADY:
        return Cause("bias drift", _drifted(death))
    return None


def _input_moved(death: Death, share: float) -> Cause:
    if death.offset_after >= OFFSET and death.offset_after > 2 * death.offset_before:
        return Cause(
            "input offset",
            f"γ = ‖mean‖/‖std‖ of its input went from {death.offset_before:.2g} to {death.offset_after:.2g}; the input "
            f"made {share:.0%} of the change",
        )
    return Cause("input change", f"its input moved its largest pre-activation {_moved(death)}, by {share:.0%} of it")


def _large(death: Death, times: float) -> str:
    lived = "with half of it the unit would still have fired" if death.half > 0 else "half of it would have sufficed"
    rate = f" at learning rate {death.rate_before:.3g}" if math.isfinite(death.rate_before) else ""
    return (
        f"between steps {death.before:,} and {death.after:,}{rate} w and b moved {times:.3g} times as far a step as "
        f"they used to, and the largest pre-activation {_moved(death)}; {lived}"
    )


def _drifted(death: Death) -> str:
    return (
        f"its bias fell from {death.bias_first:.3g} to {death.bias_after:.3g}, in {death.bias_falls:.0%} of the "
        "intervals between looks"
    )


def _moved(death: Death) -> str:
    return f"from {death.top_before:.3g} to {death.top_after:.3g}"

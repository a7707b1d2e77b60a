"""Where an activation fires and where its curve is flat, as bounds on a tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relume.activations import ACTIVATIONS
from relume.activations._namespace import NUMPY
from relume.activations.definition import Activation


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where an activation fires and where its curve is flat.

    ``by_output``: the bounds are on the output, which an activation in place leaves to be read; otherwise they are on
    the pre-activation. ``nonzero``: it fires where its output is not 0, of either sign.
    """

    fires_above: float
    flat_below: float | None
    flat_above: float | None
    never_negative: bool  # the output: its magnitude is its sum
    by_output: bool
    nonzero: bool = False

    def of_code(self) -> Bounds:
        """The bounds of a sparse code."""
        return replace(self, never_negative=False, by_output=True, nonzero=True)


def bounds_of(name: str, parameters: Mapping[str, Any]) -> Bounds:
    """The bounds of an activation with its parameters; ``max_val`` is an upper bound on the input."""
    given = dict(parameters)
    bound = given.pop("max_val", None)
    activation = ACTIVATIONS[name]
    below, above = activation.flat(**given)
    return Bounds(
        activation.fires_above(**given),
        below,
        above if bound is None else bound,
        never_negative=activation.range.startswith(("[0", "(0")),
        by_output=_keeps_signs(activation, activation.defaults() | given),
    )


def bounds_on_output(name: str, parameters: Mapping[str, Any]) -> Bounds:
    """The bounds on the output if the activation never falls; otherwise those on the input.

    In a compiled graph the input must not get a second reader: the compiler could not fuse it with its layer any more.
    """
    bounds = bounds_of(name, parameters)
    activation = ACTIVATIONS[name]
    settled = activation.defaults() | dict(parameters)
    if bounds.by_output or activation.learnable or activation.random or not activation.elementwise:
        return bounds
    rising = np.diff(activation.value(np.linspace(-30.0, 30.0, 6_001), NUMPY, **settled))
    if (rising < 0).any():
        return bounds

    def at(edge: float | None) -> float | None:
        if edge is None or math.isinf(edge):
            return edge
        return float(activation.value(np.array(edge), NUMPY, **settled))

    fires, below, above = (at(edge) for edge in (bounds.fires_above, bounds.flat_below, bounds.flat_above))
    assert fires is not None
    return replace(bounds, fires_above=fires, flat_below=below, flat_above=above, by_output=True)


def _keeps_signs(activation: Activation, parameters: dict[str, Any]) -> bool:
    """Whether the output is above 0 exactly where the input is, and flat where the input says so."""
    if (
        activation.learnable
        or activation.fires_above(**parameters) != 0
        or activation.flat(**parameters)[0] is not None
    ):
        return False
    below = activation.value(np.array([-1e3, -1.0, -1e-3]), NUMPY, **parameters)
    return bool((below <= 0).all()) and all(slope >= 0 for slope in parameters.values())

"""The shape of a definition: what every file of this folder fills in.

``value`` and ``slope`` take the array namespace ``xp`` (NumPy's names: ``where``, ``exp``, ``expm1``, ``tanh``, …),
so that one text serves every framework. They are straight-line code: ``xp.where`` instead of ``if``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from relume.errors import ParameterError

FLAT_SLOPE = 0.01
"""A part of a curve is flat where |slope| is below this: a step there moves the weights 1 % as far as a linear unit's."""

FRAMEWORKS = ("torch", "keras", "tensorflow", "jax", "onnx")
"""The frameworks whose defaults and kinks a definition states."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an activation.

    ``defaults`` maps a framework to its own default; a framework that lacks the parameter is absent.
    ``low`` and ``high`` bound the values that keep the activation's stated properties; both may be infinite.
    """

    name: str
    default: float
    meaning: str
    low: float = -inf
    high: float = inf
    learnable: bool = False
    defaults: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kink:
    """A point where the slope jumps, and the slope that each framework's reverse mode gives there.

    ``at`` and the slopes are formulas in the parameters, or numbers: ``"0"``, ``"negative_slope"``.
    """

    at: str
    slopes: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """Where a definition comes from: authors, year, title, place in it, link."""

    citation: str
    link: str


@dataclass(frozen=True)
class Activation:
    """One member of the family, or one of the relatives it is compared with.

    Attributes:
        name: the stem, as in ``activations/<name>.py``.
        title: the field's spelling.
        formula: plain text, readable in a terminal.
        range: of the values, in interval notation.
        value: ``value(x, xp, **parameters)``; arrays of any shape, floating.
        slope: ``slope(x, xp, **parameters)``: f′, with PyTorch's reverse-mode choice at the kinks
            (softmax: ``slope(x, xp, tangent=…)`` is the Jacobian-vector product).
        gain: ``gain(**parameters)``: the factor that keeps the variance of N(0, 1) pre-activations through a layer.
        can_die: units can be silent on all data with no slope left to recover.
        fires_above: a unit fires where its pre-activation is greater than ``fires_above(**parameters)``.
        flat: ``flat(**parameters)`` → (below, above): |slope| < FLAT_SLOPE below the first and above the second (None: never).
        rectifier: a member of the family proper, or one of its relatives; the others are only compared with it.
        elementwise: one number in, one number out (all but softmax).
    """

    name: str
    title: str
    formula: str
    range: str
    value: Callable[..., Any]
    slope: Callable[..., Any]
    gain: Callable[..., float]
    can_die: str
    saturates: str
    advantages: str
    disadvantages: str
    when_to_use: str
    sources: tuple[Source, ...]
    parameters: tuple[Parameter, ...] = ()
    kinks: tuple[Kink, ...] = ()
    hazards: tuple[str, ...] = ()
    fires_above: Callable[..., float] = lambda **_: 0.0
    flat: Callable[..., tuple[float | None, float | None]] = lambda **_: (None, None)
    dies: Callable[..., bool] = lambda **_: False
    random: bool = False
    rectifier: bool = True
    elementwise: bool = True

    @property
    def learnable(self) -> bool:
        """Whether training changes one of the parameters."""
        return any(p.learnable for p in self.parameters)

    def defaults(self) -> dict[str, float]:
        """Each parameter's default, PyTorch's where PyTorch has one."""
        return {p.name: p.default for p in self.parameters}

    def check(self, **given: float) -> dict[str, float]:
        """Defaults overlaid with ``given``; a name or a value that does not fit is a ParameterError."""
        known = {p.name: p for p in self.parameters}
        for name, number in given.items():
            if name not in known:
                expected = ", ".join(known) or "none"
                raise ParameterError(
                    f"{self.title} has no parameter {name!r}; its parameters: {expected}.", slug="unknown-parameter"
                )
            p = known[name]
            if not p.low <= number <= p.high:  # false for nan too
                raise ParameterError(
                    f"{self.title}: {name} = {number} is outside [{p.low}, {p.high}] ({p.meaning}). "
                    f"Give a value in the interval; the default is {p.default}.",
                    slug="parameter-out-of-bounds",
                )
        return self.defaults() | given

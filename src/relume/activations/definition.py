"""The shape of a definition: what every file of this folder fills in.

``value`` and ``slope`` take the array namespace ``xp`` (NumPy's names: ``where``, ``exp``, ``expm1``,
``tanh``, …), so that one text serves every framework. They are straight-line code: ``xp.where`` instead of
``if``. Every definition keeps these rules: nan → nan in the value, and ``slope_at_nan`` in the slope (frameworks
differ there); −0 → −0 where 0 → 0; the slopes at ±inf are the limits; no overflow in a branch that is not taken; dtype
and shape of ``x`` are kept, where the parameters are Python numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np

from relume.errors import ParameterError

FLAT_SLOPE = 0.01
"""A part of a curve is flat where |slope| is below this: a step there moves the weights 1 % as far as a
linear unit's."""

FRAMEWORKS = ("torch", "keras", "tensorflow", "jax", "onnx")
"""The frameworks whose defaults and kinks a definition states; ``keras.activations`` is one of ``keras``."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an activation.

    ``defaults`` maps a framework to its own default; a framework that lacks the parameter is absent. Where
    Keras's layer and its functions differ, ``keras`` is the layer, ``keras.activations`` and ``keras.ops``
    the functions. ``low`` and ``high`` bound the values that keep the activation's stated properties; both
    may be infinite, a value may not. ``low_open`` excludes ``low`` itself. A parameter with ``choices`` is
    one of these words, not a number. ``aliases`` are the names that frameworks have for it.
    """

    name: str
    default: float | str
    meaning: str
    low: float = -inf
    high: float = inf
    low_open: bool = False
    choices: tuple[str, ...] = ()
    learnable: bool = False
    defaults: Mapping[str, float | str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def interval(self) -> str:
        """The values it may take, as a person writes them: ``(0, ∞)``, ``[0, ∞)``, ``none | tanh``."""
        if self.choices:
            return " | ".join(self.choices)
        left = "(−∞" if self.low == -inf else f"{'(' if self.low_open else '['}{self.low:g}"
        return f"{left}, {'∞)' if self.high == inf else f'{self.high:g}]'}"

    def admits(self, given: Any) -> bool:
        """Whether ``given`` keeps to the bounds: a number, an array of numbers, or one of ``choices``."""
        if self.choices:
            return isinstance(given, str) and given in self.choices
        numbers = np.asarray(given)
        if numbers.dtype.name == "bfloat16":  # ml_dtypes', which NumPy does not know as floating
            numbers = numbers.astype(np.float32)
        if numbers.dtype.kind not in "fiu" or not np.all(np.isfinite(numbers)):
            return False
        above = numbers > self.low if self.low_open else numbers >= self.low
        return bool(np.all(above & (numbers <= self.high)))


@dataclass(frozen=True)
class Kink:
    """A point where the formula changes, and the slope that each framework's reverse mode gives there.

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
        gain: ``gain(**parameters)``: 1/√E[f(z)²], z ~ N(0, 1): the factor on the weights that keeps the scale
            of the pre-activations from layer to layer (He et al. 2015); nan where it has no meaning.
        can_die: units can be silent on all data with no slope left to recover.
        fires_above: a unit fires where its pre-activation is greater than ``fires_above(**parameters)``.
        flat: ``flat(**parameters)`` → (below, above): |slope| < FLAT_SLOPE below the first and above the
            second (None: not judged so; the off side of a rectifier is what ``fires_above`` and ``dies`` are
            for).
        dies: ``dies(**parameters)``: whether a unit that does not fire has no slope left to recover.
        slope_at_nan: the slope at nan, as a formula in the parameters, as those of :class:`Kink`: PyTorch's
            for a tensor of one element, which its vector code does not always keep to.
        relation: ``relation(**parameters)`` → what is wrong between two parameters, "" if they fit.
        gain_note: where a common convention differs from ``gain``.
        aliases: other names by which it is known; spelling (case, ``-``, ``_``) does not matter.
        rectifier: a member of the family proper, or one of its relatives; the others are only compared with
            it.
        composed: no framework has it as one function: it is written as several.
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
    relation: Callable[..., str] = lambda **_: ""
    slope_at_nan: str = "nan"
    gain_note: str = ""
    aliases: tuple[str, ...] = ()
    random: bool = False
    rectifier: bool = True
    composed: bool = False
    elementwise: bool = True

    @property
    def learnable(self) -> bool:
        """Whether training changes one of the parameters."""
        return any(p.learnable for p in self.parameters)

    def defaults(self) -> dict[str, Any]:
        """Each parameter's default, PyTorch's where PyTorch has one."""
        return {p.name: p.default for p in self.parameters}

    def check(self, **given: Any) -> dict[str, Any]:
        """Defaults overlaid with ``given``; a name or a value that does not fit is a ParameterError.

        A value may be an array (one slope per unit): then each of its numbers must fit.
        """
        known = {p.name: p for p in self.parameters}
        for name, number in given.items():
            if name not in known:
                expected = ", ".join(known) or "none"
                called = [f" It is called {p.name}." for p in self.parameters if name in p.aliases]
                raise ParameterError(
                    f"{self.title} has no parameter {name!r}; its parameters: {expected}.{''.join(called)}",
                    slug="unknown-parameter",
                )
            p = known[name]
            if not p.admits(number):
                raise ParameterError(
                    f"{self.title}: {name} = {number!r} is not in {p.interval} ({p.meaning}). "
                    f"Give a value from there; the default is {p.default}.",
                    slug="parameter-out-of-bounds",
                )
        settled = self.defaults() | given
        if problem := self.relation(**settled):
            raise ParameterError(f"{self.title}: {problem}.", slug="parameter-out-of-bounds")
        return settled

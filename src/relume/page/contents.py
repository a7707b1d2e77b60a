"""What the page tells of each activation: taken from the definitions, written nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import inf, isfinite
from typing import Any, NamedTuple

from relume.activations import ACTIVATIONS, FLAT_SLOPE, Activation, Parameter
from relume.page.recorder import record
from relume.theme import DASHES

FRAMEWORK_TITLES = {
    "torch": "PyTorch",
    "keras": "Keras layer",
    "keras.activations": "Keras function",
    "keras.ops": "keras.ops",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
    "onnx": "ONNX",
}

CHOSEN = ("relu", "leaky_relu", "elu", "gelu")
"""Drawn when the page opens: the rectifier, its cure, one with an exponential, a smooth one."""

UNIT = 4
"""The unit that the lesson follows, from 0."""


class Chapter(NamedTuple):
    """A guided step of the lesson: plays from one training step to another, ``speed`` steps a second."""

    title: str
    text: str
    start: int
    end: int
    speed: int


CHAPTERS = (
    Chapter(
        "Healthy",
        "Two networks learn to tell dots from rings. Each colored line is one unit: it fires on one side of its line "
        "and is off on the other.",
        0,
        116,
        30,
    ),
    Chapter(
        "Too fast",
        "For ten steps, the learning rate is four times too high. The weights jump, and lines fly past the examples.",
        116,
        134,
        4,
    ),
    Chapter(
        "Dead",
        "The rate is normal again, but on the left six of eight units fire for no example. They are dead, and they "
        "stay dead.",
        134,
        220,
        22,
    ),
    Chapter(
        "Why",
        f"Watch unit {UNIT + 1}: its examples slide left of 0, where ReLU is flat. No slope means no gradient, so no "
        "step brings it back.",
        118,
        150,
        7,
    ),
    Chapter(
        "Cure",
        "LeakyReLU still slopes left of 0. Its units fell silent too, but a small gradient reaches them, and they come "
        "back.",
        150,
        700,
        110,
    ),
)

SPAN = (-5.0, 8.0)
"""x of the curves: beyond every kink."""

STEP = 0.005
"""Of a slider."""

SHOWN = tuple(a for a in ACTIVATIONS.values() if a.elementwise)
"""The activations that have a curve; their place here is their colour and their dash."""


def functions() -> str:
    """The JavaScript object of all activations' functions: ``{relu: {value: (x, p) => {…}, …}, …}``."""
    bodies = {a.name: record(a) for a in SHOWN}
    parts = [
        f"{name}: {{ " + ", ".join(f"{part}: (x, p, s) => {{ {body} }}" for part, body in made.items()) + " }"
        for name, made in bodies.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}"


def data() -> dict[str, Any]:
    """All that the scripts of the page need to know."""
    return {
        "span": list(SPAN),
        "flatSlope": FLAT_SLOPE,
        "chosen": list(CHOSEN),
        "unit": UNIT,
        "end": CHAPTERS[-1].end,
        "activations": {a.name: _activation(a, place) for place, a in enumerate(SHOWN)},
    }


def _activation(a: Activation, place: int) -> dict[str, Any]:
    return {
        "title": a.title,
        "layer": layer(place),
        "random": a.random,
        "dies": a.dies(**a.defaults()),
        "kinks": [float(kink.at) for kink in a.kinks],
        "firesAbove": _thresholds(a),
        "parameters": [slider(p) for p in a.parameters],
    }


def layer(place: int) -> int:
    """How high a line lies: those with few gaps beneath those with many, so that none hides another."""
    return place % len(DASHES)


def in_layers(names: Iterable[str]) -> list[str]:
    """Names of activations, from the lowest line to the highest."""
    places = {a.name: place for place, a in enumerate(SHOWN)}
    return sorted(names, key=lambda name: layer(places[name]))


def _thresholds(a: Activation) -> dict[str, float | None]:
    """Where a unit begins to fire, by the word chosen ("" where there is none to choose); null: everywhere."""
    words = [(p.name, choice) for p in a.parameters for choice in p.choices]
    found = {choice: a.fires_above(**(a.defaults() | {name: choice})) for name, choice in words}
    found = found or {"": a.fires_above(**a.defaults())}
    return {word: threshold if isfinite(threshold) else None for word, threshold in found.items()}


def slider(p: Parameter) -> dict[str, Any]:
    """A parameter as a slider (or a choice): its ends are the bounds, or −1 and 1 or four times the default."""
    if p.choices:
        return {"name": p.name, "default": p.default, "choices": list(p.choices), "meaning": p.meaning}
    low = -1.0 if p.low == -inf else p.low + (10 * STEP if p.low_open else 0)
    high = max(1.0, 4 * float(p.default)) if p.high == inf else p.high
    return {
        "name": p.name,
        "default": p.default,
        "low": low,
        "high": high,
        "step": STEP,
        "meaning": p.meaning,
        "learnable": p.learnable,
    }


def exact(number: float | str) -> str:
    """As few characters as are exact: 0.01, 1/3; else 4 digits."""
    if isinstance(number, str):
        return number
    fraction = Fraction(number).limit_denominator(12)
    if float(f"{number:.4g}") != number and float(fraction) == number:
        return str(fraction)
    return signed(number)


def signed(number: float, digits: int = 4) -> str:
    """A number as the page writes it: at most ``digits`` figures, and a real minus.

    Example:
        >>> signed(-0.25), signed(1.41421356), signed(3.02e-9)
        ('−0.25', '1.414', '3.0e−9')
    """
    text = f"{number:.{digits}g}"
    if number and not 1e-4 <= abs(number) < 1e6:
        front, _, power = f"{number:.1e}".partition("e")
        text = f"{front}e{int(power)}"
    return text.replace("-", "−")


FACTS = ("Activation", "Formula", "Range", "Gain", "Learns", "Can units die?", "Saturates")


def facts() -> list[list[Any]]:
    """The comparison table, a row an activation."""
    return [
        [a.title, a.formula, a.range, _gain(a), "yes" if a.learnable else "no", a.can_die, a.saturates]
        for a in ACTIVATIONS.values()
    ]


def _gain(a: Activation) -> str:
    gain = a.gain(**a.defaults())
    return signed(gain) if isfinite(gain) else "–"


WHICH = ("Activation", "When to use it", "What it gives", "What it costs")


def which() -> list[list[str]]:
    """When to use which, a row an activation."""
    return [[a.title, a.when_to_use, a.advantages, a.disadvantages] for a in ACTIVATIONS.values()]


def kinks() -> tuple[list[str], list[list[str]]]:
    """Headings and rows: each kink, and the slope that each framework's reverse mode gives there."""
    listed = [(a, kink) for a in ACTIVATIONS.values() for kink in a.kinks]
    columns = [name for name in FRAMEWORK_TITLES if any(name in kink.slopes for _, kink in listed)]
    rows = [[a.title, kink.at, *(kink.slopes.get(name, "–") for name in columns)] for a, kink in listed]
    return ["Activation", "Kink at x =", *(FRAMEWORK_TITLES[name] for name in columns)], rows


def defaults() -> tuple[list[str], list[list[str]]]:
    """Headings and rows: each parameter, its values, and each framework's default."""
    listed = [(a, p) for a in ACTIVATIONS.values() for p in a.parameters]
    columns = [name for name in FRAMEWORK_TITLES if any(name in p.defaults for _, p in listed)]
    rows = [[a.title, p.name, p.meaning, p.interval, *(_default(p, name) for name in columns)] for a, p in listed]
    return ["Activation", "Parameter", "Meaning", "Values", *(FRAMEWORK_TITLES[name] for name in columns)], rows


def _default(p: Parameter, framework: str) -> str:
    return exact(p.defaults[framework]) if framework in p.defaults else "–"

"""The family as a table, and one entry of it, or one of the doctor's rules, in full."""

from __future__ import annotations

import difflib
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from math import isfinite
from typing import Protocol

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from relume import activations
from relume.activations import ACTIVATIONS, FLAT_SLOPE, NUMPY, Activation
from relume.artifacts.json_types import ActivationJson, ExplainJson, ListJson
from relume.errors import UnknownName
from relume.reports.family import braille
from relume.reports.family.braille import signed
from relume.reports.family.curves import exact

SCHEMA = 1
"""Of the JSON forms; new keys may come within a schema."""

ONE_LINE = 100
"""Columns of the overview at most: the longest of its lines is cut there."""

ONE_TABLE = 170
"""Terminals at least this wide get the whole comparison as one table; narrower ones facts and judgment
apart."""

FRAMEWORK_TITLES = {
    "torch": "PyTorch",
    "keras": "Keras layer",
    "keras.activations": "keras.activations",
    "keras.ops": "keras.ops",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
    "onnx": "ONNX",
}

SPAN = (-5.0, 5.0)
"""x of the curves; ReLU6 and others with a kink further out get 2 beyond it."""


def console() -> Console:
    """Where the catalogue is printed: stdout; 100 columns if the width is unknown."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a pipe in ASCII or cp1252 has no − and no braille
    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if told else 100, highlight=False, markup=False, emoji=False)


class RulePage(Protocol):
    """What the catalogue needs of one of the doctor's rules."""

    @property
    def code(self) -> str:
        """As in ``RLM001``."""

    @property
    def name(self) -> str:
        """The pathology: ``dead_unit``."""

    @property
    def page(self) -> str:
        """All about it, in Markdown."""


def find(name: str, rules: Sequence[RulePage]) -> Activation | RulePage:
    """Find the activation or the rule of that name or code; spelling (case, ``-``, ``_``) does not matter.

    Raises: UnknownName: names the nearest, all activations and all rules.
    """
    for rule in rules:
        if name.lower().replace("-", "_") in (rule.code.lower(), rule.name):
            return rule
    try:
        return activations.get(name)
    except UnknownName:
        raise _unknown(name, rules) from None


def _unknown(name: str, rules: Sequence[RulePage]) -> UnknownName:
    shown = {known.lower(): known for known in (*ACTIVATIONS, *(r.code for r in rules), *(r.name for r in rules))}
    nearest = difflib.get_close_matches(name.lower(), shown, n=1, cutoff=0.5)
    guess = f" Did you mean {shown[nearest[0]]!r}?" if nearest else ""
    return UnknownName(
        f"There is no activation or rule {name!r}.{guess} Activations: {', '.join(ACTIVATIONS)}. "
        f"Rules: {', '.join(f'{r.code} {r.name}' for r in rules)}.",
        slug="unknown-entry",
    )


def overview(width: int) -> RenderableType:
    """One line for each activation, for a terminal of ``width`` columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), width=min(width, ONE_LINE))
    table.add_column("Activation", style="bold", no_wrap=True)
    table.add_column("Curve", style="cyan", no_wrap=True)
    table.add_column("Can die?", no_wrap=True)
    table.add_column("When to use", no_wrap=True, overflow="ellipsis", ratio=1)
    for a in ACTIVATIONS.values():
        value = partial(a.value, xp=NUMPY, **a.defaults())
        curve = braille.miniature(value, (-3, 3), (-1.25, 2.75)) if a.elementwise else ""
        table.add_row(a.title, curve, a.can_die.split()[0].rstrip(":,;"), a.when_to_use.split(". ")[0].rstrip("."))
    return Group(table, Text(" Details: relume explain NAME. Everything: relume list --full", style="dim"))


def family(width: int) -> RenderableType:
    """Compare all activations in full, for a terminal of ``width`` columns."""
    facts = ("Formula", "Range", "Can units die?", "Learns", "Backward needs")
    judgement = ("Advantages", "Disadvantages", "When to use")
    if width >= ONE_TABLE:
        return Group(_comparison(facts + judgement, ""), _relatives())
    return Group(_comparison(facts, "The activations"), _comparison(judgement, "Which to use"), _relatives())


def _relatives() -> Text:
    others = ", ".join(a.title for a in ACTIVATIONS.values() if not a.rectifier)
    return Text(f" {others}: not rectifiers, listed for comparison. Details: relume explain NAME", style="dim")


def _comparison(columns: tuple[str, ...], title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", leading=1)
    table.add_column("Activation", style="bold", no_wrap=True)
    for column in columns:
        table.add_column(column, ratio=_SHARES.get(column), overflow="fold")
    for activation in ACTIVATIONS.values():
        cells = _cells(activation)
        table.add_row(activation.title, *(Text(cells[c]) for c in columns))
    return table


_SHARES = {
    "Formula": 5,
    "Range": 3,
    "Can units die?": 5,
    "Advantages": 5,
    "Disadvantages": 5,
    "When to use": 5,
}


def _cells(a: Activation) -> dict[str, str]:
    return {
        "Formula": a.formula,
        "Range": a.range,
        "Can units die?": a.can_die,
        "Learns": "yes" if a.learnable else "no",
        "Backward needs": backward_needs(a),
        "Advantages": a.advantages,
        "Disadvantages": a.disadvantages,
        "When to use": a.when_to_use,
    }


def backward_needs(a: Activation) -> str:
    """What determines the slope: the output, which the next layer keeps anyway, or the input, by the definition.

    The output does if it never falls, and the slope is the same wherever the output is. With its default parameters.
    """
    if a.random or not a.elementwise:
        return "drawn slopes" if a.random else ""
    x, settled = np.linspace(-12.0, 12.0, 4801), a.defaults()
    rises, slope = np.diff(a.value(x, NUMPY, **settled)), a.slope(x, NUMPY, **settled)
    tells = (rises >= 0).all() and not np.diff(slope)[rises == 0].any()
    return "output" if tells and not a.learnable else "input"


def family_dict() -> ListJson:
    """All activations as plain data, for ``--json``."""
    return {"schema": SCHEMA, "activations": [_activation_dict(a) for a in ACTIVATIONS.values()]}


def entry_dict(found: Activation | RulePage) -> ExplainJson:
    """One entry as plain data, for ``--json``."""
    if isinstance(found, Activation):
        return {"schema": SCHEMA, "activation": _activation_dict(found)}
    return {"schema": SCHEMA, "rule": {"code": found.code, "name": found.name, "page": found.page}}


def _activation_dict(a: Activation) -> ActivationJson:
    settled = a.defaults()
    return {
        "name": a.name,
        "title": a.title,
        "aliases": list(a.aliases),
        "formula": a.formula,
        "range": a.range,
        "rectifier": a.rectifier,
        "elementwise": a.elementwise,
        "learnable": a.learnable,
        "random": a.random,
        "backward_needs": backward_needs(a),
        "can_die": a.can_die,
        "dies": a.dies(**settled),
        "saturates": a.saturates,
        "fires_above": _finite(a.fires_above(**settled)),
        "flat": list(a.flat(**settled)),
        "gain": _finite(a.gain(**settled)),
        "gain_note": a.gain_note,
        "advantages": a.advantages,
        "disadvantages": a.disadvantages,
        "when_to_use": a.when_to_use,
        "parameters": [
            {
                "name": p.name,
                "default": p.default,
                "meaning": p.meaning,
                "values": p.interval,
                "learnable": p.learnable,
                "defaults": dict(p.defaults),
            }
            for p in a.parameters
        ],
        "kinks": [{"at": k.at, "slopes": dict(k.slopes)} for k in a.kinks],
        "slope_at_nan": a.slope_at_nan,
        "hazards": list(a.hazards),
        "sources": [{"citation": s.citation, "link": s.link} for s in a.sources],
    }


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def entry(found: Activation | RulePage, width: int) -> RenderableType:
    """One entry in full, for a terminal of ``width`` columns."""
    if not isinstance(found, Activation):
        return Markdown(found.page)
    parts: list[RenderableType] = [_heading(found), "", *_curves(found, width), _facts(found)]
    if found.parameters:
        parts += ["", _section("Parameters, and each framework's default"), _parameters(found)]
    if found.kinks:
        parts += ["", _section("Slope at the kinks, reverse mode"), _kinks(found)]
        parts += [
            _bullet(Text(f"relume's slope: PyTorch's there, in every framework and mode; at nan {found.slope_at_nan}"))
        ]
    if found.hazards:
        parts += ["", _section("Hazards"), *(_bullet(Text(h)) for h in found.hazards)]
    parts += ["", _section("Sources")]
    parts += [_bullet(Text.assemble(s.citation, "\n", (s.link, "dim"))) for s in found.sources]
    return Group(*parts)


def _heading(a: Activation) -> Text:
    kind = "" if a.rectifier else "   not a rectifier; here for comparison"
    return Text.assemble((a.title, "bold"), "   ", a.formula, (kind, "dim"))


def _section(title: str) -> Text:
    return Text(title, style="bold")


def _bullet(text: Text) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=3, justify="right")
    grid.add_column()
    grid.add_row("•", text)
    return grid


def _span(a: Activation) -> tuple[float, float]:
    return SPAN[0], max([SPAN[1], *(float(k.at) + 2 for k in a.kinks)])


def _curves(a: Activation, width: int) -> list[RenderableType]:
    """Draw f and f′ side by side, at the default parameters (RReLU: as in evaluation)."""
    if not a.elementwise:
        return [Text("No curve: it maps a vector to a vector.", style="dim"), ""]
    settled, each, height = a.defaults(), min((width - 4) // 2, 46), 11
    left = braille.panel(lambda x: a.value(x, NUMPY, **settled), _span(a), each, height, "cyan")
    right = braille.panel(lambda x: a.slope(x, NUMPY, **settled), _span(a), each, height, "yellow")
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text(" " * braille.LABEL + "f(x)", style="cyan"), Text(" " * braille.LABEL + "f′(x)", style="yellow"))
    for pair in zip(left, right, strict=True):
        grid.add_row(*pair)
    return [grid, ""]


def _facts(a: Activation) -> Table:
    settled = a.defaults()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    rows = {
        "Values": a.range,
        "When to use": a.when_to_use,
        "Advantages": a.advantages,
        "Disadvantages": a.disadvantages,
        "Can units die?": a.can_die,
        "Saturates": a.saturates + _flat_words(*a.flat(**settled)),
        "Fires": _fires_words(a.fires_above(**settled)),
        "Gain": _gain_words(a),
    }
    for name, text in rows.items():
        grid.add_row(name, Text(text))
    return grid


def _flat_words(below: float | None, above: float | None) -> str:
    ends = [f"below {signed(below)}"] if below is not None else []
    ends += [f"above {signed(above)}"] if above is not None else []
    return f" (|slope| < {FLAT_SLOPE:g} {' and '.join(ends)})" if ends else ""


def _fires_words(edge: float) -> str:
    return f"where its pre-activation is above {signed(edge)}" if isfinite(edge) else "always: it has no off side"


def _gain_words(a: Activation) -> str:
    gain = a.gain(**a.defaults())
    where = " (at the defaults)" if a.parameters else ""
    number = f"{gain:.4f}{where}, which keeps the scale of N(0, 1) pre-activations. " if isfinite(gain) else "none. "
    return (number + a.gain_note).strip()


def _parameters(a: Activation) -> RenderableType:
    frameworks = [f for f in FRAMEWORK_TITLES if any(f in p.defaults for p in a.parameters)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("Name", style="bold", no_wrap=True)
    table.add_column("Values", no_wrap=True)
    for framework in frameworks:
        table.add_column(FRAMEWORK_TITLES[framework], justify="right", overflow="fold")
    for p in a.parameters:
        defaults = [exact(p.defaults[f]) if f in p.defaults else "–" for f in frameworks]
        table.add_row(p.name, p.interval, *defaults)
    meanings = [_bullet(Text.assemble((p.name, "bold"), ": ", p.meaning)) for p in a.parameters]
    return Group(table, *meanings)


def _kinks(a: Activation) -> Table:
    frameworks = [f for f in FRAMEWORK_TITLES if any(f in k.slopes for k in a.kinks)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("At", style="bold", justify="right")
    for framework in frameworks:
        table.add_column(FRAMEWORK_TITLES[framework])
    for kink in a.kinks:
        table.add_row(kink.at, *(Text(kink.slopes.get(f, "–")) for f in frameworks))
    return table

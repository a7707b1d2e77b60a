"""Jinja2 with autoescape, on the base template and the assets of this folder and of the folder that asks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from relume.theme import palette

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

HERE = "relume.theme"

BLANK = ("", "–", "·")


def environment(package: str) -> jinja2.Environment:
    """Templates of ``package``'s folder ``assets``, then of ``relume.theme``.

    In a template ``asset("x.js")`` is the text of an asset, unescaped; ``safe_json(data)`` is data for a script
    element; everything else is escaped.

    Args:
        package: dotted name of the package that asks: ``"relume.page"``.
    """
    import jinja2
    from markupsafe import Markup

    packages = [package, HERE]
    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value.replace(" %", "\u00a0%") if type(value) is str else value,  # no line ends there
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, "assets") for name in packages]),
    )
    made.globals |= {
        "asset": lambda name: Markup(asset(name, packages)),
        "variables": Markup(palette.variables()),
        "color": palette.color,
        "dash": palette.dash,
        "safe_json": safe_json,
        "figures": figures,
    }
    return made


def asset(name: str, packages: list[str]) -> str:
    """The text of an asset, from the first of ``packages`` that has it."""
    for package in packages:
        found = resources.files(package).joinpath("assets", name)
        if found.is_file():
            return found.read_text(encoding="utf-8")
    raise FileNotFoundError(name)


def figures(rows: Sequence[Sequence[Any]]) -> set[int]:
    """The columns after the first whose cells are numbers, or begin with one; blanks and dashes may be among them.

    Example:
        >>> figures([["elu", "×1.5", "exp(x)"], ["relu", "–", 0]])
        {1}
    """
    columns = list(zip(*rows, strict=True))[1:]
    kinds = [{_is_figure(cell) for cell in column if str(cell) not in BLANK} for column in columns]
    return {place for place, kind in enumerate(kinds, 1) if kind == {True}}


def _is_figure(cell: Any) -> bool:
    return str(cell)[:1] in "0123456789+-−×."


def safe_json(data: Any) -> Markup:
    r"""Data as JSON for a script element: no ``<``, ``>`` or ``&`` is left, and nan is refused.

    Example:
        >>> print(safe_json({"name": "</script>"}))
        {"name":"\u003c/script\u003e"}
    """
    from markupsafe import Markup

    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)

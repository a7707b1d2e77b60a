"""Builds the page, as one file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from relume.activations import ACTIVATIONS, Activation
from relume.artifacts.numbers import percent
from relume.errors import RelumeError
from relume.page import contents, depth, drawings, normal
from relume.theme import environment, vega
from relume.theme.palette import LIGHT, TOKENS
from relume.version import __version__

SCRIPTS = (
    "numeric.js",
    "family.js",
    "curves.js",
    "depth.js",
    "network.js",
    "session.js",
    "state.js",
    "tables.js",
    "charts.js",
    "dom.js",
    "lesson-view.js",
    "lesson.js",
    "page.js",
)
"""In the order of their dependencies."""

STILLS = ("plane-left", "plane-right", "unit-left", "unit-right", "time")
"""Pictures of the end of the lesson, drawn by the page itself (``docs/images/page.py``)."""


def build() -> str:
    """The page as HTML.

    Raises: MissingExtra: altair or vl-convert-python is not installed.
    """
    template = environment("relume.page").get_template("page.html")
    charts = {part: drawings.curve(part) for part in ("value", "slope")}
    charts |= {part: drawings.travelled(part) for part in ("forward", "backward")}
    charts |= {"outputs": drawings.outputs()}
    shades = {name: light for name, (light, _) in TOKENS.items()} | {f"c{i}": light for i, light in enumerate(LIGHT)}
    return template.render(
        charts=charts,
        shown=contents.SHOWN,
        all=ACTIVATIONS.values(),
        places={a.name: place for place, a in enumerate(contents.SHOWN)},
        chosen=contents.CHOSEN,
        slider=contents.slider,
        exact=contents.exact,
        inits=depth.INITS,
        chapters=contents.CHAPTERS,
        unit=contents.UNIT,
        stills={name: still(name) for name in STILLS},
        moments=[moments(ACTIVATIONS[name]) for name in contents.CHOSEN],
        ends=[ends(ACTIVATIONS[name]) for name in contents.CHOSEN],
        facts=(contents.FACTS, contents.facts()),
        kinks=contents.kinks(),
        defaults=contents.defaults(),
        which=(contents.WHICH, contents.which()),
        data=contents.data() | {"tokens": shades},
        functions=contents.functions(),
        scripts=SCRIPTS,
        vega=vega(),
        version=__version__,
    )


def save(path: Path) -> None:
    """Write the page to a file; an existing one is replaced.

    Raises:
        MissingExtra: as :func:`build`.
        RelumeError: the file cannot be written.
    """
    if not path.parent.is_dir():  # before the seconds that building takes
        raise _cannot_write(path, "there is no such folder")
    text = build()
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error


def _cannot_write(path: Path, reason: str) -> RelumeError:
    return RelumeError(f"Cannot write {path}: {reason}. Give another -o.", slug="cannot-write")


def still(name: str) -> str:
    """A picture of the lesson."""
    return resources.files("relume.page").joinpath("assets", f"lesson-{name}.svg").read_text(encoding="utf-8")


def moments(a: Activation) -> list[str]:
    """A row of the table of moments."""
    told = normal.moments(a)
    numbers = [told[key] for key in ("mean", "variance", "second", "steep")]
    written = [contents.signed(number if abs(number) > 1e-12 else 0) for number in numbers]
    return [a.title, *written, percent(told["zeros"], 1), contents.signed(a.gain(**a.defaults()))]


def ends(a: Activation) -> list[Any]:
    """A row of the table of remaining signal and gradient."""
    forward, backward = depth.travel(a)
    return [a.title, contents.signed(forward[-1] / forward[0], 3), contents.signed(backward[0], 3)]

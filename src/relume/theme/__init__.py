"""The look that the page and the HTML reports share: colors, theme, charts, and the template beneath them.

One file comes out, which asks nothing of anywhere: :func:`environment` gives Jinja2 with autoescape and the base
template, :class:`Chart` a drawing with its picture, its specification and its table.
"""

from __future__ import annotations

from relume.theme.charts import Chart, altair, vega
from relume.theme.palette import COLOURS, DASHES, colour, dash
from relume.theme.templates import environment, safe_json

__all__ = ["COLOURS", "DASHES", "Chart", "altair", "colour", "dash", "environment", "safe_json", "vega"]

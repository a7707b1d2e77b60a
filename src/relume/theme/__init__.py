"""The look that the page and the HTML reports share: colors, theme, charts, and the template beneath them.

One file comes out, which makes no request: :func:`environment` gives Jinja2 with autoescape and the base
template, :class:`Chart` a drawing with its picture, its specification and its table.
"""

from __future__ import annotations

from relume.theme.charts import Chart, altair, vega
from relume.theme.palette import COLORS, DASHES, color, dash
from relume.theme.templates import environment, safe_json

__all__ = ["COLORS", "DASHES", "Chart", "altair", "color", "dash", "environment", "safe_json", "vega"]

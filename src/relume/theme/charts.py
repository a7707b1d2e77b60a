"""A chart three times: as a picture for every reader, as a Vega-Lite specification for a browser, and as a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from relume.errors import MissingExtra
from relume.theme.palette import token

WIDTH, HEIGHT = 560, 320
"""Size of the picture in points; an interactive chart takes the width of its place and keeps the height."""

FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', Helvetica, Arial, sans-serif"

NOTICE = """/* Vega, Vega-Lite and Vega-Embed, Copyright University of Washington Interactive Data Lab and contributors,
BSD 3-Clause license: https://github.com/vega/vega/blob/main/LICENSE */
"""


def altair() -> Any:
    """The library altair, once vl-convert is there too.

    Raises: MissingExtra: one of the two is not installed.
    """
    try:
        import altair
        import vl_convert
    except ImportError as error:
        raise MissingExtra(
            f"Pictures need {error.name}, which is not installed: pip install 'relume[report]'",
            slug="missing-extra",
        ) from error
    del vl_convert  # altair finds it by itself when it saves
    return altair


def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets ``window.vegaEmbed``: about 0.9 MB.

    Raises: MissingExtra: vl-convert is not installed.
    """
    altair()
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return NOTICE + "(() => {" + bundle.replace("</script", "<\\/script") + "})();"


@dataclass(frozen=True)
class Chart:
    """One chart of a page.

    Attributes:
        name: its id in the page.
        title: above it.
        description: what it shows, in a sentence: read to those who do not see it.
        spec: a Vega-Lite specification, one view or layers of one, without width and height.
        columns: headings of its table.
        rows: its data table, cells as text or numbers.
        height: in points.
        live: False leaves the picture as it is and sends no specification.
        fed: the page's scripts give all named data their rows, so that none need be sent.
    """

    name: str
    title: str
    description: str
    spec: Mapping[str, Any]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = field(default=(), repr=False)
    height: int = HEIGHT
    width: int = WIDTH
    live: bool = True
    fed: bool = False

    def specification(self) -> dict[str, Any]:
        """The specification as the browser and the picture take it: in the theme's colors, without a background."""
        spec = deepcopy(dict(self.spec))
        spec |= {"width": self.width, "height": self.height, "background": "transparent", "padding": 4}
        spec["autosize"] = {"type": "fit", "contains": "padding"}
        own = dict(spec.get("config", {}))
        own.pop("view", None)  # altair's sizes, which are set here
        spec["config"] = configuration() | own
        return spec

    def sent(self) -> dict[str, Any]:
        """The specification for the browser: without the rows if its scripts have them."""
        spec = self.specification()
        for part in [spec, *spec.get("layer", [])]:
            if self.fed and part.get("data", {}).get("name"):
                part["data"] = {"name": part["data"]["name"], "values": []}
        return spec

    def picture(self) -> str:
        """The chart as an SVG element without scripts, in CSS variables with light shades to fall back on.

        Raises: MissingExtra: vl-convert is not installed.
        """
        altair()
        import vl_convert

        svg: str = vl_convert.vegalite_to_svg(self.specification())
        svg = re.sub(r' (xmlns:xlink|version|class|role|aria-[a-z]+)="[^"]*"', "", svg)
        for place, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', svg))):
            own = f"{self.name}-part{place}"  # Vega counts through all pictures of the process
            svg = svg.replace(f'id="{name}"', f'id="{own}"').replace(f"url(#{name})", f"url(#{own})")
        return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def configuration() -> dict[str, Any]:
    """The configuration of every chart: colors are CSS variables, so a change of theme needs no script."""
    ink, muted, rule = token("ink"), token("muted"), token("rule")
    return {
        "font": FONT,
        "aria": False,
        "view": {"stroke": None},
        "axis": {
            "labelFontSize": 14,
            "titleFontSize": 15,
            "titleFontWeight": "normal",
            "labelColor": muted,
            "titleColor": ink,
            "gridColor": rule,
            "domain": False,
            "tickColor": rule,
            "labelFlush": False,
        },
        "legend": {"labelColor": muted, "titleColor": ink, "labelFontSize": 13, "titleFontSize": 13},
        "text": {"fill": ink, "fontSize": 13},
        "rule": {"stroke": token("edge")},
        "line": {"strokeWidth": 3},
    }

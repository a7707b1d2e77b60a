"""Data too large for a page: packed here and unpacked by ``assets/packed.js``."""

from __future__ import annotations

import base64
import gzip
from functools import cache

from relume.theme import vega

PACKAGE = "relume.reports.html"
"""Its ``assets`` have the templates, styles and scripts of every report."""


def packed(text: str) -> str:
    """A text as gzip in base64, for packed.js: half its size, or less."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode("ascii")


@cache
def packed_vega() -> str:
    """Vega, packed."""
    return packed(vega())

"""Vega, too large for a page: packed here and unpacked by ``assets/unpack.js``."""

from __future__ import annotations

import base64
import gzip
from functools import cache

from relume.theme import vega

PACKAGE = "relume.reports.html"
"""Its ``assets`` have the templates, styles and scripts of every report."""


@cache
def packed_vega() -> str:
    """Vega as gzip in base64, a third of its size."""
    return base64.b64encode(gzip.compress(vega().encode(), compresslevel=6, mtime=0)).decode("ascii")

"""Findings → the stable, versioned JSON."""

from __future__ import annotations

import json

from relume.artifacts.findings import Findings


def to_json(findings: Findings) -> str:
    """Indented JSON that any reader takes: no nan, no infinity."""
    return json.dumps(findings.to_dict(), indent=2, allow_nan=False)

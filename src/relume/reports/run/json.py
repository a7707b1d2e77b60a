"""Findings → the stable, versioned JSON."""

from __future__ import annotations

import json
from typing import Any

from relume.artifacts.findings import Findings


def to_json(findings: Findings) -> str:
    """JSON that any reader takes: no nan, no infinity. A line for each site and each finding: lists can be long."""
    parts = [f"  {json.dumps(name)}: {_lines(value)}" for name, value in findings.to_dict().items()]
    return "{\n" + ",\n".join(parts) + "\n}"


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, allow_nan=False)
    return "[\n" + ",\n".join(f"    {json.dumps(part, allow_nan=False)}" for part in value) + "\n  ]"

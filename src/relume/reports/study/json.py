"""Studies → the stable, versioned JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from relume.artifacts.study_findings import SCHEMA, StudyFindings


def to_json(studies: Sequence[StudyFindings]) -> str:
    """Indented JSON that any reader takes: one study as it is, several under ``studies``."""
    told = [findings.to_dict() for findings in studies]
    return json.dumps(told[0] if len(told) == 1 else {"schema": SCHEMA, "studies": told}, indent=2, allow_nan=False)

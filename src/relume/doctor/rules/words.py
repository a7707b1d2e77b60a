"""Phrases that several rules say."""

from __future__ import annotations

from collections.abc import Sequence

from relume.artifacts.findings import Judged


def share(units: Sequence[int], site: Judged) -> str:
    """``7 of 128 units (5.5 %)``."""
    return f"{len(units)} of {site.site.units} units ({len(units) / site.site.units:.1%})"


def died_when(units: Sequence[int], site: Judged) -> str:
    """``since step 200``, or the span of steps in which they died."""
    died = {unit: step for unit, step, kind in site.events if kind == "died"}
    steps = sorted(died[unit] for unit in units if unit in died)
    if not steps:
        return "since the last steps"
    return f"since step {steps[0]:,}" if steps[0] == steps[-1] else f"since steps {steps[0]:,} to {steps[-1]:,}"

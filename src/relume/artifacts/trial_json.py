"""Trials, designs and looks as JSON and back: every float exactly, NaN and infinities as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, cast

from relume.artifacts.trial import Design, InterimAnalysis, Trial, TrialKey
from relume.artifacts.typed import typed


def trial_to_json(trial: Trial) -> dict[str, Any]:
    """One trial; strict JSON: ``nan``, ``inf`` and ``-inf`` are strings."""
    told = {name: getattr(trial, name) for name in _names(Trial) if name not in ("key", "metrics")}
    curves = {name: [[_out(step), _out(value)] for step, value in curve] for name, curve in trial.metrics.items()}
    return {**trial.key._asdict(), **{n: _out(v) for n, v in told.items()}, "metrics": curves}


def trial_from_json(told: Mapping[str, Any]) -> Trial:
    """What :func:`trial_to_json` wrote; unknown keys are ignored.

    Raises: KeyError, ValueError: it is not a trial.
    """
    key = {name: told[name] for name in TrialKey._fields}
    return cast(Trial, typed(Trial, {**told, "key": key}, "trial"))


def design_to_json(design: Design) -> dict[str, Any]:
    """The design, its contenders in full."""
    return asdict(design)


def design_from_json(told: Mapping[str, Any]) -> Design:
    """What :func:`design_to_json` wrote.

    Raises: ValueError: it is not a design.
    """
    return cast(Design, typed(Design, told, "design"))


def look_from_json(told: Mapping[str, Any]) -> InterimAnalysis:
    """One look of those that the study keeps."""
    return cast(InterimAnalysis, typed(InterimAnalysis, told, "looks"))


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind)]


def _out(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value

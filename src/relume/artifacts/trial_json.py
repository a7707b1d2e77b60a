"""Trials, designs and looks as JSON and back: every float as it was, what is not finite as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from relume.artifacts.trial import Contender, Design, InterimAnalysis, Trial, TrialKey


def trial_to_json(trial: Trial) -> dict[str, Any]:
    """One trial; strict JSON: ``nan``, ``inf`` and ``-inf`` are strings."""
    told = {name: getattr(trial, name) for name in _names(Trial) if name not in ("key", "metrics")}
    curves = {name: [[_out(step), _out(value)] for step, value in curve] for name, curve in trial.metrics.items()}
    return {**trial.key._asdict(), **{n: _out(v) for n, v in told.items()}, "metrics": curves}


def trial_from_json(told: Mapping[str, Any]) -> Trial:
    """What :func:`trial_to_json` wrote; keys that are not known are passed over.

    Raises: KeyError, TypeError, ValueError: it is none.
    """
    key = TrialKey(str(told["activation"]), int(told["seed"]), float(told["lr_factor"]), told["stage"])
    curves = {
        str(name): tuple((float(step), float(value)) for step, value in curve)
        for name, curve in told["metrics"].items()
    }
    rest = {n: _in(told[n]) for n in _names(Trial) if n in told and n not in ("key", "metrics")}
    rest |= {n: float(told[n]) for n in ("seconds", "cpu_seconds", "dead_share") if isinstance(told.get(n), str)}
    if rest["status"] not in ("finished", "failed", "diverged", "timeout"):
        raise ValueError(f"status {rest['status']!r}")
    return Trial(key, metrics=curves, **rest)


def design_to_json(design: Design) -> dict[str, Any]:
    """The design, its contenders in full."""
    return asdict(design)


def design_from_json(told: Mapping[str, Any]) -> Design:
    """What :func:`design_to_json` wrote.

    Raises: KeyError, TypeError, ValueError: it is none.
    """
    rest = {n: _in(told[n]) for n in _names(Design) if n in told and n != "contenders"}
    return Design(tuple(_contender(c) for c in told["contenders"]), **rest)


def look_from_json(told: Mapping[str, Any]) -> InterimAnalysis:
    """One look of those that the study keeps."""
    return InterimAnalysis(**{name: _in(told[name]) for name in _names(InterimAnalysis) if name in told})


def _contender(told: Mapping[str, Any]) -> Contender:
    return Contender(**{name: told[name] for name in _names(Contender) if name in told})


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind)]


def _out(value: Any) -> Any:
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _in(value: Any) -> Any:
    return tuple(_in(each) for each in value) if isinstance(value, list) else value

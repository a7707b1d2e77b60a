"""What every report says in the same words: the headline, the names of sites, the columns of their table."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from relume.artifacts.findings import Finding, Findings, Judged
from relume.artifacts.numbers import percent
from relume.artifacts.recording import Site

NONE = "·"
MOST_FINDINGS = 12
"""Findings and places printed in full; the others are counted."""

COUNTS = (
    ("dead", "dead", "bold yellow"),
    ("rare", "rare", ""),
    ("always on", "always_on", ""),
    ("one-sided", "one_sided", ""),
    ("stuck high", "stuck_high", "yellow"),
    ("saturated", "saturated", "yellow"),
    ("NaN or inf", "non_finite", "bold red"),
)
"""The columns that count units: heading, attribute of Judged, style on a terminal."""


def headline(findings: Findings) -> tuple[str, str]:
    """The report in a sentence, and how much was seen: NaN first, then how many units are dead and where."""
    run, sites = findings.run, findings.sites
    if not sites:
        return "No activation was watched.", why_nothing(findings)
    if audited(findings):
        return dead(findings), f"judged from the checkpoint only{at_step(run['steps'])}"
    rest = f"looked at {run['looked']:,} of {run['steps']:,} steps, "
    if run.get("ranks", 1) > 1:
        rest += f"on each of {run['ranks']} ranks, "
    return broken(findings) or dead(findings), f"{rest}{run['samples']:,} samples"


def broken(findings: Findings) -> str:
    """``All 128 units are NaN or infinite since step 14,946; it began at relu1 (train.py:8)``; "" if none is."""
    hit = [judged for judged in findings.sites if judged.non_finite]
    if not hit:
        return ""
    number, units = sum(len(judged.non_finite) for judged in hit), _units(findings)
    steps = [judged.broken_since for judged in hit if judged.broken_since is not None]
    since = f" since step {min(steps):,}" if steps else ""
    which = f"All {units:,} units are" if number == units > 1 else f"{number:,} of {units:,} units {_are(number)}"
    first = [judged for judged in hit if judged.broken_by is None]  # one for each model
    began = "" if len(findings.sites) == 1 else f"; it began at {listed(_places(findings, first))}"
    return f"{which} NaN or infinite{since}{began}"


def dead(findings: Findings) -> str:
    """``36 of 192 units are dead, all in relu2 (train.py:32)``; of several sites, how many."""
    hit = sorted((judged for judged in findings.sites if judged.dead), key=lambda judged: -len(judged.dead))
    number, units = sum(len(judged.dead) for judged in hit), _units(findings)
    if not hit:
        return f"None of {units:,} units is dead" if units > 1 else "The unit is not dead"
    which = f"{number:,} of {units:,} units {_are(number)} dead"
    place = _places(findings, hit[:1])[0]
    if len(hit) == 1:
        return f"{which}, {'all ' * (number > 1)}in {place}"
    return f"{which}, {len(hit[0].dead):,} of them in {place}"


def _units(findings: Findings) -> int:
    return sum(judged.site.units for judged in findings.sites)


def _places(findings: Findings, some: Sequence[Judged]) -> list[str]:
    known = names([judged.site for judged in findings.sites])
    how = "layer {} of {}" if audited(findings) else "{} ({})"
    return [how.format(known[judged.site.key], short_source(judged.site)) for judged in some[:3]]


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def overhead(run: Mapping[str, Any]) -> str:
    """``Overhead: 0.1 s, 4.8 % of training time (budget 2 % or 0.25 s)``; the seconds only while they are few."""
    seconds, share = run.get("overhead_ns", math.inf) / 1e9, run.get("overhead")
    parts = [f"{seconds:.2g} s"] if seconds < FEW_SECONDS else []
    parts += [f"{percent(share)} of training time"] if share is not None else []
    if not parts:
        return ""
    allowance = f" or {run['allowance_ns'] / 1e9:.3g} s" if run.get("allowance_ns") else ""
    above = seconds > FEW_SECONDS and share is not None and share > run.get("budget", 1) + MARGIN
    why = "; 20 µs per step are allowed" if above else ""
    asked = f" (budget {percent(run['budget'])}{allowance}{why})" if run.get("budget") and not run.get("every") else ""
    return f"Overhead: {', '.join(parts)}{asked}"


FEW_SECONDS = 1.0
"""Below this the seconds are given too, because a share of a short run says little."""


MARGIN = 0.005
"""The stated share may exceed the budget by this much without a comment: measured times scatter as much."""


def audited(findings: Findings) -> bool:
    """Whether a checkpoint was judged, and no run."""
    return "audited" in findings.run


def at_step(step: int) -> str:
    """``, at step 500``, or nothing if the checkpoint has no step."""
    return f", at step {step:,}" if step else ""


def unfinished(findings: Findings) -> bool:
    """Whether the run is not finished, or was cut off."""
    return bool(findings.run["script"] and not findings.run.get("finished"))


def failed(findings: Findings) -> str:
    """``the script ended with exit status 1 after 51 steps``; "" if it did not fail."""
    status, steps = findings.run.get("exit"), findings.run["steps"]
    return f"the script ended with exit status {status} after {steps:,} step{'s' * (steps != 1)}" if status else ""


WATCHED = ("torch", "tensorflow", "keras", "jax")
"""The packages of the frameworks that are watched; a run keeps the version of each that was imported."""


def why_nothing(findings: Findings) -> str:
    """Why no activation was watched."""
    run = findings.run
    if audited(findings):
        return "The checkpoint has no linear layer, convolution or batch normalization."
    if unfinished(findings):
        return "The run is not finished, or it was cut off before anything was written."
    if run.get("exit") and not run["steps"]:
        return f"The script ended with exit status {run['exit']} before its first training step."
    if not any(package in run for package in WATCHED):
        return "The script did not import PyTorch, TensorFlow, Keras or JAX."
    if not run["steps"]:
        if "torch" in run or "tensorflow" in run:
            return (
                "The script took no training step: no optimizer step and no backward pass. "
                "To watch a trained PyTorch model, use relume.watch(model, phase='all')."
            )
        return (
            "The script took no training step that relume watches: in JAX, a function under jax.jit that takes "
            "gradients."
        )
    return "relume saw training, but no supported activation in train mode."


def columns(sites: Sequence[Judged]) -> list[tuple[str, str, list[str]]]:
    """(heading, style, a cell for each site): numbers only; a count that is 0 everywhere is left out."""
    cells = [
        (heading, style, [_count(len(getattr(site, name)), heading == "dead" and site.provisional) for site in sites])
        for heading, name, style in COUNTS
    ]
    told = [column for column in cells if column[0] == "dead" or any(cell != NONE for cell in column[2])]
    units = ("units", "", [f"{site.site.units:,}" for site in sites])
    if not any(site.examples for site in sites):  # a checkpoint's: nothing ran
        return [units, *told]
    return [
        units,
        *told,
        ("fires", "", [_fires(site) for site in sites]),
        ("examples", "", [f"{site.examples:,}" for site in sites]),
    ]


def _count(number: int, provisional: bool) -> str:
    return f"{'~' * provisional}{number:,}" if number else NONE


def _fires(judged: Judged) -> str:
    return "" if judged.fires is None else percent(judged.fires, 0)


def told(findings: Sequence[Finding]) -> list[Finding]:
    """The findings shown in full; information that the table shows already is left to ``--json``."""
    return [f for f in findings if f.severity != "info" or f.slug in ("dead_unit", "born_dead")]


def proving(findings: Findings) -> str | None:
    """The command that tries the cures and proves the first that holds.

    None if nothing is to be cured, and for other frameworks and runs of several ranks, which it cannot try.
    """
    run = findings.run
    hit = any(f.cures and f.severity != "info" for f in findings.findings)
    others = "torch" not in run or "keras" in run
    if not hit or not run.get("script") or others or run.get("ranks", 1) > 1:
        return None
    command = shlex.join([str(run["script"]), *map(str, run.get("argv") or [])])
    return f"relume fix {'-m ' * bool(run.get('module'))}{command}"


IN_THE_TABLE = ("dead_unit", "born_dead", *(attribute for _, attribute, _ in COUNTS), "rare_unit")
"""Rules whose units the table counts."""


def noted(findings: Sequence[Finding]) -> list[tuple[Finding, int]]:
    """Information that no table shows: of each rule the first, and how many more there are."""
    rules: dict[str, list[Finding]] = {}
    for f in findings:
        if f.severity == "info" and f.slug not in IN_THE_TABLE:
            rules.setdefault(f.rule, []).append(f)
    return [(found[0], len(found) - 1) for found in rules.values()]


def some(units: Sequence[int], most: int = 16) -> str:
    """The first units by their numbers, and how many there are."""
    shown = ", ".join(str(unit) for unit in units[:most])
    return shown if len(units) <= most else f"{shown}, … ({len(units):,} in all)"


def names(sites: Sequence[Site]) -> dict[str, str]:
    """Key → module and producing layer: ``Sequential.1 · after Linear 8→64``, ``Net · after fc1 (Linear 8→64)``.

    The model's name comes first if there are several models, or if the module's path is only numbers.
    """
    several = len({site.model for site in sites}) > 1
    modules = Counter((site.model, site.module, site.producer) for site in sites)
    return {
        site.key: f"{_name(site, several)}{_after(site, modules[site.model, site.module, site.producer] > 1)}"
        for site in sites
    }


def _name(site: Site, several: bool) -> str:
    if f"{site.module}/".startswith(f"{site.model}/"):  # Keras's paths begin with the model
        return site.module
    if site.model and (several or site.module.replace(".", "").isdigit() or not site.module):
        return f"{site.model}.{site.module}" if site.module else site.model
    return site.module


def _after(site: Site, is_shared: bool) -> str:
    """The producing layer; its path is left out if the activation is a module with its own path."""
    if not site.producer:
        return f" · after {site.layer}" if is_shared and site.layer else ""
    is_module = site.call.startswith("nn.")
    return f" · after {site.producer}" if is_module and not is_shared else f" · after {site.layer} ({site.producer})"


def short_source(site: Site) -> str:
    """``train.py:8``: the file without its folders, and the line; a checkpoint has none."""
    name = PurePath(site.file).name
    return f"{name}:{site.line}" if site.line else name


def source(site: Site) -> str:
    """``src/train.py:8``."""
    return f"{site.file}:{site.line}" if site.line else site.file


def listed(parts: Sequence[str]) -> str:
    """Join words into one: ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)

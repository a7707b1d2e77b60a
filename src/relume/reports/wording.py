"""What every report says in the same words: the headline, the names of sites, the columns of their table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from relume.artifacts.findings import Finding, Findings, Judged
from relume.artifacts.recording import Site

NONE = "·"
MOST_FINDINGS = 12
"""Findings and places printed in full; the rest are counted."""

COUNTS = (
    ("dead", "dead", "bold yellow"),
    ("rare", "rare", ""),
    ("always on", "always_on", ""),
    ("one-sided", "one_sided", ""),
    ("stuck high", "stuck_high", "yellow"),
    ("saturated", "saturated", "yellow"),
    ("not finite", "non_finite", "bold red"),
)
"""The columns that count units: heading, attribute of Judged, style on a terminal."""


def headline(findings: Findings) -> tuple[str, str]:
    """The report in a sentence: how many units are dead, and on how much that was judged."""
    run, sites = findings.run, findings.sites
    if not sites:
        return "No activation was watched.", why_nothing(findings)
    units = sum(judged.site.units for judged in sites)
    dead = sum(len(judged.dead) for judged in sites)
    broken = sum(len(judged.non_finite) for judged in sites)
    first = f"{dead:,} of {units:,} units dead{f', {broken:,} not finite' if broken else ''}"
    if audited(findings):
        return first, f"in {_several(len(sites), 'layer')}; by the checkpoint alone{at_step(run['steps'])}"
    rest = f"at {_several(len(sites), 'site')}; looked at {run['looked']:,} of {run['steps']:,} steps, "
    if run.get("ranks", 1) > 1:
        rest += f"on each of {run['ranks']} ranks, "
    return first, f"{rest}{run['samples']:,} samples"


def audited(findings: Findings) -> bool:
    """Whether a checkpoint was judged, and no run."""
    return "audited" in findings.run


def at_step(step: int) -> str:
    """``, at step 500``, or nothing if the checkpoint does not tell."""
    return f", at step {step:,}" if step else ""


def unfinished(findings: Findings) -> bool:
    """Whether the run goes on, or was cut off."""
    return bool(findings.run["script"] and not findings.run.get("finished"))


def why_nothing(findings: Findings) -> str:
    """Why no activation was watched."""
    run = findings.run
    if audited(findings):
        return "The checkpoint has no linear layer, no convolution and no batch normalization."
    if unfinished(findings):
        return "The run goes on, or was cut off before anything of it was written."
    unwatched = run.get("unwatched")
    if unwatched:
        return f"The script trains with {unwatched}, which is not watched yet; PyTorch is."
    if "torch" not in run:
        return "The script did not import PyTorch."
    if not run["steps"]:
        return (
            "The script took no training step (no optimiser, no backward pass). "
            "A trained model is watched by relume.watch(model, phase='all')."
        )
    return "It trained, but no activation of the family was applied in a training pass."


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
    """The median unit's firing rate."""
    rates = sorted(rate for rate in judged.firing_rate if rate is not None)
    return f"{rates[len(rates) // 2]:.0%}" if rates else ""


def told(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that are told in full: information of which the table shows all is left to ``--json``."""
    return [f for f in findings if f.severity != "info" or f.slug in ("dead_unit", "born_dead")]


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
    return shown if len(units) <= most else f"{shown}, … ({len(units)} in all)"


def names(sites: Sequence[Site]) -> dict[str, str]:
    """Key → module, behind its model's name where there are several models or it is the model itself."""
    several = len({site.model for site in sites}) > 1
    return {site.key: _name(site, several) for site in sites}


def _name(site: Site, several: bool) -> str:
    if site.model and (several or not site.module):
        return f"{site.model}.{site.module}" if site.module else site.model
    return site.module


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


def _several(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number > 1)}"

"""Studies in worlds whose truth is known: how often a verdict is false, an interval misses, a difference is found.

``python tests/lab/simulate.py STUDIES [WORLD …] [needed] [costs]`` writes ``docs/reference/lab-simulations.md``, or
those rows of it. Every study is driven through the public functions, as the command does: tuning, extension, failures,
looks.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from scenes import SCENES, Scene
from scipy.stats import binomtest
from world import Truth, World, design, run, study, truths

from relume.artifacts.trial import Design, InterimAnalysis, Verdict
from relume.lab.judging.verdicts import judge

SEEDS = (5, 8, 20)


@dataclass
class Count:
    """What happened in some studies."""

    studies: int = 0
    false: int = 0
    false_at_first: int = 0
    covered: int = 0
    intervals: int = 0
    all_covered: int = 0
    found: int = 0
    calls: Counter = field(default_factory=Counter)

    @property
    def family_wise(self) -> float:
        return self.false / self.studies

    @property
    def coverage(self) -> float:
        return self.covered / self.intervals

    @property
    def simultaneous(self) -> float:
        return self.all_covered / self.studies


def is_false(scene: Scene, verdict: Verdict, delta: float | None) -> bool:
    truth = scene.truth(verdict.activation)
    return {
        "better": truth <= 1e-12,
        "worse": truth >= -1e-12,
        "equivalent": delta is not None and abs(truth) >= delta - 1e-12,
        "undecided": False,
    }[verdict.verdict]


def covers(bounds: tuple[float, float], truth: float) -> bool:
    return not (bounds[0] > truth or bounds[1] < truth)


def simulate(scene: Scene, seeds: int, studies: int, *, until_decided: bool = False, first: int = 0) -> Count:
    """Counts over studies of one scene; a verdict at any look that is false makes the study false."""
    asked, count = design(len(scene.truths) - 1, seeds, **scene.asked), Count()
    for number in range(first, first + studies):
        world = World(scene.truths, correlation=scene.correlation, seed=number, metric=scene.metric)
        last, printed = study(asked, world, until_decided=until_decided)
        count.studies += 1
        false = [any(is_false(scene, one, asked.delta) for one in look) for look in printed]
        count.false, count.false_at_first = count.false + any(false), count.false_at_first + false[0]
        for one in printed[0]:
            if not math.isnan(one.ci[0]):
                count.intervals += 1
                count.covered += covers(one.ci, scene.truth(one.activation))
        count.all_covered += all(
            covers(one.ci_simultaneous, scene.truth(one.activation)) for look in printed for one in look
        )
        count.calls.update(one.verdict for one in last)
    return count


def power(asked: Design, truth: Truth, studies: int, *, correlation: float = 0.0, base: Truth | None = None) -> float:
    """How often the first contender, the only one that differs, gets the verdict that its ``top`` deserves."""
    base = base or Truth()
    deserved = "better" if truth.top > 0 else "worse"
    found = 0
    for number in range(studies):
        found += study(asked, world_of(asked, truth, base, correlation, number))[0][0].verdict == deserved
    return found / studies


def power_as_needed(
    asked: Design, truth: Truth, studies: int, *, correlation: float = 0.0, base: Truth
) -> tuple[int, int]:
    """How often delta is found, at its next look, by a fresh study with the seeds that a pilot study asked for.

    Pilots that drop the contender ask for none and are left out.

    Returns: (how often, of how many pilots).
    """
    found = pilots = 0
    for number in range(studies):
        told = study(asked, world_of(asked, truth, base, correlation, number))[0][0].seeds_needed
        if told is None:
            continue
        pilots += 1
        seeds = round(math.sqrt(told[0] * told[1]))
        fresh, spent = replace(asked, seeds=seeds), [InterimAnalysis(1, seeds, asked.names[1:], "an earlier question")]
        trials = run(fresh, world_of(asked, truth, base, correlation, number + 10**6), looks=spent)
        found += judge(fresh, trials, spent)[0].verdict == ("better" if truth.top > base.top else "worse")
    return found, pilots


def world_of(asked: Design, truth: Truth, base: Truth, correlation: float, seed: int) -> World:
    return World(truths(len(asked.contenders), base, truth), correlation=correlation, seed=seed)


# ---- the page ------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs/reference/lab-simulations.md"
WORLD = "| world | studies | n = 5 | n = 8 | n = 20 | until decided | `ci` covers, 8 | 20 |"
NEEDED = "| curve | correlation | delta | rates | studies | better | worse |"
COST = "| curve | n | difference | correlation | studies | better | worse | at a known rate |"
INTRODUCTION = """# Simulated studies

Written by `python tests/lab/simulate.py STUDIES [NAME …]`; [the statistics of the lab](lab-statistics.md) say what
the worlds are and what the figures mean. In brackets: the 95 % interval of a share (Clopper and Pearson).
"""
ABOUT = {
    WORLD: "## Studies with a false verdict",
    NEEDED: "## `seeds_needed`: how often a fresh study with that number of seeds finds delta",
    COST: "## How often a true difference is found",
}


def share(hits: float, of: int) -> str:
    low, high = binomtest(round(hits), of).proportion_ci()
    return f"{hits / of:.3f} ({low:.3f}–{high:.3f})"


def world_rows(name: str, studies: int) -> Iterator[str]:
    looks, middle, many = (simulate(SCENES[name], n, studies, until_decided=n == 5) for n in SEEDS)
    false = [share(hits, studies) for hits in (looks.false_at_first, middle.false, many.false, looks.false)]
    yield " | ".join([f"| {name} | {studies}", *false, f"{middle.coverage:.3f} | {many.coverage:.3f} |"])


def needed_rows(studies: int) -> Iterator[str]:
    every = []
    for curvature, correlation, delta in itertools.product((0.05, 0.3, 1.5), (0.0, 0.5), (0.8, 1.5)):
        for asked in ({}, {"factors": (1.0,)})[: 1 + (curvature == 0.3)]:
            base, pilot = Truth(curvature=curvature), design(2, 8, delta=delta, **asked)
            found = [
                power_as_needed(pilot, replace(base, top=top), studies, correlation=correlation, base=base)
                for top in (delta, -delta)
            ]
            every.append(found)
            figures = " | ".join(share(*each) for each in found)
            known = "known" if asked else "tuned"
            yield f"| {curvature} | {correlation:g} | {delta} sd | {known} | {studies} | {figures} |"
    together = [[sum(counts) for counts in zip(*side, strict=True)] for side in zip(*every, strict=True)]
    yield f"| all |  |  |  | {together[0][1]} | {' | '.join(share(*each) for each in together)} |"


def cost_rows(studies: int) -> Iterator[str]:
    for curvature, (seeds, top), correlation in itertools.product((0.05, 0.3, 1.5), ((8, 2.0), (20, 1.2)), (0.0, 0.5)):
        base, tuned, known = Truth(curvature=curvature), design(6, seeds), design(6, seeds, factors=(1.0,))
        found = [
            power(asked, replace(base, top=top), studies, correlation=correlation, base=base)
            for asked, top in ((tuned, top), (tuned, -top), (known, top))
        ]
        figures = " | ".join(share(each * studies, studies) for each in found)
        yield f"| {curvature} | {seeds} | {top} sd | {correlation} | {studies} | {figures} |"


def write(row: str, head: str) -> None:
    """Puts a row into its table, in place of the one with the same cells before the number of studies."""
    tables: dict[str, dict[tuple[str, ...], str]] = {each: {} for each in ABOUT}
    current = ""
    for line in [*(PAGE.read_text().splitlines() if PAGE.exists() else ()), head, row]:
        current = line if line in ABOUT else current
        if line.startswith("| ") and line != current:
            key = tuple(line.split("|")[: current.split("|").index(" studies ")])
            tables[current][key] = line
    parts = [
        "\n".join([ABOUT[head], "", head, "|---" * (head.count("|") - 1) + "|", *rows.values(), ""])
        for head, rows in tables.items()
        if rows
    ]
    PAGE.write_text("\n".join([INTRODUCTION, *parts]))


if __name__ == "__main__":
    studies, names = int(sys.argv[1]), sys.argv[2:] or [*SCENES, "needed", "costs"]
    for name in names:
        head = {"needed": NEEDED, "costs": COST}.get(name, WORLD)
        rows = {NEEDED: needed_rows, COST: cost_rows}.get(head, partial(world_rows, name))
        for row in rows(studies):
            print(row, flush=True)
            write(row, head)

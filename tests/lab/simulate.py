"""Studies in worlds whose truth is known: how often a verdict is false, an interval misses, a difference is found.

``python tests/lab/simulate.py [STUDIES]`` prints the tables of ``docs/reference/lab-statistics.md``. Every study is
driven through the public functions, as the command does: tuning, extension, failures, looks.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from scenes import SCENES, Scene
from world import Truth, World, design, run, study, truths

from relume.artifacts.trial import Design, InterimAnalysis, Verdict
from relume.lab.judging.verdicts import judge

SEEDS = (5, 8, 20)


@dataclass
class Count:
    """What happened in some studies."""

    studies: int = 0
    false: int = 0
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
        count.false += any(is_false(scene, one, asked.delta) for look in printed for one in look)
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


def power_as_needed(asked: Design, truth: Truth, studies: int, *, correlation: float = 0.0, base: Truth) -> float:
    """How often delta is found, at its next look, by a fresh study with the seeds that a pilot study asked for.

    Pilots that drop the contender ask for none and are left out.
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
    return found / pilots


def world_of(asked: Design, truth: Truth, base: Truth, correlation: float, seed: int) -> World:
    return World(truths(len(asked.contenders), base, truth), correlation=correlation, seed=seed)


def rows(studies: int) -> Iterator[str]:
    """The tables; half as many studies at n = 5, which decides little."""
    yield "| world | n = 5 | n = 8 | n = 20 | until decided | `ci` covers, 8 and 20 |\n|---|---|---|---|---|---|"
    for name, scene in SCENES.items():
        few, middle, many = (simulate(scene, seeds, studies // (1 + (seeds == 5))) for seeds in SEEDS)
        all_looks = simulate(scene, 5, studies, until_decided=True)
        false = " | ".join(f"{count.false}/{count.studies}" for count in (few, middle, many, all_looks))
        yield f"| {name} | {false} | {middle.coverage:.2f}, {many.coverage:.2f} |"
    yield "\n| curve | correlation | delta | rates | better | worse |\n|---|---|---|---|---|---|"
    for curvature, delta, correlation in itertools.product((0.05, 0.3, 1.5), (0.8, 1.5), (0.0, 0.5)):
        for asked in ({"factors": (1.0,)}, {}):
            base = Truth(curvature=curvature)
            found = [
                power_as_needed(
                    design(2, 8, delta=delta, **asked), Truth(top=top, curvature=curvature), 2 * studies,
                    correlation=correlation, base=base,
                )
                for top in (delta, -delta)
            ]  # fmt: skip
            known = "known" if asked else "tuned"
            yield f"| {curvature} | {correlation:g} | {delta} sd | {known} | {found[0]:.2f} | {found[1]:.2f} |"
    yield "\n| curve | n | difference | correlation | better | worse | at a known rate |\n|---|---|---|---|---|---|---|"
    for curvature in (0.05, 0.3, 1.5):
        for seeds, top in ((8, 2.0), (20, 1.2)):
            for correlation in (0.0, 0.5):
                base, tuned, known = Truth(curvature=curvature), design(6, seeds), design(6, seeds, factors=(1.0,))
                found = [
                    power(asked, Truth(top, curvature=curvature), studies, correlation=correlation, base=base)
                    for asked, top in ((tuned, top), (tuned, -top), (known, top))
                ]
                figures = " | ".join(f"{share:.2f}" for share in found)
                yield f"| {curvature} | {seeds} | {top} sd | {correlation} | {figures} |"


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 24):
        print(row, flush=True)

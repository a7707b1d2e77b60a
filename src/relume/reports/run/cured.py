"""The changes that a run made while it was watched, in the same words in every report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from relume.reports.run.wording import MOST_FINDINGS, listed


def sentences(run: Mapping[str, Any]) -> list[str]:
    """A line for each kind of change, and for each place that was not changed; none if the run changed nothing."""
    facts = run.get("cures")
    if not facts:
        return []
    training = [each["what"] for each in facts["changed"] if "step" not in each and " → " not in each["what"]]
    told = [*(f"Done: {what}" for what in training), *_swapped(facts["changed"]), *_revived(facts["changed"])]
    left = [f"{each['place']}: {each['what']}" for each in facts["left"]]
    told += [f"Not changed: {text}" for text in left[:MOST_FINDINGS]]
    if len(left) > MOST_FINDINGS:
        told.append(f"… and {len(left) - MOST_FINDINGS} more places not changed; --json has all")
    return told or ["Nothing was changed"]


def _swapped(changed: Sequence[Mapping[str, Any]]) -> list[str]:
    places: dict[str, list[str]] = defaultdict(list)
    for each in changed:
        if "step" not in each and " → " in each["what"]:
            places[each["what"]].append(each["place"])
    return [
        f"Swapped {what}: {listed(found[:4]) if len(found) < 5 else _some(found)}" for what, found in places.items()
    ]


def _some(places: Sequence[str]) -> str:
    return f"{', '.join(places[:3])} and {len(places) - 3} more places"


def _revived(changed: Sequence[Mapping[str, Any]]) -> list[str]:
    """``Revived 31 units of relu2, 40 times, from step 100 to step 400``."""
    by_place: dict[str, list[tuple[int, Sequence[int]]]] = defaultdict(list)
    for each in changed:
        if "step" in each:
            by_place[each["place"]].append((each["step"], each["units"]))
    lines = []
    for place, found in by_place.items():
        units, times = len({unit for _, each in found for unit in each}), sum(len(each) for _, each in found)
        steps = sorted({step for step, _ in found})
        again = f", {times} times in all" if times > units else ""
        when = f"at step {steps[0]:,}" if len(steps) == 1 else f"from step {steps[0]:,} to step {steps[-1]:,}"
        lines.append(f"Revived {units} unit{'s' * (units != 1)} of {place}{again}, {when}")
    return lines

"""Planted causes are named: the unit that was killed is dead, and why is what was planted."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from helpers import planted_causes as planted

import relume

CASES = [(name, network) for name, plant in planted.PLANTS.items() for network in plant.networks]


def run(name, network, seed, with_cause=True, every=1):
    plant = planted.PLANTS[name]
    torch.manual_seed(seed)
    net = network()
    if with_cause or name not in ("born_dead", "zero_input"):
        plant.prepare(net)
    with relume.watch(net, every=every, window=max(10, every)) as watch:
        planted.train(net, plant, with_cause)
    report = watch.to_dict()
    return next(site for site in report["sites"] if site["layer"] in (plant.layer, "norm"))


def named(name, network, seed, every=1):
    """Which kinds of cause the planted units were given."""
    site = run(name, network, seed, every=every)
    units = site["dead"] if planted.PLANTS[name].whole else [planted.UNIT]
    assert set(units) <= set(site["dead"])
    assert all(cause["evidence"] for cause in site["cause"].values())
    return [site["cause"][str(unit)]["kind"] for unit in units]


@pytest.mark.parametrize(("name", "network"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_the_planted_cause_is_named(name, network):
    (most, _), *_ = Counter(named(name, network, seed=0)).most_common()
    assert most == planted.PLANTS[name].cause


@pytest.mark.parametrize(("name", "network"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_without_the_planted_cause_the_unit_lives(name, network):
    site = run(name, network, seed=0, with_cause=False)
    assert planted.UNIT not in site["dead"]


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 4, 16])
def test_nine_kinds_over_ten_seeds_are_named_in_nine_of_ten_however_far_apart_the_looks_are(every):
    right = Counter()
    total = Counter()
    for name, network in CASES:
        for seed in range(10):
            kinds = named(name, network, seed, every)
            total[name] += len(kinds)
            right[name] += kinds.count(planted.PLANTS[name].cause)
    assert all(right[name] >= 0.9 * total[name] for name in total), (right, total)

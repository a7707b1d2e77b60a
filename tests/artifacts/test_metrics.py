"""Findings as numbers for loggers: names, values, and what is left out."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

import relume

DEAD = -50


class Net(nn.Module):
    """A shared module at two places, functions behind two layers, and a module with an odd name."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d, self.e = (nn.Linear(8, 8) for _ in range(5))
        self.act = nn.ReLU()
        self.block = nn.Module()
        self.block.add_module("my act/1", nn.ReLU())
        with torch.no_grad():
            self.a.bias[0] = self.c.bias[1] = self.c.bias[2] = DEAD

    def forward(self, x):
        x = self.act(self.b(self.act(self.a(x))))
        x = F.relu(self.d(F.relu(self.c(x))))
        return self.block.get_submodule("my act/1")(self.e(x))


def watched(net, batch=32, steps=20, **options):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    with relume.watch(net, budget=1.0, **options) as watch:
        for _ in range(steps):
            net(torch.randn(batch, 8)).square().mean().backward()
            optimizer.step()
    return watch


def test_names_are_short_distinct_and_fit_for_loggers():
    torch.manual_seed(0)
    watch = watched(Net())
    assert watch.findings().names == ("act", "act-2", "c.relu", "d.relu", "block.my_act_1")
    assert [site["module"] for site in watch.to_dict()["sites"]] == ["act", "act", "", "", "block.my act/1"]


def test_dead_units_and_shares_of_each_site_and_of_all():
    torch.manual_seed(0)
    watch = watched(Net())
    metrics, sites = watch.to_metrics(), watch.to_dict()["sites"]
    dead = [len(site["dead"]) for site in sites]
    assert dead[0] >= 1
    assert dead[2] >= 2
    for name, site in zip(("act", "act-2", "c.relu", "d.relu", "block.my_act_1"), sites, strict=True):
        assert metrics[f"relume/{name}/dead"] == len(site["dead"])
        assert metrics[f"relume/{name}/dead_share"] == len(site["dead"]) / 8
        assert math.isclose(metrics[f"relume/{name}/firing_rate"], sum(site["firing_rate"]) / 8)
        assert metrics[f"relume/{name}/examples"] == site["examples"]
    assert metrics["relume/units"] == 40
    assert metrics["relume/dead"] == sum(dead)
    assert metrics["relume/dead_share"] == sum(dead) / 40
    assert metrics["relume/overhead"] == watch.to_dict()["run"]["overhead"] > 0


def test_sites_that_were_seen_too_little_give_only_their_rates():
    metrics = watched(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), batch=4, steps=5).to_metrics()
    assert set(metrics) - {"relume/overhead"} == {"relume/1/firing_rate", "relume/1/examples"}
    assert metrics["relume/1/examples"] == 20


def test_an_empty_watch_and_nan_give_only_finite_numbers():
    assert relume.watch(nn.Linear(2, 2)).to_metrics().keys() <= {"relume/overhead"}
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    with torch.no_grad():
        net[0].bias[1] = float("nan")
    metrics = watched(net).to_metrics()
    assert metrics["relume/1/dead"] == 0
    assert all(math.isfinite(number) for number in metrics.values())


def test_names_do_not_change_from_run_to_run():
    one, other = (watched(Net(), steps=3 + i).findings().names for i in range(2))
    assert one == other

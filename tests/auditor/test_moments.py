"""Adam's moments date the last gradient of a unit: against the steps at which gradients came."""

from __future__ import annotations

import random

import pytest
import torch
from helpers import trained
from torch import nn

import relume

network, train = trained.network, trained.train

STEPS = 2500
KILLED = 64


@pytest.fixture(scope="module", params=range(3))
def planted(request, tmp_path_factory):
    """(findings of the first layer, age of each unit's last gradient): 64 of 128 units killed, 5 to 2,400 steps ago."""
    torch.manual_seed(request.param)
    draw = random.Random(request.param)
    ages = [draw.randint(5, 900) for _ in range(48)] + [draw.randint(900, 2400) for _ in range(KILLED - 48)]
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    deaths = {unit: STEPS - 1 - age for unit, age in enumerate(ages)}
    last = train(model, optimizer, STEPS, deaths, seed=request.param)
    file = tmp_path_factory.mktemp("planted") / "last.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    return relume.audit(file).sites[0], [STEPS - 1 - step for step in last]


def test_no_living_unit_is_called_dead_and_none_dead_for_long_is_missed(planted):
    site, ages = planted
    assert [unit for unit in site.dead if unit >= KILLED] == []
    assert [unit for unit in range(KILLED) if ages[unit] > 110 and unit not in site.dead] == []
    assert [unit for unit in site.dead if ages[unit] < 75] == []


def test_deaths_of_100_to_800_steps_are_dated_within_20(planted):
    site, ages = planted
    dated = {unit: STEPS - step for unit, step, _ in site.events}
    errors = [abs(dated[unit] - ages[unit]) for unit in dated if 100 <= ages[unit] <= 800]
    assert len(errors) > 20
    assert max(errors) <= 20


def test_a_death_older_than_the_memory_of_the_moments_is_only_dated_as_older(planted):
    site, ages = planted
    dated = {unit for unit, _, _ in site.events}
    old = [unit for unit in range(KILLED) if ages[unit] > 1000]
    assert old
    assert not dated & set(old)
    assert all("for more than" in site.cause[unit].says for unit in old)


def test_a_unit_that_died_early_in_a_short_run_is_dated_too(tmp_path):
    torch.manual_seed(5)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    train(model, optimizer, 400, {3: 50, 9: 150})
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    site = relume.audit(tmp_path / "a.pt").sites[0]
    assert site.dead == (3, 9)
    assert {unit: step for unit, step, _ in site.events} == pytest.approx({3: 50, 9: 150}, abs=20)


def test_a_unit_without_a_single_gradient_is_born_dead(tmp_path):
    torch.manual_seed(6)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    train(model, optimizer, 200, {12: 0})
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    site = relume.audit(tmp_path / "a.pt").sites[0]
    assert site.born_dead == site.dead == (12,)
    assert "in any of 200 steps" in site.cause[12].says


def test_moments_that_vanished_in_a_long_run_do_not_say_that_there_never_was_a_gradient(tmp_path):
    layer = nn.Linear(8, 16)
    optimizer = torch.optim.Adam(layer.parameters(), betas=(0.8, 0.9))
    for step in range(2500):
        fires = torch.arange(16) != 4 if step > 100 else torch.ones(16, dtype=bool)
        layer.weight.grad, layer.bias.grad = torch.randn(16, 8) * fires[:, None], torch.randn(16) * fires
        optimizer.step()
    for parameter in (layer.weight, layer.bias):
        for moment in ("exp_avg", "exp_avg_sq"):
            numbers = optimizer.state[parameter][moment]
            assert numbers[4].abs().max() < 1e-38
            numbers[4] = 0  # as on a device that sets subnormal numbers to zero
    torch.save([layer.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    site = relume.audit(tmp_path / "a.pt").sites[0]
    assert (site.dead, site.born_dead) == ((4,), ())
    assert "for more than 809 steps" in site.cause[4].says


def test_too_few_steps_give_no_verdict(tmp_path):
    torch.manual_seed(6)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    train(model, optimizer, 60, {12: 0})
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    assert relume.audit(tmp_path / "a.pt").sites[0].dead == ()


@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.95, 0.999), (0.8, 0.99)])
def test_decay_rates_come_from_the_file(tmp_path, betas):
    torch.manual_seed(7)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, betas=betas)
    train(model, optimizer, 800, {3: 600, 5: 500})
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    site = relume.audit(tmp_path / "a.pt").sites[0]
    assert {unit: step for unit, step, _ in site.events} == pytest.approx({3: 600, 5: 500}, abs=25)


def test_a_layer_whose_every_unit_is_dead_is_dead(tmp_path):
    torch.manual_seed(8)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    train(model, optimizer, 500, dict.fromkeys(range(128), 300))
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    first, _, third = relume.audit(tmp_path / "a.pt").sites
    assert len(first.dead) == 128
    assert third.dead == ()


def test_a_layer_whose_units_have_a_gradient_now_and_then_is_not_dead_between_two(tmp_path):
    """Of 300 units each has a gradient in 3 % of the steps: gaps of 95 steps and more are usual among so many."""
    layer = nn.Linear(8, 300)
    optimizer = torch.optim.Adam(layer.parameters())
    draw = torch.Generator().manual_seed(0)
    last = torch.zeros(300)
    for step in range(1500):
        fires = torch.rand(300, generator=draw) < 0.03
        fires[11] &= step < 500
        last[fires] = step
        layer.weight.grad = torch.randn(300, 8, generator=draw) * fires[:, None]
        layer.bias.grad = torch.randn(300, generator=draw) * fires
        optimizer.step()
    assert (1499 - last > 100).sum() > 5
    torch.save([layer.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    assert relume.audit(tmp_path / "a.pt").sites[0].dead == (11,)


def test_batches_of_one_with_gaps_between_gradients_are_not_deaths(tmp_path):
    torch.manual_seed(9)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    last = train(model, optimizer, 1500, {3: 500}, batch=1)
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "a.pt")
    assert max(age for unit, age in enumerate(1499 - step for step in last) if unit != 3) > 5
    assert relume.audit(tmp_path / "a.pt").sites[0].dead == (3,)

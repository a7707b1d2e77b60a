"""Signs of life between the looks: what they date, what they must not, and that no verdict rests on them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume
from relume.observe import budget
from relume.torch.watching.signs import Reading, Signs

FAR = 40  # steps from look to look
KILL = 130
LOOK = 160  # the first one behind it


@pytest.fixture(autouse=True)
def signs_are_read_at_each_step(monkeypatch):
    monkeypatch.setattr(budget, "_FOR_SIGNS", 1e9)


def watching(net):
    """A watch that looks at each 40th step and reads signs between, whatever the steps take."""
    watch = relume.watch(net, every=FAR)
    watch._observer._thorough = False
    return watch


def mlp(activation=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), activation(), nn.Linear(12, 4))


def kill(layer, unit):
    with torch.no_grad():
        layer.bias[unit] = -1e4


def train(net, optimizer, loss_of, steps=600, before=lambda step: None, zero=lambda step: True):
    for step in range(steps):
        before(step)
        loss = loss_of(net, step)
        if zero(step):
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def plain_loss(net, step):
    return net(torch.randn(64, 8)).square().mean()


def trained(net, loss_of=plain_loss, layer=0, unit=3, rate=1e-3, **how):
    """Train and kill a unit at step 130; returns the report of its site."""
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    with watching(net) as watch:
        train(net, optimizer, loss_of, before=lambda step: kill(net[layer], unit) if step == KILL else None, **how)
    return watch.to_dict()["sites"][0]


def test_a_death_is_dated_between_the_looks_to_the_readings():
    site = trained(mlp())
    assert site["dead"] == [3]
    assert KILL <= site["died_at"]["3"] <= KILL + 2
    assert site["events"] == [[3, site["died_at"]["3"], "died"]]


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.LayerNorm])
def test_the_shift_of_a_normalisation_shows_signs(norm):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 12, bias=False), norm(12), nn.ReLU(), nn.Linear(12, 4))
    site = trained(net, layer=1)
    assert site["dead"] == [3]
    assert KILL <= site["died_at"]["3"] <= KILL + 2


def test_accumulated_gradients_are_those_of_the_step():
    def loss_of(net, step):
        for _ in range(3):
            net(torch.randn(16, 8)).square().mean().backward()
        return net(torch.randn(16, 8)).square().mean()

    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net) as watch:
        for step in range(600):
            if step == KILL:
                kill(net[0], 3)
            optimizer.zero_grad()
            loss_of(net, step).backward()
            optimizer.step()
    site = watch.to_dict()["sites"][0]
    assert site["dead"] == [3]
    assert KILL <= site["died_at"]["3"] <= KILL + 2


def test_signs_that_go_on_behind_a_death_leave_it_to_the_look():
    """A penalty in the loss, and gradients that are never zeroed: neither says that the unit fires."""
    penalty = trained(mlp(), lambda net, step: plain_loss(net, step) + 1e-6 * net[0].bias.square().sum())
    kept = trained(mlp(), zero=lambda step: step < KILL, rate=1e-6)
    for site in (penalty, kept):
        assert site["dead"] == [3]
        assert site["died_at"] == {"3": LOOK}


def test_a_layer_with_two_sites_behind_it_shows_no_signs():
    class Twice(nn.Sequential):
        def forward(self, x):
            z = self[0](x)
            return self[1](F.relu(z) + F.relu(z * 2))

    torch.manual_seed(0)
    net = Twice(nn.Linear(8, 12), nn.Linear(12, 4))
    assert trained(net)["died_at"] == {"3": LOOK}


def test_a_unit_whose_gradient_is_zero_is_not_dead_while_it_fires():
    """What lies behind the layer is dead: no gradient comes back to units that go on firing."""

    def loss_of(net, step):
        return plain_loss(net, step) * (step < KILL)

    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net) as watch:
        train(net, optimizer, loss_of)
    site = watch.to_dict()["sites"][0]
    assert site["dead"] == []
    assert site["events"] == []
    assert site["examples"] >= 300


def test_units_that_cannot_die_and_layers_without_a_bias_show_no_signs():
    torch.manual_seed(0)
    without = nn.Sequential(nn.Linear(8, 12, bias=False), nn.ReLU(), nn.Linear(12, 4))
    for net in (mlp(nn.LeakyReLU), mlp(nn.GELU), mlp(nn.PReLU), without):
        with watching(net) as watch:
            train(net, torch.optim.SGD(net.parameters(), lr=1e-3), plain_loss, steps=3)
            assert [site.signs for site in watch._observer._probe.sites] == [None]


def test_a_step_without_gradients_is_no_sign_of_silence(monkeypatch):
    """A layer that is left out in some steps: its units are not missed, and its gradient is not made."""

    class Skipping(nn.Sequential):
        def forward(self, x):
            return self[2](F.relu(self[1](x))) if self.train_all else self[2](x)

    torch.manual_seed(0)
    net = Skipping(nn.Identity(), nn.Linear(8, 8), nn.Linear(8, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    asked, readings, read = [], [], Reading.read
    monkeypatch.setattr(Reading, "read", lambda self, *what: readings.append(what) or read(self, *what))
    with watching(net) as watch:
        told = watch._observer.signs_read
        watch._observer.signs_read = lambda clock, fresh, *more: asked.append(fresh) or told(clock, fresh, *more)
        for step in range(400):
            net.train_all = step % FAR < 10
            optimizer.zero_grad()
            plain_loss(net, step).backward()
            assert net.train_all or net[1].bias.grad is None
            optimizer.step()
            assert net.train_all or net[1].bias.grad is None
    assert len(readings) > 380
    assert len(asked) > 40
    assert not any(asked)


def test_the_gradients_of_a_gan_are_read_at_their_own_optimisers_steps():
    """The generator's backward leaves gradients in the discriminator, also where the discriminator is at rest."""
    torch.manual_seed(0)
    generator, discriminator = mlp(), nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 1))
    both = nn.ModuleDict({"g": generator, "d": discriminator})
    g_optimizer = torch.optim.SGD(generator.parameters(), lr=1e-3)
    d_optimizer = torch.optim.SGD(discriminator.parameters(), lr=1e-3)
    with watching(both) as watch:
        for step in range(600):
            if step == KILL:
                kill(generator[0], 3)
                kill(discriminator[0], 5)
            fake = generator(torch.randn(64, 8))
            d_optimizer.zero_grad()
            (discriminator(fake.detach()).mean() - discriminator(torch.randn(64, 4)).mean()).backward()
            d_optimizer.step()
            g_optimizer.zero_grad()
            discriminator(fake).mean().backward()
            g_optimizer.step()
    for site in watch.to_dict()["sites"]:
        unit = {"g.1": "3", "d.1": "5"}[site["module"]]
        assert site["dead"] == [int(unit)]
        assert KILL <= site["died_at"][unit] <= KILL + 2


def test_gradients_that_are_not_numbers_are_no_signs():
    def loss_of(net, step):
        return plain_loss(net, step) * (float("nan") if KILL <= step < LOOK - 20 else 1.0)

    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    with watching(net) as watch:
        train(net, optimizer, loss_of, before=lambda step: kill(net[0], 3) if step == KILL else None)
    site = watch.to_dict()["sites"][0]
    assert KILL <= site["died_at"]["3"] <= KILL + 2


def test_bfloat16_gradients_are_read_too():
    net = mlp().bfloat16()
    site = trained(net, lambda net, step: net(torch.randn(64, 8, dtype=torch.bfloat16)).square().mean())
    assert KILL <= site["died_at"]["3"] <= KILL + 2


def test_a_unit_that_loses_its_signs_is_missed_once_and_one_that_turns_out_alive_later_next_time():
    """Read by hand: unit 0 always has a sign, 1 never, 2 until step 100, 3 seldom."""
    bias = nn.Parameter(torch.zeros(4))
    site = SimpleNamespace(signs=Signs(bias, 4), layer=bias)
    reading, optimizer = Reading(), torch.optim.SGD([bias], lr=0.1)
    missed = {}
    for step in range(800):
        bias.grad = torch.tensor([1.0, 0.0, float(step < 100), float(step % 40 == 0)])
        if reading.read(optimizer, Sites([site]), step):
            fresh, _ = reading.look_through()
            missed[step] = fresh
    assert [step for step, fresh in missed.items() if fresh and step > 90] == [101]
    assert 0 < sum(missed.values()) <= 4
    assert site.signs.quiet_since().tolist() == [-1, -1, 100, 761]


class Sites(list):
    met = 1

"""The terms of a death: what old weights would make of new inputs is what the layer itself makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume
from relume.torch.watching.causes.death_terms import DeathTerms
from relume.torch.watching.causes.layer_calls import NormCall, call_of

CALLS = {
    "linear": (F.linear, (40, 6), (10, 6), {}),
    "linear, wide": (F.linear, (900, 300), (400, 300), {}),
    "conv1d": (F.conv1d, (9, 4, 30), (10, 4, 3), {"stride": 2, "padding": 1}),
    "conv2d": (F.conv2d, (9, 4, 12, 11), (10, 4, 3, 2), {"padding": (1, 0), "dilation": 2}),
    "conv2d, groups": (F.conv2d, (5, 4, 12, 12), (10, 2, 3, 3), {"groups": 2, "stride": (1, 2)}),
    "conv2d, large": (F.conv2d, (20, 3, 70, 70), (10, 3, 3, 3), {"padding": 1}),
    "conv3d": (F.conv3d, (3, 2, 6, 7, 8), (10, 2, 3, 3, 3), {"padding": 1}),
}


def called(function, x, weight, bias, how):
    z = function(x, weight, bias, **how)
    call = call_of(function, (x, weight, bias), how, z, -1)
    call.sample(z)
    return call


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("units", [np.array([0, 3, 9]), slice(None)], ids=["some", "all"])
def test_the_level_with_the_old_parameters_equals_the_layers_output_with_them(name, units):
    function, inputs, weights, how = CALLS[name]
    torch.manual_seed(0)
    x, old, new = torch.randn(inputs), torch.randn(weights), torch.randn(weights)
    bias, shift = torch.randn(len(old)), torch.randn(len(old))
    call = called(function, x, new, bias + shift, how)
    change = (new - old).reshape(len(old), -1).numpy()[units]
    level, error = call.level_without(units, change, shift.numpy()[units], None)
    by_hand = called(function, x, old, bias, how)
    np.testing.assert_allclose(level, by_hand.levels()[1][units], rtol=1e-4, atol=1e-3)
    assert (error > 0).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_level_of_a_normalization_follows_its_scale_and_its_shift(sign):
    torch.manual_seed(0)
    x = torch.randn(64, 5)

    def call(scale, shift):
        z = F.batch_norm(x, None, None, scale, shift, training=True)
        made = NormCall(z, x, scale, shift, -1, 1)
        made.sample(z)
        return made

    old, new = call(sign * torch.full((5,), 2.0), torch.full((5,), 1.0)), call(sign * torch.rand(5), torch.zeros(5))
    change = new.parameters()[0] - old.parameters()[0]
    level, _ = new.level_without(np.arange(5), change, new.parameters()[1] - 1.0, np.zeros(5))
    np.testing.assert_allclose(level, old.levels()[1], rtol=1e-3)
    gone = call(torch.zeros(5), torch.zeros(5))
    level, _ = gone.level_without(np.arange(5), change, change[:, 0], np.full(5, 7.0, np.float32))
    assert (level == 7.0).all()  # a scale of 0 hides what came in


def test_a_unit_that_fired_after_its_silence_is_reported_when_it_is_silent_again():
    torch.manual_seed(0)
    terms, x, weight = DeathTerms(0.0), torch.randn(32, 3), torch.randn(2, 3)

    def take(step, bias):
        call = called(F.linear, x, weight, torch.tensor([bias, 0.0]), {})
        terms.take(call, 64, step, 0.1)

    take(0, 0.0)
    take(10, -20.0)
    assert terms.deaths(np.array([12, 30])) == []  # looks that keep no terms saw it fire at step 12
    take(20, -30.0)
    (death,) = terms.deaths(np.array([-1, 30]))
    assert (death.unit, death.before, death.after) == (0, 0, 20)
    assert death.by_bias == pytest.approx(-30.0)
    assert death.by_input == pytest.approx(0.0, abs=1e-5)
    assert terms.deaths(np.array([-1, 40])) == []


def test_a_batch_far_smaller_than_the_others_is_skipped():
    torch.manual_seed(0)
    terms, x, weight = DeathTerms(0.0), torch.randn(32, 3), torch.randn(4, 3)
    for step in range(8):
        part = x[: 1 if step % 2 else 32]
        call = called(F.linear, part, weight, torch.full((4,), -9.0 if step % 2 else 1.0), {})
        terms.take(call, 4 * len(part), step, 0.1)
    assert terms.deaths(np.full(4, 6)) == []


def test_weights_that_move_without_an_optimizer_are_not_frozen():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    with relume.watch(net, every=1) as watch:
        for step in range(60):
            net(torch.randn(32, 6)).square().mean().backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= 0.01 * p.grad
                    p.grad = None
                if step == 30:
                    net[0].bias[3] -= 20.0
    (site,) = watch.to_dict()["sites"]
    assert site["cause"]["3"]["kind"] == "large update"

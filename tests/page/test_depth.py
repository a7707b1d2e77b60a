"""The still picture of 50 layers: gradients against PyTorch's, sizes against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from relume.activations import ACTIVATIONS
from relume.page import depth


def by_autograd(function, scale):
    """The same network, with PyTorch's gradients."""
    weights = depth._normals(1, depth.LAYERS * depth.WIDTH**2).reshape(depth.LAYERS, depth.WIDTH, depth.WIDTH)
    h = torch.from_numpy(depth._normals(2, depth.EXAMPLES * depth.WIDTH).reshape(depth.EXAMPLES, depth.WIDTH))
    seen = []
    for weight in torch.from_numpy(weights * scale):
        z = (h @ weight.T).requires_grad_() if not seen else h @ weight.T
        z.retain_grad()
        seen.append(z)
        h = function(z)
    last = torch.from_numpy(depth._normals(3, depth.EXAMPLES * depth.WIDTH).reshape(depth.EXAMPLES, depth.WIDTH))
    (seen[-1] * last).sum().backward()
    return [float((z.detach() ** 2).mean()) for z in seen], [float((z.grad**2).mean()) for z in seen]


@pytest.mark.parametrize(
    ("name", "function"), [("relu", F.relu), ("elu", F.elu), ("gelu", F.gelu), ("tanh", torch.tanh)]
)
def test_signal_and_gradient_are_pytorchs(name, function):
    forward, backward = depth.travel(ACTIVATIONS[name], init="he")
    expected = by_autograd(function, np.sqrt(2 / depth.WIDTH))
    np.testing.assert_allclose(forward, expected[0], rtol=1e-9)
    np.testing.assert_allclose(backward, expected[1], rtol=1e-9)


def test_the_inits_match_their_names():
    first = {init: depth.travel(ACTIVATIONS["elu"], init=init)[0][0] for init in depth.INITS}
    gain = ACTIVATIONS["elu"].gain()
    assert first["lecun"] == pytest.approx(first["he"] / 2)
    assert first["linear"] == pytest.approx(first["lecun"] / 3)
    assert first["own"] == pytest.approx(first["lecun"] * gain**2)


def test_the_random_numbers_are_normal():
    drawn = depth._normals(1, depth.LAYERS * depth.WIDTH**2)
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    assert abs(np.mean(np.abs(drawn) < 1) - 0.6827) < 0.005

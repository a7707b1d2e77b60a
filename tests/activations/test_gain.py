"""``relume.gain``: the numbers, that initialisers take them, and that they keep the scale through twenty layers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import relume
import relume.numpy
from relume.activations import ACTIVATIONS
from relume.errors import ParameterError, UnknownName

DEPTH, WIDTH, EXAMPLES = 20, 1024, 128
CASES = [
    ("relu", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("prelu", {}),
    ("rrelu", {}),
    ("rrelu", {"lower": 0.0, "upper": 1.0}),
    ("relu6", {}),
    ("elu", {}),
    ("elu", {"alpha": 0.5}),
    ("celu", {"alpha": 2.0}),
    ("selu", {}),
    ("gelu", {}),
    ("silu", {}),
    ("tanh", {}),
    ("relu_squared", {}),
    ("leaky_squared", {"negative_slope": 0.8}),
    *((name, {}) for name in ("mish", "hardswish", "softplus", "hardsigmoid")),
    ("softplus", {"beta": 3.0}),
]
FAMILY = [case for case in CASES if ACTIVATIONS[case[0]].rectifier and "squared" not in case[0]]
"""SiLU, GELU and the squares have a gain too, but one from which the scale drifts away: they bend where it grows."""


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_gain_equals_pytorchs_when_both_come_from_the_same_paper(name):
    assert relume.gain(name) == pytest.approx(nn.init.calculate_gain(name))
    assert relume.gain("leaky_relu", negative_slope=0.2) == pytest.approx(nn.init.calculate_gain("leaky_relu", 0.2))


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_gain_is_the_second_moment_of_a_million_normal_numbers(name, parameters):
    z = np.random.default_rng(0).normal(size=1_000_000)
    random = {"training": True, "rng": 1} if name == "rrelu" else {}
    y = getattr(relume.numpy, name)(z, **parameters, **random)
    assert relume.gain(name, **parameters) == pytest.approx(1 / np.sqrt(np.mean(y**2)), rel=5e-3)


def scale_after(name, parameters, gain, seed):
    """E[z²] of the pre-activations of the last of twenty layers ÷ that of the first."""
    rng = np.random.default_rng(seed)
    z = first = rng.normal(size=(EXAMPLES, WIDTH)).astype(np.float32)
    for _ in range(DEPTH):
        random = {"training": True, "rng": rng} if name == "rrelu" else {}
        y = getattr(relume.numpy, name)(z, **parameters, **random)
        z = y @ rng.normal(0, gain / np.sqrt(WIDTH), size=(WIDTH, WIDTH)).astype(np.float32)
    return float(np.mean(np.square(z)) / np.mean(np.square(first)))


@pytest.mark.parametrize(("name", "parameters"), FAMILY)
def test_gain_keeps_the_scale_through_twenty_layers_and_a_gain_of_one_does_not(name, parameters):
    gain = relume.gain(name, **parameters)
    scales = [scale_after(name, parameters, gain, seed) for seed in (0, 1)]
    assert 0.7 < np.mean(scales) < 1.4
    assert not 0.5 < scale_after(name, parameters, 0.85 * gain, 0) < 2


def test_pytorchs_initializers_accept_the_gain_and_keep_the_scale():
    torch.manual_seed(0)
    layers = []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.xavier_normal_(linear.weight, gain=relume.gain("prelu"))
        layers += [nn.PReLU(), linear]
    z = torch.randn(EXAMPLES, WIDTH)
    with torch.no_grad():
        assert 0.6 < nn.Sequential(*layers)(z).var() / z.var() < 1.6
    for initialise in (nn.init.orthogonal_, nn.init.xavier_uniform_):
        weight = initialise(torch.empty(WIDTH, WIDTH), gain=relume.gain("rrelu"))
        assert weight.std() == pytest.approx(relume.gain("rrelu") / WIDTH**0.5, rel=0.01)


KERAS = """
import keras, numpy as np, relume
scale = relume.gain("relu") ** 2
initializer = keras.initializers.VarianceScaling(scale=scale, mode="fan_in", distribution="untruncated_normal", seed=0)
w = np.asarray(initializer((1024, 1024)))
print(float(w.std() * 1024**0.5))
"""


def test_keras_initializers_accept_the_square_of_the_gain():
    environment = os.environ | {"KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", KERAS], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(relume.gain("relu"), rel=0.01)


def test_an_activation_without_a_gain_is_refused():
    with pytest.raises(ParameterError, match=r"Softmax has no gain.*\[no-gain\]"):
        relume.gain("softmax")
    with pytest.raises(ParameterError, match="negative_slope = nan"):
        relume.gain("leaky_relu", negative_slope=float("nan"))
    with pytest.raises(ParameterError, match="has no parameter 'slope'"):
        relume.gain("leaky_relu", slope=0.1)
    with pytest.raises(UnknownName, match="leaky_relu"):
        relume.gain("leaky")


def test_every_other_activation_has_a_gain():
    assert all(relume.gain(name) > 0 for name in ACTIVATIONS if name != "softmax")

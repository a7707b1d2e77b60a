"""The numbers of the page against NumPy's, PyTorch's and the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from relume.activations import ACTIVATIONS, NUMPY
from relume.page import depth, drawings, normal
from relume.page.contents import CHOSEN, SHOWN

PARAMETERS = {
    "leaky_relu": [{}, {"negative_slope": 0.2}, {"negative_slope": -0.5}, {"negative_slope": 0.0}],
    "prelu": [{}, {"weight": 0.0}, {"weight": -1.0}],
    "rrelu": [{}, {"lower": 0.1, "upper": 0.9}],
    "elu": [{}, {"alpha": 2.5}, {"alpha": 0.0}],
    "celu": [{}, {"alpha": 0.3}, {"alpha": 3.7}],
    "gelu": [{}, {"approximate": "tanh"}],
}
X = np.linspace(-9.7, 9.7, 50)
CASES = [
    pytest.param(a, a.check(**p), id="-".join([a.name, *map(str, p.values())]))
    for a in SHOWN
    for p in PARAMETERS.get(a.name, [{}])
]


@pytest.fixture(scope="module")
def shown(opened_once, page_file):
    found = opened_once(page_file)
    found.wait_for_function("relume.ready")
    return found


# ---- curves --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "parameters"), CASES)
def test_values_and_slopes_are_those_of_the_definition(shown, a, parameters):
    kinks = [float(kink.at) for kink in a.kinks]
    x = np.concatenate([X, kinks])
    for part in ("value", "slope"):
        computed = shown.evaluate(
            "([part, name, xs, p]) => xs.map((x) => relume.family[part](name, x, p))",
            [part, a.name, x.tolist(), parameters],
        )
        np.testing.assert_allclose(computed, getattr(a, part)(x, NUMPY, **parameters), rtol=1e-12, atol=1e-14)


def test_a_drawn_slope_is_that_of_the_definition(shown):
    a = ACTIVATIONS["rrelu"]
    for part in ("value", "slope"):
        computed = shown.evaluate(
            "([part, xs]) => xs.map((x) => relume.family[part]('rrelu', x, {lower: 0, upper: 1}, 0.7))",
            [part, X.tolist()],
        )
        np.testing.assert_allclose(computed, getattr(a, part)(X, NUMPY, slopes=0.7), rtol=1e-15)


def test_erf_is_exact_to_the_last_digits(shown):
    x = np.concatenate([np.linspace(-6.5, 6.5, 200), [0.0, 1e-300, -1e-8, 40.0]])
    computed = shown.evaluate("(xs) => xs.map(relume.numeric.erf)", x.tolist())
    np.testing.assert_allclose(computed, torch.erf(torch.from_numpy(x)).numpy(), rtol=4e-15)


@pytest.mark.parametrize("name", CHOSEN)
def test_the_picture_was_drawn_from_the_rows_that_the_page_draws(shown, name):
    for part in ("value", "slope"):
        live = shown.evaluate(
            "([name, part]) => relume.curves.points(name, part, relume.family.defaults(name), relume.data.span)",
            [name, part],
        )
        still = drawings.points(ACTIVATIONS[name], part)
        assert [row["dot"] for row in live] == [row["dot"] for row in still]
        assert [row["piece"] for row in live] == [row["piece"] for row in still]
        for key in ("x", "y", "low", "high"):
            np.testing.assert_allclose([r[key] for r in live], [r[key] for r in still], rtol=1e-9, atol=1e-11)


# ---- a normal input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", SHOWN, ids=lambda a: a.name)
def test_the_moments_are_those_of_python_and_the_gain_that_of_the_definition(shown, a):
    told = shown.evaluate("([name, p]) => relume.family.moments(name, p)", [a.name, a.defaults()])
    for key, expected in normal.moments(a).items():
        assert told[key] == pytest.approx(expected, abs=1e-9), key
    gain = shown.evaluate("([name, p]) => relume.family.gain(name, p)", [a.name, a.defaults()])
    assert gain == pytest.approx(a.gain(**a.defaults()), rel=1e-9)
    shares = shown.evaluate(
        "([name, p]) => relume.curves.outputs(name, p, 0, 1).map((row) => row.share)", [a.name, a.defaults()]
    )
    np.testing.assert_allclose(shares, [row["share"] for row in normal.shares(a)], atol=1e-6)


def test_the_moments_of_another_normal_input_are_those_of_many_draws(shown):
    z = -1.2 + 0.7 * np.random.default_rng(0).standard_normal(4_000_000)
    for name in ("relu", "elu", "gelu"):
        a = ACTIVATIONS[name]
        told = shown.evaluate("([name, p]) => relume.family.moments(name, p, -1.2, 0.7)", [name, a.defaults()])
        y = a.value(z[:400_000], NUMPY) if name == "gelu" else a.value(z, NUMPY)
        assert told["mean"] == pytest.approx(y.mean(), abs=2e-3)
        assert told["variance"] == pytest.approx(y.var(), abs=2e-3)
        assert told["zeros"] == pytest.approx(np.mean(y == 0), abs=2e-3)


# ---- depth ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", SHOWN, ids=lambda a: a.name)
@pytest.mark.parametrize("init", ["he", "own"])
def test_signal_and_gradient_travel_as_in_numpy(shown, a, init):
    told = shown.evaluate(
        "([name, p, init]) => relume.depth.travel(name, p, init, 1.1, 3)", [a.name, a.defaults(), init]
    )
    forward, backward = depth.travel(a, init=init, scale=1.1, seed=3)
    np.testing.assert_allclose(told["forward"], forward, rtol=1e-6)
    np.testing.assert_allclose(told["backward"], backward, rtol=1e-6)


def test_the_inits_on_offer_are_those_that_are_computed(shown):
    assert shown.evaluate("relume.depth.INITS") == list(depth.INITS)


# ---- the network ---------------------------------------------------------------------------------------------------

ACTS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "relu6": F.relu6,
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu_squared": lambda z: F.relu(z).square(),
    "leaky_squared": lambda z: F.leaky_relu(z, 0.5).square(),
    "mish": F.mish,
    "hardswish": F.hardswish,
    "softplus": F.softplus,
    "hardsigmoid": F.hardsigmoid,
}

READ = """([name, steps, lr]) => {
  const net = new relume.network.Network({
    activation: name, parameters: relume.family.defaults(name), lr, seed: 305, shift: 0,
  });
  const seen = () => ({
    layers: net.layers.map(({ weight, bias }) => [[...weight], [...bias]]),
    parameters: net.parameters.map((p) => ({ ...p })),
  });
  const told = { x: [...net.x], y: [...net.y], start: seen(), slopes: net.slopes.state, losses: [] };
  for (let i = 0; i < steps; i++) told.losses.push(net.train());
  return { ...told, end: seen() };
}"""


class Slopes:
    """RReLU's random slopes: Park & Miller's generator, written anew."""

    def __init__(self, state):
        self.state = state

    def __call__(self, x):
        drawn = []
        for _ in range(x.numel()):
            self.state = self.state * 48271 % (2**31 - 1)
            drawn.append(1 / 8 + (1 / 3 - 1 / 8) * self.state / (2**31 - 1))
        s = torch.tensor(drawn, dtype=torch.float64).reshape(x.shape)
        return torch.where(x > 0, x, s * x)


def in_pytorch(told, name, steps, lr):
    """The same network from the same numbers, by PyTorch's autograd and its SGD."""
    layers = [
        (
            torch.tensor(weight, dtype=torch.float64).reshape(len(bias), -1).requires_grad_(),
            torch.tensor(bias, dtype=torch.float64).requires_grad_(),
        )
        for weight, bias in told["start"]["layers"]
    ]
    slopes = [torch.tensor([0.25], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    learned = [lambda z, s=s: F.prelu(z, s) for s in slopes]
    drawn = Slopes(told["slopes"])
    acts = {"prelu": learned, "rrelu": [drawn, drawn]}.get(name) or [ACTS[name]] * 2
    x, y = (torch.tensor(told[key], dtype=torch.float64)[:, None] for key in "xy")
    learning = [*sum(layers, ()), *(slopes if name == "prelu" else [])]
    optimizer = torch.optim.SGD(learning, lr=lr)
    losses = []
    for _ in range(steps):
        h = x
        for (weight, bias), act in zip(layers, [*acts, lambda z: z], strict=True):
            h = act(F.linear(h, weight, bias))
        loss = F.mse_loss(h, y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 10)
        optimizer.step()
    return losses, layers, slopes


@pytest.mark.parametrize("name", [a.name for a in SHOWN])
def test_a_hundred_steps_of_the_network_are_pytorchs(shown, name):
    steps, lr = 100, 0.03
    told = shown.evaluate(READ, [name, steps, lr])
    losses, layers, slopes = in_pytorch(told, name, steps, lr)
    np.testing.assert_allclose(told["losses"], losses, rtol=1e-6)
    for (weight, bias), ours in zip(layers, told["end"]["layers"], strict=True):
        np.testing.assert_allclose(ours[0], weight.detach().numpy().ravel(), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(ours[1], bias.detach().numpy(), rtol=1e-6, atol=1e-9)
    if name == "prelu":
        ours = [p["weight"] for p in told["end"]["parameters"]]
        assert ours != [0.25, 0.25]
        np.testing.assert_allclose(ours, [s.item() for s in slopes], rtol=1e-6)
    assert losses[-1] < losses[0]

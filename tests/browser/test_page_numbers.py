"""The numbers of the page against NumPy's, PyTorch's and the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from relume.activations import ACTIVATIONS, NUMPY
from relume.page import depth, drawings, normal
from relume.page.contents import CHAPTERS, CHOSEN, SHOWN

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
def test_values_and_slopes_equal_the_definition(shown, a, parameters):
    kinks = [float(kink.at) for kink in a.kinks]
    x = np.concatenate([X, kinks])
    for part in ("value", "slope"):
        computed = shown.evaluate(
            "([part, name, xs, p]) => xs.map((x) => relume.family[part](name, x, p))",
            [part, a.name, x.tolist(), parameters],
        )
        np.testing.assert_allclose(computed, getattr(a, part)(x, NUMPY, **parameters), rtol=1e-12, atol=1e-14)


def test_a_drawn_slope_equals_the_definition(shown):
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
def test_the_moments_equal_pythons_and_the_gain_equals_the_definition(shown, a):
    told = shown.evaluate("([name, p]) => relume.family.moments(name, p)", [a.name, a.defaults()])
    for key, expected in normal.moments(a).items():
        assert told[key] == pytest.approx(expected, abs=1e-9), key
    gain = shown.evaluate("([name, p]) => relume.family.gain(name, p)", [a.name, a.defaults()])
    assert gain == pytest.approx(a.gain(**a.defaults()), rel=1e-9)
    shares = shown.evaluate(
        "([name, p]) => relume.curves.outputs(name, p, 0, 1).map((row) => row.share)", [a.name, a.defaults()]
    )
    np.testing.assert_allclose(shares, [row["share"] for row in normal.shares(a)], atol=1e-6)


def test_the_moments_of_another_normal_input_equal_those_of_many_draws(shown):
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


def test_every_offered_init_is_computed(shown):
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

LESSON = """([sides, end]) => {
  const session = new relume.session.Session("dying", [], sides);
  const seen = () => session.networks.map(({ weight, bias, out, offset, parameters, slopes }) => ({
    weight: [...weight], bias: [...bias], out: [...out], offset, parameters: { ...parameters }, slopes: slopes.state,
  }));
  const start = seen();
  session.go(end);
  return {
    x: relume.network.DATA.map(({ x }) => x),
    y: relume.network.DATA.map(({ target }) => target),
    sides: start.map((one, side) => ({
      start: one,
      end: seen()[side],
      rates: session.history.map((both) => both[side].kept.lr),
      losses: session.history.map((both) => both[side].loss),
      dead: session.history.map((both) => both[side].states.filter((state) => state === "dead").length),
      gradients: session.networks[side].gradients(),
    })),
  };
}"""
"""The story of the lesson up to a step, with any two activations."""


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


def in_pytorch(told, side, name, act=None):
    """The same network from the same numbers, by PyTorch's autograd and its SGD.

    Returns: losses in training, dead units at each step, all that was learned, and each unit's gradient at the end.
    """
    start = side["start"]
    weight = torch.tensor(start["weight"], dtype=torch.float64).reshape(-1, 2)
    learning = [weight, *(torch.tensor(start[key], dtype=torch.float64) for key in ("bias", "out", "offset"))]
    if name == "prelu":
        learning.append(torch.tensor([0.25], dtype=torch.float64))
    act = act or {"prelu": lambda z: F.prelu(z, learning[4]), "rrelu": Slopes(start["slopes"])}.get(name) or ACTS[name]
    for one in learning:
        one.requires_grad_()
    x, y = (torch.tensor(told[key], dtype=torch.float64) for key in "xy")
    optimizer = torch.optim.SGD(learning, lr=side["rates"][0])
    losses, dead = [], []
    for rate in side["rates"]:
        z = F.linear(x, learning[0], learning[1])
        dead.append(int((z <= 0).all(0).sum()))
        loss = F.mse_loss(act(z) @ learning[2] + learning[3], y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if len(losses) == len(side["rates"]):
            break
        torch.nn.utils.clip_grad_norm_(learning, 10)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    gradients = torch.cat([learning[0].grad, learning[1].grad[:, None]], 1).norm(dim=1)
    return losses, dead, [one.detach().numpy() for one in learning], gradients.numpy()


def same(side, learned):
    end = side["end"]
    for ours, theirs in zip([end["weight"], end["bias"], end["out"], end["offset"]], learned, strict=False):
        np.testing.assert_allclose(ours, theirs.ravel() if theirs.ndim else theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [a.name for a in SHOWN])
def test_a_hundred_steps_of_the_network_equal_pytorchs(shown, name):
    told = shown.evaluate(LESSON, [[name, "relu"], 100])
    side = told["sides"][0]
    losses, _, learned, _ = in_pytorch(told, side, name)
    if name != "rrelu":  # there the page tells the loss at the mean slope
        np.testing.assert_allclose(side["losses"], losses, rtol=1e-6)
    same(side, learned)
    if name == "prelu":
        assert side["end"]["parameters"]["weight"] != 0.25
        np.testing.assert_allclose(side["end"]["parameters"]["weight"], learned[4].item(), rtol=1e-6)
    assert losses[-1] < losses[0]


def test_the_whole_lesson_equals_pytorchs_from_the_first_step_to_the_cure(shown):
    told = shown.evaluate(LESSON, [["relu", "leaky_relu~0.2"], CHAPTERS[-1].end])
    acts = {"relu": F.relu, "leaky_relu": lambda z: F.leaky_relu(z, 0.2)}
    for side, (name, act) in zip(told["sides"], acts.items(), strict=True):
        losses, dead, learned, gradients = in_pytorch(told, side, name, act)
        np.testing.assert_allclose(side["losses"], losses, rtol=1e-6)
        same(side, learned)
        np.testing.assert_allclose(side["gradients"], gradients, rtol=1e-6, atol=1e-12)
        if name == "relu":
            assert side["dead"] == dead
            assert dead[-1] > 0
            assert np.count_nonzero(gradients == 0) == dead[-1]
    assert set(told["sides"][1]["dead"]) == {0}
    assert told["sides"][1]["losses"][-1] < told["sides"][0]["losses"][-1] / 2

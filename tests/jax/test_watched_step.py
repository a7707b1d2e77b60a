"""``relume.jax.watch(step)``: one step is watched by name, its results are what they were, and it can be let go."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relume.jax
from relume.errors import WatchError

STEPS, BATCH = 12, 32
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(STEPS, BATCH, 6)).astype("float32"), RNG.normal(size=(STEPS, BATCH, 1)).astype("float32")
W1, W2 = RNG.normal(size=(6, 8)).astype("float32"), RNG.normal(size=(8, 1)).astype("float32")
BIAS = np.where(np.arange(8) == 2, -50, 0).astype("float32")


def params():
    return {"w1": jnp.array(W1), "b1": jnp.array(BIAS), "w2": jnp.array(W2)}


def step(p, x, y, power=2):
    def loss(p):
        return ((jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"] - y) ** power).mean()

    return jax.tree.map(lambda a, g: a - 1e-3 * g, p, jax.grad(loss)(p))


def trained(step, **named):
    p, fired = params(), np.zeros(8, int)
    for x, y in zip(X, Y, strict=True):
        fired += (x @ np.array(p["w1"]) + np.array(p["b1"]) > 0).sum(0)
        p = step(p, x, y, **named)
    return p, fired


@pytest.mark.parametrize(
    ("function", "options", "named"),
    [
        (step, {}, {}),
        (jax.jit(step), {}, {}),
        (partial(jax.jit, donate_argnums=0)(step), {}, {}),
        (step, {"static_argnames": "power"}, {"power": 2}),
        (jax.jit(step, static_argnames="power"), {"static_argnames": "power"}, {"power": 2}),
    ],
    ids=["plain", "jitted", "donated", "static", "jitted with static"],
)
def test_counts_equal_numpys_and_weights_are_unchanged(function, options, named):
    expected, _ = trained(jax.jit(step))
    other = jax.jit(step)
    watched = relume.jax.watch(function, every=1, **options)
    found, fired = trained(watched, **named)
    other(params(), X[0], Y[0])  # this one is not watched
    told = watched.to_dict()
    (site,) = told["sites"]
    assert (told["run"]["steps"], told["run"]["looked"], site["samples"] > 0) == (STEPS, STEPS, True)
    assert site["dead"] == [2]
    assert site["total_examples"] == STEPS * BATCH
    rates = np.array(watched.findings().sites[0].firing_rate)
    assert (rates > 0).tolist() == (fired > 0).tolist()
    for name, values in expected.items():
        np.testing.assert_array_equal(values, found[name])
    watched.stop()


def test_after_stop_the_step_is_called_as_before_and_the_recording_is_saved(tmp_path):
    watched = relume.jax.watch(step, every=1)
    trained(watched)
    watched.stop()
    trained(watched)
    assert watched.to_dict()["run"]["steps"] == STEPS
    watched.save(tmp_path / "run.relume")
    assert (tmp_path / "run.relume").exists()


def test_an_object_that_is_not_a_function_is_refused():
    with pytest.raises(WatchError, match=r"given a dict.*\[not-a-step\]"):
        relume.jax.watch({})
    with pytest.raises(WatchError, match="budget"):
        relume.jax.watch(step, budget=2)

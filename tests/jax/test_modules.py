"""The modules for Flax nnx and Equinox: the functions with their parameters, under both libraries' own machinery."""

from __future__ import annotations

import doctest
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import relume.jax
import relume.jax as functions
import relume.jax.functional
from relume.errors import ParameterError
from relume.jax import equinox as ours_equinox
from relume.jax import flax as ours_flax

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32) * 3
MODULES = [
    ("ReLU", {}, functions.relu),
    ("ReLU6", {}, functions.relu6),
    ("LeakyReLU", {"negative_slope": 0.2}, lambda x: functions.leaky_relu(x, 0.2)),
    ("PReLU", {"shape": 3, "init": 0.1}, lambda x: functions.prelu(x, np.full(3, 0.1, np.float32))),
    ("ELU", {"alpha": 0.5}, lambda x: functions.elu(x, 0.5)),
    ("CELU", {"alpha": 0.5}, lambda x: functions.celu(x, 0.5)),
    ("SELU", {}, functions.selu),
]


@pytest.mark.parametrize(("name", "arguments", "function"), MODULES, ids=lambda v: v if isinstance(v, str) else "")
def test_a_module_equals_its_function(name, arguments, function):
    flax_module, equinox_module = getattr(ours_flax, name)(**arguments), getattr(ours_equinox, name)(**arguments)
    expected = jax.jit(function)(X)
    np.testing.assert_array_equal(nnx.jit(lambda m, x: m(x))(flax_module, X), expected)
    np.testing.assert_array_equal(eqx.filter_jit(eqx.filter_vmap(equinox_module))(X), expected)


@pytest.mark.parametrize("library", [ours_flax, ours_equinox])
def test_parameters_are_checked_at_construction(library):
    bad = [("LeakyReLU", {"negative_slope": np.nan}), ("ELU", {"alpha": -1.0}), ("CELU", {"alpha": 0.0})]
    bad += [("RReLU", {"lower": 0.5, "upper": 0.25}), ("PReLU", {"init": np.inf})]
    for name, arguments in bad:
        with pytest.raises(ParameterError, match="parameter-out-of-bounds"):
            getattr(library, name)(**arguments)


def test_libraries_see_the_slopes_as_trainable():
    expected = np.where(X > 0, 0, X).sum(0)
    module = ours_flax.PReLU(3)
    got = nnx.grad(lambda m: m(X).sum())(module)
    np.testing.assert_allclose(got["weight"][...], expected, rtol=1e-6)
    leaves = jax.tree.leaves(eqx.filter(ours_equinox.PReLU((3,)), eqx.is_array))
    assert [leaf.shape for leaf in leaves] == [(3,)]
    got = eqx.filter_grad(lambda m: jax.vmap(m)(X).sum())(ours_equinox.PReLU((3,)))
    np.testing.assert_allclose(got.weight, expected, rtol=1e-6)


def test_prelu_of_equinox_runs_along_the_channels_of_an_image_of_equal_sizes():
    image = -jnp.ones((3, 3, 3))
    module = eqx.tree_at(lambda m: m.weight, ours_equinox.PReLU(3, axis=0), jnp.array([0.5, 1.0, 2.0]))
    assert module(image)[:, 0, 2].tolist() == [-0.5, -1.0, -2.0]
    assert eqx.nn.Sequential([eqx.nn.Identity(), module])(image)[:, 1, 0].tolist() == [-0.5, -1.0, -2.0]


def test_rrelu_of_flax_draws_again_at_each_call_and_is_its_mean_after_eval():
    model = nnx.Sequential(ours_flax.RReLU(0.1, 0.3, rngs=nnx.Rngs(0)))
    x = -jnp.ones(200)
    run = nnx.jit(lambda m, v: m(v))
    first, second = run(model, x), run(model, x)
    assert len({*first.tolist(), *second.tolist()}) > 390
    assert all(0.1 <= -value <= 0.3 for value in first.tolist())
    model.eval()
    np.testing.assert_allclose(run(model, x), -0.2, rtol=1e-6)
    assert ours_flax.RReLU(0.1, 0.3, deterministic=True)(x)[0] == jnp.float32(-0.2)
    with pytest.raises(ParameterError, match=r"rngs=nnx\.Rngs\(.*no-key"):
        ours_flax.RReLU()(x)


def test_rrelu_of_equinox_draws_by_its_key_and_is_its_mean_in_inference_mode():
    module = ours_equinox.RReLU(0.1, 0.3)
    x = -jnp.ones((5, 40))
    keys = jax.random.split(jax.random.key(0), 5)
    drawn = jax.vmap(lambda v, k: module(v, key=k))(x, keys)
    assert len(set(drawn.ravel().tolist())) > 190
    np.testing.assert_allclose(eqx.nn.inference_mode(module)(x), -0.2, rtol=1e-6)
    with pytest.raises(ParameterError, match="no-key"):
        module(x)


@pytest.mark.parametrize("module", [relume.jax, relume.jax.functional])
def test_examples_in_the_docstrings_work(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_functions_load_neither_flax_nor_equinox():
    code = (
        "import sys, relume.jax; print(sorted({'flax', 'equinox', 'torch', 'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

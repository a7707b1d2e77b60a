"""Layers that move between frameworks: round trips with equal outputs, and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from torch import nn

import relume
import relume.jax
import relume.torch
from relume.activations.spec import Spec
from relume.errors import ParameterError, ShapeError, SpecError, UnknownName

HERE = Path(__file__).parent
BENT = 5e-7  # a few ulp of values below 1; the rectifiers' outputs are equal to the bit


def run(arguments: list[str], backend: str) -> str:
    environment = os.environ | {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, cwd=HERE)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


@cache
def rows(backend: str) -> list[dict[str, Any]]:
    return json.loads(run(["moving.py"], backend))


SLOW = pytest.mark.slow


@pytest.mark.parametrize("backend", ["torch", pytest.param("tensorflow", marks=SLOW), pytest.param("jax", marks=SLOW)])
def test_layers_converted_from_torch_through_keras_and_jax_to_onnx_have_equal_outputs(backend):
    assert len(rows(backend)) >= 20
    for row in rows(backend):
        bent = any(word in row["layer"] for word in ("ELU(alpha", "CELU", "SELU", "GELU", "SiLU"))
        assert "LeakyReLU" not in row["layer"] or not bent
        assert max(row["off"].values()) <= (BENT if bent else 0.0), row
        assert row["weights"], f"the slopes came back changed: {row['layer']}"
        assert {"keras", "torch", "jax", "onnx", "keras, channels last"} <= set(row["off"])


KERAS = """
import numpy as np, keras, relume, relume.keras, torch
from relume.errors import SpecError
x = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype("float32")
def told(call):
    try:
        return call()
    except SpecError as error:
        return error.slug
assert relume.to_spec(keras.activations.leaky_relu).parameters["negative_slope"] == 0.2
assert relume.to_spec(relume.keras.functional.selu).activation == "selu"
assert told(lambda: relume.to_spec(keras.activations.linear)) == "not-a-layer"
natives = [(keras.activations.relu, "relu"), (keras.activations.hard_silu, "hardswish"),
    (keras.layers.ReLU(), "relu"), (keras.layers.ReLU(6.0), "relu6"), (keras.layers.LeakyReLU(), "leaky_relu"),
    (keras.layers.ReLU(negative_slope=0.1), "leaky_relu"), (keras.layers.ELU(0.5), "elu"),
    (keras.layers.Activation("leaky_relu"), "leaky_relu"), (keras.layers.Activation("selu"), "selu"),
    (keras.layers.Activation("celu"), "celu"), (keras.layers.Softmax(1), "softmax"), (relume.keras.CELU(0.5), "celu"),
    (relume.keras.Mish(), "mish"), (relume.keras.ReLUSquared(), "relu_squared"),
    (relume.keras.Softplus(2.0), "softplus"),
    (relume.keras.RReLU(), "rrelu"), (relume.keras.SELU(), "selu"), (relume.keras.ReLU6(), "relu6")]
for layer, name in natives:
    spec = relume.to_spec(layer)
    assert spec.activation == name, (layer, spec)
    y = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(relume.from_spec(spec, "torch").eval()(torch.tensor(x)).numpy(), y, rtol=3e-4, atol=1e-7)
for shared in ([1, 2], [1, 3], [2, 3], [1], None, [1, 2, 3]):
    for kind in (keras.layers.PReLU, relume.keras.PReLU):
        layer = kind(alpha_initializer=keras.initializers.RandomUniform(0.1, 0.9, seed=1), shared_axes=shared)
        assert told(lambda: relume.to_spec(layer)) == "layer-not-built"
        y = keras.ops.convert_to_numpy(layer(x))
        spec = relume.to_spec(layer)
        np.testing.assert_array_equal(relume.from_spec(spec, "torch")(torch.tensor(x)).detach().numpy(), y)
        back = relume.from_spec(spec, "keras")
        assert back.alpha.shape == layer.alpha.shape
class Mine(keras.layers.ReLU):
    def call(self, inputs):
        return -inputs
for layer in (keras.layers.Dense(3), Mine(), keras.layers.Activation(lambda x: x)):
    assert told(lambda: relume.to_spec(layer)) == "not-a-layer"
assert told(lambda: relume.to_spec(keras.layers.ReLU(max_value=4.0))) == "no-equal"
assert told(lambda: relume.to_spec(keras.layers.ReLU(threshold=1.0))) == "no-equal"
assert told(lambda: relume.to_spec(keras.layers.Softmax(axis=(1, 2)))) == "no-equal"
assert told(lambda: relume.from_spec(relume.to_spec(torch.nn.LeakyReLU(-0.1)), "keras")) == "no-equal"
assert told(lambda: relume.from_spec(relume.to_spec(torch.nn.PReLU(3)), "keras")) == "rank-needed"
assert told(lambda: relume.from_spec(relume.to_spec(relume.torch.PReLU(3, axis=0)), "keras", ndim=3)) == "no-equal"
print("done")
"""


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=SLOW)])
def test_keras_layers_of_keras_and_of_relume_are_described_or_refused(backend):
    assert run(["-c", KERAS], backend) == "done"


def test_torch_layers_are_described_with_what_they_compute():
    assert relume.to_spec(nn.RReLU(0.1, 0.2)).parameters == {"lower": 0.1, "upper": 0.2}
    assert relume.to_spec(nn.Softmax(1)).axes == (1,)
    spec = relume.to_spec(nn.PReLU(3, init=0.5).bfloat16())
    assert (spec.parameters["weight"].tolist(), spec.axes, spec.ndim) == ([0.5] * 3, (1,), None)
    assert relume.to_spec(nn.PReLU()).axes == ()
    weight = relume.from_spec(relume.to_spec(nn.PReLU(3).double()), "torch").weight
    assert weight.dtype == torch.float64
    assert weight.requires_grad


def test_a_layer_that_is_not_an_activation_is_refused():
    class Mine(nn.ReLU):
        def forward(self, x):
            return -x

    for layer in (nn.Linear(2, 2), Mine(), nn.Sequential(nn.ReLU()), "relu", len, jax.nn.one_hot):
        with pytest.raises(SpecError, match="not-a-layer"):
            relume.to_spec(layer)
    with pytest.raises(SpecError, match=r"without dim.*no-equal"):
        relume.to_spec(nn.Softmax())
    with pytest.raises(UnknownName, match=r"There is no framework 'pytorch'\. Did you mean 'torch'\?"):
        relume.from_spec(Spec("relu"), "pytorch")


def test_functions_and_modules_of_jax_are_described_and_made():
    x = np.random.default_rng(1).normal(size=(4, 4, 4, 4)).astype(np.float32)
    for function in (jax.nn.relu, jax.nn.relu6, jax.nn.silu, jax.nn.gelu, relume.jax.selu, jax.nn.softmax):
        made = relume.from_spec(relume.to_spec(function), "jax")
        np.testing.assert_allclose(made(x), function(x), rtol=1e-5, atol=1e-7)
    torchs = relume.torch.PReLU(4, axis=1)
    with torch.no_grad():
        torchs.weight.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
        expected = torchs(torch.tensor(x)).numpy()
    spec = relume.to_spec(torchs)
    np.testing.assert_array_equal(relume.from_spec(spec, "flax")(x), expected)
    np.testing.assert_array_equal(jax.vmap(relume.from_spec(spec, "equinox"))(x), expected)
    for package in ("jax", "flax", "equinox"):
        back = relume.to_spec(relume.from_spec(spec, package))
        assert back.axes == (1,)
        np.testing.assert_array_equal(back.parameters["weight"], spec.parameters["weight"])
    with pytest.raises(SpecError, match=r"a function.*no-equal"):
        relume.from_spec(Spec("softmax"), "flax")
    with pytest.raises(SpecError, match=r"see no batch.*no-equal"):
        relume.from_spec(Spec("prelu", {"weight": np.ones(3)}, axes=(0,)), "equinox")


def test_a_partial_of_a_function_of_jax_is_described_with_its_parameters():
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    for function, parameters in (
        (partial(jax.nn.leaky_relu, negative_slope=0.3), {"negative_slope": 0.3}),
        (partial(jax.nn.gelu, approximate=False), {"approximate": "none"}),
        (partial(jax.nn.gelu), {"approximate": "tanh"}),
        (partial(relume.jax.softplus, beta=2.0), {"beta": 2.0}),
        (jax.nn.hard_swish, {}),
        (relume.jax.silu, {}),
    ):
        spec = relume.to_spec(function)
        assert dict(spec.parameters) == parameters
        np.testing.assert_allclose(relume.from_spec(spec, "jax")(x), function(x), rtol=1e-5, atol=1e-6)
    for other in (partial(jax.nn.one_hot, num_classes=3), partial(jax.nn.relu, x)):
        with pytest.raises(SpecError, match="not-a-layer"):
            relume.to_spec(other)


def test_prelu_of_linen_is_described_before_and_after_it_has_its_slope():
    layer = linen.PReLU(negative_slope_init=0.1)
    assert relume.to_spec(layer).parameters["weight"] == 0.1
    bound = layer.bind({"params": {"negative_slope": jnp.float32(0.5)}})
    assert relume.to_spec(bound).parameters["weight"] == 0.5


def test_prelu_of_flax_and_of_equinox_is_described_along_its_axes():
    assert relume.to_spec(nnx.PReLU()).parameters["weight"] == np.float32(0.01)
    x = -np.ones((2, 3, 3, 3), np.float32)
    for shape in ((), (3,), (3, 1, 1), (3, 1, 3), (3, 3, 3)):
        weight = np.random.default_rng(2).uniform(size=shape).astype(np.float32)
        native = eqx.nn.PReLU(jnp.asarray(weight))
        made = relume.from_spec(relume.to_spec(native), "torch")
        with torch.no_grad():
            np.testing.assert_array_equal(made(torch.tensor(x)).numpy(), jax.vmap(native)(x))


def test_a_function_of_jax_is_a_pytree_of_its_slopes_and_goes_through_jit_and_grad():
    function = relume.from_spec(Spec("prelu", {"weight": np.array([0.5, 0.25])}, axes=(1,)), "jax")
    x = -jnp.ones((3, 2))
    assert [leaf.shape for leaf in jax.tree.leaves(function)] == [(2,)]
    assert jax.jit(lambda f, v: f(v))(function, x)[0].tolist() == [-0.5, -0.25]
    assert jax.grad(lambda f: f(x).sum())(function).weight.tolist() == [-3.0, -3.0]
    random = relume.from_spec(Spec("rrelu"), "jax")
    assert random(x, training=True, key=jax.random.key(0)).shape == x.shape


def test_a_spec_turns_between_the_layouts_and_back():
    weight = np.arange(24.0).reshape(2, 3, 4)
    first = Spec("prelu", {"weight": weight}, axes=(1, 2, 3), ndim=4)
    last = first.channels_last()
    assert last.parameters["weight"].shape == (3, 4, 2)
    assert last.parameters["weight"][2, 1, 0] == weight[0, 2, 1]
    np.testing.assert_array_equal(last.channels_first().parameters["weight"], weight)
    rank_free = Spec("prelu", {"weight": np.ones(3)}, axes=(1,))
    assert rank_free.channels_last().axes == (-1,)
    assert rank_free.channels_last().channels_first().axes == (1,)
    assert Spec("relu").channels_last().activation == "relu"
    assert Spec("softmax", axes=(1,), ndim=3).channels_last().axes == (2,)
    with pytest.raises(SpecError, match="rank-needed"):
        Spec("prelu", {"weight": np.ones((2, 3))}, axes=(1, 2)).channels_last()
    with pytest.raises(SpecError, match="of 4 axes; it was asked for 3"):
        first.with_rank(3)


def test_a_spec_that_makes_no_sense_is_refused():
    with pytest.raises(ShapeError, match="spec-axes"):
        Spec("prelu", {"weight": np.ones((2, 3))}, axes=(1,))
    with pytest.raises(ShapeError, match="spec-axes"):
        Spec("prelu", {"weight": np.ones((2, 3))}, axes=(2, 1))
    with pytest.raises(ShapeError, match="axis-out-of-range"):
        Spec("prelu", {"weight": np.ones(2)}, axes=(4,), ndim=4)
    with pytest.raises(ParameterError, match="alpha = -1"):
        Spec("elu", {"alpha": -1.0})


def test_describing_a_torch_layer_loads_no_other_framework():
    code = (
        "import sys, torch, relume; relume.from_spec(relume.to_spec(torch.nn.PReLU(3)), 'torch')\n"
        "print(sorted({'jax', 'keras', 'tensorflow', 'flax', 'equinox', 'onnxruntime'} & set(sys.modules)))"
    )
    assert run(["-c", code], "torch") == "[]"

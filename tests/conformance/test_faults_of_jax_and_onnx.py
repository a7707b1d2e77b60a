"""The battery bites: faults planted in relume.jax and relume.onnx, one at a time, are caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cases
import checks
import jax
import jax.numpy as jnp
import numpy as np
import on_jax
import on_onnx
import one_node
import pytest

import relume.jax
from relume.jax import functional as jax_functional
from relume.onnx import family as onnx_family
from relume.onnx._nodes import Nodes

JAX = on_jax.Jax("jax", lambda function: function, ("float32",), ("sweep", "seventeen"))
ONNX = on_onnx.Onnx()


def replaced(name: str, function: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(relume.jax, name, function)


def inner(name: str, function: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(jax_functional, name, function)


def prelu_along_the_last_axis(x: Any, weight: Any = 0.25, axis: Any = -1) -> Any:
    weight = jnp.asarray(weight)
    return jnp.where(x > 0, x, weight.reshape(()) * x if weight.size == 1 else jnp.resize(weight, x.shape) * x)


def random_at_evaluation(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, **_: Any) -> Any:
    return jnp.where(x > 0, x, x * jax.random.uniform(jax.random.key(0), x.shape, x.dtype, lower, upper))


def same_slopes_for_all(x: Any, lower: float, upper: float, *, training: bool = False, key: Any = None) -> Any:
    return jnp.where(x > 0, x, x * jax.random.uniform(key, (), x.dtype, lower, upper))


def draws_where_negative(x: Any, lower: float, upper: float, *, training: bool = False, key: Any = None) -> Any:
    order = jnp.cumsum(x <= 0) - 1
    return jnp.where(x > 0, x, x * jax.random.uniform(key, x.shape, x.dtype, lower, upper)[order])


def leaky_by_maximum(x: Any, negative_slope: Any = 0.01) -> Any:
    return jnp.maximum(x, negative_slope * x)


def check(name: str, part: str) -> Callable[[], None]:
    def run() -> None:
        for activation, parameters in cases.CASES:
            if activation == name:
                checks.check(JAX, activation, parameters, "float32", part)

    return run


def check_axes() -> None:
    for shape, weight, axis in cases.PRELU_SHAPES:
        checks.check_prelu_shape(JAX, shape, weight, axis, "float32", "value")


def check_drawn() -> None:
    checks.check_drawn(JAX, "float32")


JAX_FAULTS = {
    "relu is jax.nn's: slope 0 at nan, +0 at −0": (replaced("relu", jax.nn.relu), check("relu", "value")),
    "relu with slope 1/2 at 0": (replaced("relu", lambda x: (x + jnp.abs(x)) / 2), check("relu", "gradient")),
    "relu6 by clip: slope 1 at a kink": (
        replaced("relu6", lambda x: jnp.minimum(jnp.maximum(x, 0), 6)),
        check("relu6", "gradient"),
    ),
    "leaky with JAX's slope at 0": (replaced("leaky_relu", jax.nn.leaky_relu), check("leaky_relu", "gradient")),
    "leaky by max, wrong for slopes above 1": (
        replaced("leaky_relu", leaky_by_maximum),
        check("leaky_relu", "value"),
    ),
    "elu by exp(x) − 1": (inner("_expm1", lambda x: jnp.exp(x) - 1), check("elu", "value")),
    "elu whose slope is taken from the result": (inner("_expm1", jnp.expm1), check("elu", "gradient")),
    "elu in forward mode alone with jax.nn's slope": (inner("_expm1", jnp.expm1), check("elu", "forward_gradient")),
    "celu that forgets to divide": (
        replaced("celu", lambda x, alpha: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0)))),
        check("celu", "value"),
    ),
    "prelu along the last axis": (replaced("prelu", prelu_along_the_last_axis), check_axes),
    "rrelu random at evaluation": (replaced("rrelu", random_at_evaluation), check("rrelu", "value")),
    "rrelu with one slope for all": (replaced("rrelu", same_slopes_for_all), check_drawn),
    "rrelu whose draws depend on the signs": (replaced("rrelu", draws_where_negative), check_drawn),
    "rrelu that ignores its bounds": (
        replaced("rrelu", lambda x, lower, upper, **k: jax_functional.rrelu(x, 0.0, 1.0, **k)),
        check_drawn,
    ),
}


def raises(run: Callable[[], None]) -> bool:
    try:
        run()
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("fault", JAX_FAULTS)
def test_a_fault_in_jax_is_caught_and_its_absence_is_not(fault, monkeypatch):
    plant, run = JAX_FAULTS[fault]
    run()
    plant(monkeypatch)
    JAX.forget()
    caught = raises(run)
    monkeypatch.undo()
    JAX.forget()
    assert caught, f"the battery passes over: {fault}"


def native(op: str) -> Callable[..., str]:
    return lambda self, x, alpha, above, width: self.add(op, x, alpha=float(alpha))


def slopes_from_the_right(spec: Any) -> Any:
    return np.asarray(spec.parameters["weight"])


ONNX_FAULTS = {
    "elu by ONNX Runtime's own": (("bent", native("Elu")), "elu"),
    "celu at half its width": (
        (
            "bent",
            lambda self, x, alpha, above, width, f=Nodes.bent: f(self, x, alpha, above, width / 2),
        ),
        "celu",
    ),
    "leaky with the default slope": (
        ("leaky", lambda self, x, slopes, learned=False: self.add("LeakyRelu", x)),
        "leaky_relu",
    ),
    "rrelu at its upper bound": (
        ("leaky", lambda self, x, slopes, learned=False: self.add("LeakyRelu", x, alpha=1 / 3)),
        "rrelu",
    ),
}


@pytest.mark.parametrize("fault", ONNX_FAULTS)
def test_a_fault_in_onnx_is_caught(fault, monkeypatch):
    (method, function), name = ONNX_FAULTS[fault]
    monkeypatch.setattr(Nodes, method, function)
    one_node.prepared.cache_clear()
    try:
        parameters = [p for activation, p in cases.CASES if activation == name]
        assert any(raises(lambda p=p: checks.check(ONNX, name, p, "float32", "value")) for p in parameters)
    finally:
        one_node.prepared.cache_clear()


def test_slopes_that_onnx_lays_along_the_width_are_caught(monkeypatch):
    monkeypatch.setattr(onnx_family, "_laid", slopes_from_the_right)
    one_node.prepared.cache_clear()
    try:
        with pytest.raises(AssertionError, match="axis 1"):
            checks.check_prelu_shape(ONNX, (2, 4, 4, 4), (4,), 1, "float32", "value")
    finally:
        one_node.prepared.cache_clear()

"""What a definition states besides its formula: its listing, defaults, kinks, texts and checks."""

from __future__ import annotations

import doctest
import importlib
import inspect
import math
import pkgutil

import numpy as np
import pytest

import relume.activations
from relume.activations import ACTIVATIONS, get, selu
from relume.activations.definition import FRAMEWORKS, Parameter
from relume.errors import ParameterError, UnknownName

MODULES = sorted(m.name for m in pkgutil.iter_modules(relume.activations.__path__))
HELPERS = {"definition", "deviations", "spec"}


def default_of(function, argument):
    return inspect.signature(function).parameters[argument].default


def real_defaults(framework):
    """(activation, parameter) → the default that the installed framework has."""
    if framework == "torch":
        nn = pytest.importorskip("torch").nn
        return {
            ("leaky_relu", "negative_slope"): default_of(nn.LeakyReLU, "negative_slope"),
            ("prelu", "weight"): default_of(nn.PReLU, "init"),
            ("rrelu", "lower"): default_of(nn.RReLU, "lower"),
            ("rrelu", "upper"): default_of(nn.RReLU, "upper"),
            ("elu", "alpha"): default_of(nn.ELU, "alpha"),
            ("celu", "alpha"): default_of(nn.CELU, "alpha"),
            ("gelu", "approximate"): default_of(nn.GELU, "approximate"),
            ("softplus", "beta"): default_of(nn.Softplus, "beta"),
        }
    if framework == "jax":
        nn = pytest.importorskip("jax").nn
        return {
            ("leaky_relu", "negative_slope"): default_of(nn.leaky_relu, "negative_slope"),
            ("elu", "alpha"): default_of(nn.elu, "alpha"),
            ("celu", "alpha"): default_of(nn.celu, "alpha"),
            ("gelu", "approximate"): "tanh" if default_of(nn.gelu, "approximate") else "none",
        }
    if framework == "tensorflow":
        nn = pytest.importorskip("tensorflow").nn
        return {
            ("leaky_relu", "negative_slope"): default_of(nn.leaky_relu, "alpha"),
            ("gelu", "approximate"): "tanh" if default_of(nn.gelu, "approximate") else "none",
        }
    keras = pytest.importorskip("keras")
    if framework == "keras":
        return {
            ("leaky_relu", "negative_slope"): default_of(keras.layers.LeakyReLU, "negative_slope"),
            ("prelu", "weight"): {"Zeros": 0.0}[default_of(keras.layers.PReLU, "alpha_initializer")],
            ("elu", "alpha"): default_of(keras.layers.ELU, "alpha"),
        }
    if framework == "keras.activations":
        return {
            ("leaky_relu", "negative_slope"): default_of(keras.activations.leaky_relu, "negative_slope"),
            ("elu", "alpha"): default_of(keras.activations.elu, "alpha"),
            ("celu", "alpha"): default_of(keras.activations.celu, "alpha"),
            ("gelu", "approximate"): "tanh" if default_of(keras.activations.gelu, "approximate") else "none",
        }
    return {("gelu", "approximate"): "tanh" if default_of(keras.ops.gelu, "approximate") else "none"}


def real_slope(framework, name, at):
    """The framework's reverse-mode slope at a point; its own defaults. Squares are of its own rectifier."""
    if name in SQUARED:
        y, slope = np.maximum(at, 0), real_slope(framework, SQUARED[name], at)
        return 2 * float(y) * slope
    if framework == "torch":
        torch = pytest.importorskip("torch")
        layers = {
            "relu": "ReLU",
            "leaky_relu": "LeakyReLU",
            "prelu": "PReLU",
            "rrelu": "RReLU",
            "relu6": "ReLU6",
            "hardswish": "Hardswish",
            "hardsigmoid": "Hardsigmoid",
        }
        layer = getattr(torch.nn, layers.get(name, name.upper()))().eval()
        x = torch.tensor([at], requires_grad=True)
        layer(x).sum().backward()
        return x.grad.item()
    if framework == "jax":
        jax = pytest.importorskip("jax")
        names = {"hardswish": "hard_swish", "hardsigmoid": "hard_sigmoid"}
        return float(jax.grad(getattr(jax.nn, names.get(name, name)))(at))
    tf = pytest.importorskip("tensorflow")
    x = tf.Variable([at])
    with tf.GradientTape() as tape:
        y = getattr(tf.nn, name)(x)
    return float(tape.gradient(y, x)[0])


SQUARED = {"relu_squared": "relu", "leaky_squared": "leaky_relu"}
KINKS = [
    pytest.param(framework, a, kink, id=f"{framework}-{a.name}-{kink.at}")
    for a in ACTIVATIONS.values()
    for kink in a.kinks
    for framework in kink.slopes
    if framework != "keras"  # its backend's, or words
]


@pytest.mark.parametrize(("framework", "activation", "kink"), KINKS)
def test_slope_stated_at_a_kink_is_the_frameworks(framework, activation, kink):
    names = {"SCALE": selu.SCALE, "ALPHA": selu.ALPHA} | activation.defaults()
    names |= {p.name: p.defaults[framework] for p in activation.parameters if framework in p.defaults}
    stated = eval(kink.slopes[framework].replace("·", "*"), {}, names)
    assert real_slope(framework, activation.name, float(kink.at)) == pytest.approx(stated, rel=1e-6)


@pytest.mark.parametrize("framework", ["torch", "jax", "tensorflow", "keras", "keras.activations", "keras.ops"])
def test_stated_defaults_are_the_frameworks_and_none_is_missing(framework):
    stated = {
        (a.name, p.name): p.defaults[framework]
        for a in ACTIVATIONS.values()
        for p in a.parameters
        if framework in p.defaults
    }
    assert stated == pytest.approx(real_defaults(framework)) or stated == real_defaults(framework)


def test_every_framework_named_is_known():
    named = {f for a in ACTIVATIONS.values() for p in a.parameters for f in p.defaults}
    named |= {f for a in ACTIVATIONS.values() for k in a.kinks for f in k.slopes}
    assert {f.partition(".")[0] for f in named} <= set(FRAMEWORKS)


def test_every_file_is_listed():
    files = {name for name in MODULES if not name.startswith("_")} - HELPERS
    assert files == set(ACTIVATIONS), "add the file's module to _MODULES in activations/__init__.py"


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_file_is_named_as_its_activation_and_says_all(name):
    a = ACTIVATIONS[name]
    module = importlib.import_module(f"relume.activations.{name}")
    assert module.ACTIVATION is a
    for text in (
        a.title,
        a.formula,
        a.range,
        a.can_die,
        a.saturates,
        a.advantages,
        a.disadvantages,
        a.when_to_use,
    ):
        assert text == text.strip() != ""
    assert a.sources
    assert all(s.link.startswith("http") and any(c.isdigit() for c in s.citation) for s in a.sources)
    for function in (module.value, module.slope):
        assert "Source:" in function.__doc__
        assert "Example:" in function.__doc__
    assert "Kinks:" in module.slope.__doc__


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_definition_calls_only_functions_that_its_namespace_has(name):
    """Other frameworks and the page's JavaScript are made from the same text."""
    module = importlib.import_module(f"relume.activations.{name}")
    allowed = {"where", "exp", "expm1", "tanh", "minimum", "maximum", "abs", "sqrt", "log", "log1p", "erf", "ones_like"}
    allowed |= {"max", "sum"} if name == "softmax" else set()
    for function in (module.value, module.slope):
        code = inspect.getsource(function).split('"""')[2]
        used = {part.split("(")[0] for part in code.split("xp.")[1:]}
        assert used <= allowed


@pytest.mark.parametrize(
    "name", ["relume.numpy.functional", "relume.numpy", *(f"relume.activations.{m}" for m in MODULES)]
)
def test_examples_in_docstrings_work(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0 or name.endswith("definition")


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("LeakyReLU", "leaky_relu"),
        ("leaky-relu", "leaky_relu"),
        ("swish", "silu"),
        ("RELU6", "relu6"),
        ("elu", "elu"),
    ],
)
def test_get_forgives_spelling(spelled, name):
    assert get(spelled).name == name


def test_get_of_an_unknown_name_lists_the_nearest_and_all_names():
    with pytest.raises(
        UnknownName, match=r"no activation 'leeky_relu'. Did you mean 'leaky_relu'.*tanh.*unknown-activation"
    ):
        get("leeky_relu")


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("leaky_relu", {"negative_slope": math.nan}, r"negative_slope = nan is not in \(−∞, ∞\)"),
        ("leaky_relu", {"negative_slope": math.inf}, "negative_slope = inf"),
        ("leaky_relu", {"negative_slope": "0.1"}, "negative_slope = '0.1'"),
        ("leaky_relu", {"negative_slope": True}, "negative_slope = True"),
        ("leaky_relu", {"slope": 0.1}, "no parameter 'slope'; its parameters: negative_slope"),
        ("leaky_relu", {"alpha": 0.1}, r"parameters: negative_slope\. It is called negative_slope\."),
        ("relu", {"alpha": 1.0}, "no parameter 'alpha'; its parameters: none"),
        ("celu", {"alpha": 0.0}, r"alpha = 0.0 is not in \(0, ∞\)"),
        ("elu", {"alpha": -1.0}, r"alpha = -1.0 is not in \[0, ∞\)"),
        ("rrelu", {"lower": 0.5, "upper": 0.25}, "lower = 0.5 is greater than upper = 0.25"),
        ("gelu", {"approximate": "erf"}, r"approximate = 'erf' is not in none \| tanh"),
        ("prelu", {"weight": np.array([0.1, np.nan])}, "weight = array"),
    ],
)
def test_check_refuses_what_does_not_fit(name, given, text):
    with pytest.raises(ParameterError, match=text):
        ACTIVATIONS[name].check(**given)


def test_check_overlays_the_defaults():
    assert ACTIVATIONS["rrelu"].check(upper=0.5) == {"lower": 1 / 8, "upper": 0.5}
    assert ACTIVATIONS["elu"].check(alpha=0) == {"alpha": 0}


def test_interval_writes_open_and_closed_ends():
    assert Parameter("p", 1.0, "", low=0.0, high=2.5).interval == "[0, 2.5]"
    assert Parameter("p", 1.0, "", low=0.0, low_open=True).interval == "(0, ∞)"


def test_only_prelu_learns_only_rrelu_is_random_and_only_softmax_is_not_elementwise():
    assert [a.name for a in ACTIVATIONS.values() if a.learnable] == ["prelu"]
    assert [a.name for a in ACTIVATIONS.values() if a.random] == ["rrelu"]
    assert [a.name for a in ACTIVATIONS.values() if not a.elementwise] == ["softmax"]

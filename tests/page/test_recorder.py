"""Definitions as JavaScript: what is written, what is refused. That it computes the same is tested in a browser."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from relume.activations import ACTIVATIONS
from relume.page.contents import SHOWN
from relume.page.recorder import XP, Symbol, X, derivative, record, script


def test_a_definition_is_written_as_one_expression():
    assert record(ACTIVATIONS["relu6"]) == {
        "value": "return (x < 0 ? 0 : (x > 6 ? 6 : x));",
        "slope": "return (x <= 0 ? 0.0 : (x >= 6 ? 0.0 : 1));",
    }


def test_a_repeated_expression_is_computed_once():
    tail = XP.exp(-XP.abs(X))
    assert script(tail / (1 + tail)) == "const t0 = Math.exp((-Math.abs(x))); return (t0 / (1 + t0));"


def test_a_parameter_of_words_is_a_branch_for_each():
    body = record(ACTIVATIONS["gelu"])["value"]
    assert re.findall(r'p\.approximate === "(\w+)"', body) == ["none", "tanh"]
    assert "Math.tanh" in body.split("} if")[1]


def test_a_random_slope_has_functions_of_the_drawn_slope():
    bodies = record(ACTIVATIONS["rrelu"])
    assert bodies["drawnSlope"] == "return (x > 0 ? 1 : (s * 1));"
    assert "p.lower" in bodies["value"]
    assert "p." not in bodies["drawnValue"]


def test_the_gradient_of_a_learned_parameter_comes_from_the_value():
    body = record(ACTIVATIONS["prelu"])["byParameter"]
    assert "p.weight" not in body
    assert [name for a in SHOWN for name in record(a) if name == "byParameter"] == ["byParameter"]


def test_a_derivative_that_is_not_known_is_refused():
    w = Symbol("p.w", 0.5)
    with pytest.raises(ArithmeticError, match=r"derivative of exp by p\.w"):
        derivative(XP.exp(w * X), w)


def test_a_definition_that_branches_on_x_is_refused():
    wrong = replace(ACTIVATIONS["relu"], value=lambda x, xp: x if x > 0 else 0)
    with pytest.raises(TypeError, match=r"write xp\.where"):
        record(wrong)


def test_a_function_that_the_page_lacks_is_refused():
    with pytest.raises(AttributeError, match="sinh"):
        record(replace(ACTIVATIONS["relu"], value=lambda x, xp: xp.sinh(x)))

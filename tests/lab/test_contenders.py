"""What stands behind ``--with``."""

from __future__ import annotations

import re

import pytest

from relume.artifacts.trial import Contender
from relume.errors import ParameterError, RelumeError, StudyError, UnknownName
from relume.lab.contenders import parse_contender, parse_contenders


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("relu", Contender("relu", "relu")),
        ("leaky_relu:0.2", Contender("leaky_relu:0.2", "leaky_relu", {"negative_slope": 0.2})),
        (" LeakyReLU : 0.2", Contender("leaky_relu:0.2", "leaky_relu", {"negative_slope": 0.2})),
        ("swish", Contender("silu", "silu")),
        ("rrelu:0.1:0.3", Contender("rrelu:0.1:0.3", "rrelu", {"lower": 0.1, "upper": 0.3})),
        ("prelu", Contender("prelu:channel", "prelu", {}, "channel")),
        ("prelu:shared", Contender("prelu:shared", "prelu", {}, "shared")),
        ("prelu:0.1", Contender("prelu:channel:0.1", "prelu", {"weight": 0.1}, "channel")),
        ("prelu:shared:0.1", Contender("prelu:shared:0.1", "prelu", {"weight": 0.1}, "shared")),
        ("gelu:tanh", Contender("gelu:tanh", "gelu", {"approximate": "tanh"})),
        ("mypkg.act:Mine", Contender("mypkg.act:Mine", target="mypkg.act:Mine")),
        ("acts:Outer.Mine", Contender("acts:Outer.Mine", target="acts:Outer.Mine")),
    ],
)
def test_a_contender_is_read(text, read):
    assert parse_contender(text) == read


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("reluu", UnknownName, "Did you mean 'relu'"),
        ("elu:a", ParameterError, "'a' is not a number for alpha"),
        ("elu:1:2", ParameterError, "more parts than it has parameters"),
        ("relu:1", ParameterError, r"more parts than it has parameters \(none\)"),
        ("elu:-1", ParameterError, "alpha = -1.0 is not in"),
        ("rrelu:0.5:0.1", ParameterError, "lower"),
        ("softmax", ParameterError, "mixes the units"),
        ("prelu:both", ParameterError, "'both' is not a number for weight"),
    ],
)
def test_contenders_that_cannot_be_compared_are_refused(text, error, match):
    with pytest.raises(error, match=match):
        parse_contender(text)


def test_a_list_keeps_its_order():
    assert [c.name for c in parse_contenders("gelu,leaky_relu:0.2, mypkg:f,")] == ["gelu", "leaky_relu:0.2", "mypkg:f"]
    assert [c.name for c in parse_contenders(["gelu", "elu,silu"])] == ["gelu", "elu", "silu"]


@pytest.mark.parametrize(("text", "match"), [("", "names no activation"), ("elu,ELU", "names 'elu' twice")])
def test_a_list_is_not_empty_and_names_each_contender_once(text, match):
    with pytest.raises(StudyError, match=match):
        parse_contenders(text)


def test_treatments_are_read_with_their_parameters_and_defaults():
    read = {text: parse_contender(text) for text in ("lr:1/4", "clip", "warmup:20", "init", "revive:cbp:0.01")}
    assert {name: each.treatment for name, each in read.items()} == {name: name.partition(":")[0] for name in read}
    assert read["lr:1/4"].parameters == {"factor": 0.25}
    assert read["clip"].parameters == {"norm": 1.0}
    assert read["warmup:20"].parameters == {"steps": 20.0}
    assert read["revive:cbp:0.01"].parameters == {
        "rule": "continual_backprop", "rate": 0.01, "maturity": 100, "decay": 0.99, "every": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr", "factor is missing"),
        ("lr:0", "a number above 0"),
        ("lr:x", "a number above 0"),
        ("clip:1:2", "more parts than it has parameters"),
        ("revive:often", "There is no rule 'often'"),
    ],
)
def test_treatments_that_cannot_be_read_say_why(text, said):
    with pytest.raises(RelumeError, match=re.escape(said)):
        parse_contender(text)

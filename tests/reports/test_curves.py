"""Pictures of the curves."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from relume.errors import MissingExtra, ParameterError, RelumeError, UnknownName
from relume.reports.family import curves


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("relu", "ReLU"),
        ("LeakyReLU:0.2", "LeakyReLU (negative_slope = 0.2)"),
        ("elu:alpha=2", "ELU (alpha = 2)"),
        ("prelu:1/3", "PReLU (weight = 1/3)"),
        ("rrelu", "RReLU (lower = 0.125, upper = 1/3)"),
        ("rrelu:0.1,upper=0.3", "RReLU (lower = 0.1, upper = 0.3)"),
        ("gelu:tanh", "GELU (approximate = tanh)"),
        ("elu:1.23456789", "ELU (alpha = ≈ 1.235)"),
        ("swish", "SiLU"),
    ],
)
def test_parse_reads_names_and_parameters(text, label):
    assert curves.parse(text).label == label


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("eluu", UnknownName, "no activation 'eluu'. Did you mean 'elu'"),
        ("elu:x", ParameterError, "alpha = 'x' is not a number"),
        ("elu:1/0", ParameterError, "alpha = '1/0' is not a number"),
        ("elu:1,2", ParameterError, "has fewer parameters than you gave; its parameters: alpha"),
        ("relu:1", ParameterError, "its parameters: none"),
        ("elu:slope=1", ParameterError, "ELU has no parameter 'slope'"),
        ("elu:-1", ParameterError, "alpha = -1.0 is not in"),
        ("leaky_relu:nan", ParameterError, "negative_slope = nan"),
        ("gelu:erf", ParameterError, "approximate = 'erf'"),
        ("softmax", RelumeError, "Softmax has no curve"),
    ],
)
def test_parse_refuses_what_it_cannot_draw(text, error, match):
    with pytest.raises(error, match=re.escape(match)):
        curves.parse(text)


def test_slope_breaks_at_the_kink_and_marks_the_value_on_it():
    rows = curves.points(curves.parse("selu"), "slope", (-1.0, 1.0))
    dots = [row for row in rows if row["dot"]]
    assert [(row["x"], round(row["y"], 4)) for row in dots] == [(0.0, 1.7581)]
    left = [row["y"] for row in rows if row["piece"] == 0]
    right = [row["y"] for row in rows if row["piece"] == 1]
    assert max(left) == pytest.approx(1.7581, abs=1e-4)
    assert set(np.round(right, 4)) == {1.0507}


def test_value_and_smooth_slopes_are_one_piece():
    for text, part in (("relu6", "value"), ("celu:2", "slope"), ("elu", "slope"), ("gelu", "slope")):
        rows = curves.points(curves.parse(text), part, (-4.0, 8.0))
        assert {row["piece"] for row in rows} == {0}
        assert not any(row["dot"] for row in rows)


def test_rrelu_is_a_band_around_its_mean():
    rows = curves.points(curves.parse("rrelu:0.1,0.3"), "value", (-4.0, 4.0))
    first, last = rows[0], rows[-1]
    assert (first["low"], first["y"], first["high"]) == pytest.approx((-1.2, -0.8, -0.4))
    assert last["low"] == last["y"] == last["high"] == 4.0


def test_span_reaches_beyond_the_kinks():
    assert curves.span([curves.parse("relu")]) == (-4.0, 4.0)
    assert curves.span([curves.parse("relu"), curves.parse("relu6")]) == (-4.0, 8.0)


def test_curves_differ_in_color_and_dash_and_are_listed_once():
    names = [
        "relu",
        "leaky_relu",
        "leaky_relu:0.2",
        "prelu",
        "rrelu",
        "relu6",
        "elu",
        "celu:2",
        "selu",
        "elu",
    ]
    drawn = [curves.parse(name) for name in names]
    specification = str(curves.chart(drawn, slope=True).to_dict())
    assert all(specification.count(f"'{curve.label}'") for curve in drawn)
    pairs = {(curves.COLORS[i % len(curves.COLORS)], curves.DASHES[i % len(curves.DASHES)]) for i in range(56)}
    assert len(pairs) == 56


@pytest.mark.parametrize(
    ("ending", "head"), [(".svg", b"<svg"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")]
)
def test_save_writes_the_format_of_the_ending(tmp_path, ending, head):
    path = tmp_path / f"curves{ending}"
    curves.save(curves.chart([curves.parse("relu"), curves.parse("rrelu")], slope=True), path)
    assert path.read_bytes().startswith(head)


def test_svg_holds_the_words_of_axes_and_legend(tmp_path):
    path = tmp_path / "curves.svg"
    curves.save(curves.chart([curves.parse("elu:2"), curves.parse("relu")], slope=True), path)
    text = path.read_text()
    for words in ("ELU (alpha = 2)", "ReLU", "f(x)", "f′(x)", "Liberation Sans"):
        assert words in text


def test_a_wrong_ending_and_a_missing_folder_are_errors(tmp_path):
    picture = curves.chart([curves.parse("relu")])
    with pytest.raises(RelumeError, match=r"'a\.txt' does not end in \.svg, \.png or \.pdf.*\[file-ending\]"):
        curves.save(picture, tmp_path / "a.txt")
    with pytest.raises(RelumeError, match=r"Cannot write .*a\.svg: No such file.*\[cannot-write\]"):
        curves.save(picture, tmp_path / "nowhere" / "a.svg")


@pytest.mark.parametrize("package", ["altair", "vl_convert"])
def test_a_missing_extra_is_an_error_with_its_install_command(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package}.*pip install 'relume\[report\]'.*\[missing-extra\]"):
        curves.chart([curves.parse("relu")])

"""``relume plot``."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from relume.cli import relume
from relume.errors import ParameterError, RelumeError


def plot(*arguments):
    return CliRunner().invoke(relume, ["plot", *arguments], catch_exceptions=False)


def test_plot_writes_the_picture_and_replaces_an_older_one(tmp_path):
    path = tmp_path / "curves.svg"
    path.write_text("old")
    result = plot("relu", "leaky_relu:0.2", "rrelu", "--slope", "--between", "-2", "2", "-o", str(path))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"Wrote {path}\n")
    text = path.read_text()
    assert "LeakyReLU (negative_slope = 0.2)" in text
    assert "f′(x)" in text


def test_plot_without_slope_has_one_panel(tmp_path):
    path = tmp_path / "curves.svg"
    plot("elu", "-o", str(path))
    assert "f′(x)" not in path.read_text()


def test_plot_refuses_a_wrong_file_ending_first(tmp_path):
    with pytest.raises(RelumeError, match=r"'a\.jpg' does not end in"):
        plot("nix", "-o", str(tmp_path / "a.jpg"))


def test_plot_refuses_parameters_out_of_bounds(tmp_path):
    with pytest.raises(ParameterError, match="alpha = 0"):
        plot("celu:0", "-o", str(tmp_path / "a.svg"))


@pytest.mark.parametrize("between", [("2", "-2"), ("nan", "1"), ("0", "inf"), ("1", "1")])
def test_plot_refuses_an_empty_range(tmp_path, between):
    result = plot("elu", "-o", str(tmp_path / "a.svg"), "--between", *between)
    assert result.exit_code == 2
    assert "not two finite numbers in ascending order" in result.stderr


def test_plot_needs_a_name_and_a_file():
    assert "Missing argument" in plot("-o", "a.svg").stderr
    assert "Missing option '-o'" in plot("elu").stderr


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_plot_has_the_width_of_a_column_and_vectors(tmp_path, ending):
    path = tmp_path / f"curves.{ending}"
    assert plot("relu", "elu", "--slope", "--width", "8.5", "-o", str(path)).exit_code == 0
    made = path.read_bytes()
    if ending == "svg":
        assert re.search(rb'<svg [^>]*width="8.5cm" height="[\d.]+cm" viewBox="0 0 ', made)
    elif ending == "pdf":
        across = float(re.search(rb"MediaBox \[0 0 ([\d.]+) ", made)[1])
        assert across == pytest.approx(8.5 / 2.54 * 72, abs=1)
        assert b"LiberationSans" in made
        assert b"/Subtype /Image" not in made
    else:
        assert int.from_bytes(made[16:20]) == pytest.approx(8.5 / 2.54 * 300, abs=2)
        place = made.index(b"pHYs") + 4
        assert int.from_bytes(made[place : place + 4]) == round(300 / 0.0254)


@pytest.mark.parametrize("width", ["0", "-3", "nan", "1000"])
def test_plot_refuses_a_width_that_no_paper_has(tmp_path, width):
    result = plot("elu", "-o", str(tmp_path / "a.svg"), "--width", width)
    assert result.exit_code == 2
    assert "not a width for print" in result.stderr

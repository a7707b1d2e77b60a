"""``relume explain``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from relume.cli import Exit, relume
from relume.errors import UnknownName


def explain(*arguments):
    return CliRunner().invoke(relume, ["explain", *arguments], env={"COLUMNS": "100"}, catch_exceptions=False)


def test_explain_an_activation_prints_curve_defaults_and_sources():
    result = explain("elu")
    assert result.exit_code == 0
    for words in (
        "ELU",
        "f′(x)",
        "⠉",
        "Parameters",
        "Slope at the kinks",
        "Hazards",
        "arxiv.org/abs/1511.07289",
    ):
        assert words in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["RLM001", "dead_unit", "rlm001"])
def test_explain_a_rule_prints_its_page(name):
    text = explain(name).stdout
    assert "RLM001" in text
    assert "What it finds" in text


def test_explain_json_is_the_same_entry():
    assert json.loads(explain("Leaky-ReLU", "--json").stdout)["activation"]["name"] == "leaky_relu"
    assert json.loads(explain("RLM001", "--json").stdout)["rule"]["name"] == "dead_unit"


def test_explain_an_unknown_name_lists_the_nearest_and_all_names():
    with pytest.raises(UnknownName, match=r"'\[red\]elu'\. Did you mean 'relu'\? Activations: relu, .* Rules: RLM001"):
        explain("[red]elu")


def test_explain_an_unknown_name_exits_with_a_usage_error_on_stderr():
    done = subprocess.run([sys.executable, "-m", "relume", "explain", "[bold]nix"], capture_output=True, text=True)
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    assert done.stderr.startswith("relume: There is no activation or rule '[bold]nix'.")
    assert "Traceback" not in done.stderr

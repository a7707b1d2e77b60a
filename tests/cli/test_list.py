"""``relume list``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from relume.activations import ACTIVATIONS
from relume.activations.deviations import load
from relume.cli import relume


def test_list_prints_the_family():
    result = CliRunner().invoke(relume, ["list", "--full"], env={"COLUMNS": "100"}, catch_exceptions=False)
    assert result.exit_code == 0
    assert all(a.title in result.stdout for a in ACTIVATIONS.values())
    assert "Advantages" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("width", [80, 100, 160])
def test_list_has_one_line_for_each_activation(width):
    result = CliRunner().invoke(relume, ["list"], env={"COLUMNS": str(width)}, catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    for a in ACTIVATIONS.values():
        (line,) = [line for line in lines if line.split()[:1] == [a.title]]
        assert f" {a.can_die.split()[0].strip(':,;')} " in line


def test_list_json_is_the_family():
    result = CliRunner().invoke(relume, ["list", "--json"], catch_exceptions=False)
    rows = json.loads(result.stdout)["activations"]
    assert [a["name"] for a in rows] == list(ACTIVATIONS)
    needs = {a["name"]: a["backward_needs"] for a in rows}
    assert {needs[name] for name in ("relu", "leaky_relu", "relu6", "elu", "sigmoid", "tanh")} == {"output"}
    assert {needs[name] for name in ("prelu", "gelu", "silu", "leaky_squared")} == {"input"}  # falls, or has slopes
    assert needs["rrelu"] == "drawn slopes"


def test_list_deviations_prints_every_row():
    result = CliRunner().invoke(relume, ["list", "--deviations"], env={"COLUMNS": "1500"}, catch_exceptions=False)
    assert result.exit_code == 0
    for row in load():
        assert row.where in result.stdout
        assert row.says in result.stdout
    assert f"{len(load())} rows" in result.stdout
    narrow = CliRunner().invoke(relume, ["list", "--deviations"], env={"COLUMNS": "80"}, catch_exceptions=False)
    assert max(map(len, narrow.stdout.splitlines())) <= 80


def test_list_deviations_json_is_every_row_in_strict_json():
    result = CliRunner().invoke(relume, ["list", "--deviations", "--json"], catch_exceptions=False)
    rows = json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["deviations"]
    assert [(row["native"], row["says"]) for row in rows] == [(row.native, row.says) for row in load()]


def test_list_into_a_pipe_has_100_columns_and_no_color():
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE")}
    done = subprocess.run([sys.executable, "-m", "relume", "list"], env=environment, capture_output=True, check=True)
    text = done.stdout.decode()
    assert max(map(len, text.splitlines())) == 100
    assert "\x1b" not in text
    assert done.stderr == b""


def test_list_respects_no_color_even_if_color_is_forced():
    environment = os.environ | {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "relume", "explain", "elu"]
    plain = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    assert b"\x1b[36m" not in plain
    assert b"\x1b[33m" not in plain
    del environment["NO_COLOR"]
    colored = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    assert b"36m" in colored


def test_list_into_an_ascii_pipe_replaces_what_it_cannot_write():
    command = [sys.executable, "-m", "relume"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for arguments in (["list"], ["list", "--json"], ["explain", "elu"]):
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()

"""Scripts whose activations are hard to place, by the public command with its defaults: the planted units, no others.

Each script of ``hard_scripts/`` plants its dead units by a bias of −50; here stands which ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "hard_scripts"
PLANTED = {
    "activation_made_in_forward": {None: [2, 7, 11, 19, 23]},
    "adapted_weights": {"1": [0, 13]},
    "exported": {"1": [1, 9]},
    "late_deaths": {"1": [3, 14, 15, 30, 47]},
    "no_modules": {None: [1, 5]},
    "no_self": {None: [4, 5, 6]},
    "two_optimizers": {"1": [3, 30], "3": [7]},
    "written_by_hand": {str(number): [number] for number in range(9)},
}


def watch(folder, name, *options):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "relume"]
    script = str(SCRIPTS / f"{name}.py")
    run = subprocess.run([*command, "run", *options, script], cwd=folder, env=env, capture_output=True, timeout=200)
    assert run.returncode == 0, run.stderr.decode()
    report = [*command, "report", "run.relume", "--json"]
    return json.loads(subprocess.run(report, cwd=folder, env=env, capture_output=True, check=True, timeout=100).stdout)


def test_every_script_is_watched():
    assert {path.stem for path in SCRIPTS.glob("*.py")} == PLANTED.keys() | {"slope_decays"}


@pytest.mark.parametrize("name", PLANTED)
def test_the_planted_units_are_dead_and_no_others(name, tmp_path):
    data = watch(tmp_path, name)
    assert [site["dead"] for site in data["sites"]] == list(PLANTED[name].values())
    for site, module in zip(data["sites"], PLANTED[name], strict=True):
        assert name == "written_by_hand" or module is None or module in site["module"]
    assert not any("frozen" in str(site["cause"]) for site in data["sites"])


def test_every_looked_at_step_is_counted_outside_modules_too(tmp_path):
    data = watch(tmp_path, "no_modules")
    assert data["run"]["looked"] > 100
    assert data["run"]["samples"] == 16 * data["run"]["looked"]


def test_deaths_late_in_a_run_are_dated(tmp_path):
    (site,) = watch(tmp_path, "late_deaths")["sites"]
    for unit in map(str, PLANTED["late_deaths"]["1"]):
        assert site["died_after"][unit] < 4500 <= site["died_at"][unit]
        assert site["died_at"][unit] - site["died_after"][unit] <= 120  # 2 % of the run


def test_a_slope_that_weight_decay_drags_to_zero_is_reported(tmp_path):
    (finding,) = (found for found in watch(tmp_path, "slope_decays")["findings"] if found["rule"] == "RLM017")
    assert "weight decay of 0.15" in finding["evidence"]
    assert "exempt" in finding["advice"]

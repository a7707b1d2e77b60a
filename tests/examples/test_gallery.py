"""The scripts of docs/gallery.md: each has the fault that the page names, and is without it when cured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RELUME = Path(sys.executable).with_name("relume")
FAULTS = {
    "spike": "dead_unit",
    "not_a_number": "non_finite",
    "raw_pixels": "dead_unit",
    "relu_on_logits": "output_activation",
    "deep_sigmoid": "vanishing_gradient",
    "decayed_slopes": "learned_slope",
}

SLOW = dict.fromkeys(("not_a_number", "raw_pixels", "deep_sigmoid"), pytest.mark.slow)


def seen(name, folder, *options):
    """(findings' names at how many units, accuracy) of a script under relume."""
    script = ROOT / "examples/gallery" / f"{name}.py"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [RELUME, "run", "-q", script, *options], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    report = subprocess.run([RELUME, "report", "--json"], cwd=folder, env=env, capture_output=True, check=True)
    units = {}
    for finding in json.loads(report.stdout)["findings"]:
        units[finding["slug"]] = units.get(finding["slug"], 0) + max(len(finding["units"]), 1)
    return units, float(re.search(r"accuracy: ([\d.]+)", run.stdout)[1])


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in FAULTS])
def test_the_fault_is_found_and_gone_when_it_is_cured(name, tmp_path):
    before, accuracy = seen(name, tmp_path)
    after, cured = seen(name, tmp_path, "--cured")
    assert before[FAULTS[name]] > 10 * after.get(FAULTS[name], 0)
    assert cured >= accuracy
    assert name == "decayed_slopes" or cured > 0.9 > accuracy


def test_every_script_of_the_gallery_is_on_its_page_with_its_picture():
    scripts = {path.stem for path in (ROOT / "examples/gallery").glob("*.py")}
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert scripts == set(FAULTS) == set(re.findall(r"^\| `(\w+)\.py`", page, re.M))
    assert {f"images/gallery/{name}.png" for name in scripts} == set(re.findall(r"\((images/[^)]+)\)", page))

"""Published numbers: the runner is honest, the intervals are those of the sources, and the fast claims hold."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

ROOT = Path(__file__).parents[2]
PAPERS = ROOT / "papers"
sys.path.insert(0, str(PAPERS))

import reproduce  # noqa: E402  a script beside the papers, not a package

EXPERIMENTS = {experiment.name: experiment for experiment in reproduce.read()}
FAST = [experiment for experiment in EXPERIMENTS.values() if experiment.fast]


@pytest.mark.parametrize("experiment", FAST, ids=lambda experiment: experiment.name)
def test_fast_claims_are_reproduced(experiment, tmp_path):
    found = reproduce.run(experiment, tmp_path)
    rows = [reproduce.judge(claim, found) for claim in experiment.claims]
    assert [row for row in rows if row["verdict"] != "reproduced"] == []


NOT_RUN: set[str] = set()  # docs/reference/published-numbers.md says which these are
SHORT = {
    "deep-variance": "--networks 1 --epochs 1 --seeds 1",
    "collapse-relu-rai": "--networks 8 --steps 3",
    "mnist1d-mlp": "--steps 3 --seeds 2",
    "slow-regression": "--steps 500 --networks 2",
    "slow-regression-revived": "--steps 500 --networks 2",
    "permuted-digits": "--tasks 2 --networks 2",
    "permuted-digits-revived": "--tasks 2 --networks 2",
}
QUICK = {"mnist1d-mlp", "slow-regression-revived"}
SLOW = [(), pytest.mark.slow]


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW[name not in QUICK]) for name in SHORT])
def test_a_shortened_experiment_prints_each_claimed_number(name, tmp_path):
    experiment = replace(EXPERIMENTS[name], command=f"{EXPERIMENTS[name].command} {SHORT[name]}")
    assert {claim.label for claim in experiment.claims} <= set(reproduce.run(experiment, tmp_path))


def lu_bounds(width, layers):
    """Theorem 3 of Lu et al. 2019: the least and the greatest probability of being born dead."""
    one, two = 1 - 2.0**-width, 1 - 2.0 ** (1 - width) - (width - 1) * 4.0**-width
    share = (1 - 2.0**-width) * (1 - 2.0 ** (1 - width)) / (1 + (width - 1) * 2.0**-width)
    lower = 1 - one ** (layers - 2) + share * (two ** (layers - 2) - one ** (layers - 2))
    return lower, 1 - one ** (layers - 1)


def test_intervals_of_networks_born_dead_are_the_bounds_of_the_theorem():
    for claim in EXPERIMENTS["born-dead"].claims:
        width, layers = (int(part.split()[-1 if part.startswith("width") else 0]) for part in claim.label.split(", "))
        low, high = lu_bounds(width, layers)
        if "above 10 %" in claim.published:
            low = max(low, 0.1)
        assert claim.interval == pytest.approx((low, high), abs=1e-4), claim


def test_every_claim_names_its_source_and_an_interval():
    for experiment in EXPERIMENTS.values():
        assert experiment.source
        assert experiment.claims
        for claim in experiment.claims:
            low, high = claim.interval
            assert low < high
            assert math.isfinite(low + high)
            assert claim.published


def test_every_script_of_the_papers_is_run():
    commands = " ".join(experiment.command for experiment in EXPERIMENTS.values())
    unused = [path.name for path in PAPERS.glob("*.py") if path.name != "reproduce.py" and path.name not in commands]
    assert unused == []


ENTRY = """
[[experiment]]
name = "{name}"
title = "A number"
source = "Somebody 2019, theorem 3"
command = "told.py"
interval_from = "the source"
{more}
claim = [{{ label = "width 2", published = "0.5 to 0.7", interval = [{interval}] }}]
"""


def prepare(folder, *entries, script='print("width 2: 60 of 100")'):
    """The runner beside claims and a script of its own."""
    given = {"name": "first", "interval": "0.5, 0.7", "more": ""}
    text = "".join(ENTRY.format(**given | entry) for entry in entries or [{}])
    (folder / "claims.toml").write_text(text, encoding="utf-8")
    (folder / "told.py").write_text(script, encoding="utf-8")
    shutil.copy(PAPERS / "reproduce.py", folder)


def make(folder, *options):
    done = subprocess.run([sys.executable, folder / "reproduce.py", *options], capture_output=True, text=True)
    kept = json.loads((folder / "reproduced.json").read_text(encoding="utf-8"))["rows"]
    return done, {row["claim"]: row for row in kept}


def test_a_figure_outside_its_interval_is_printed_as_not_reproduced_next_to_ours(tmp_path):
    prepare(tmp_path, {"interval": "0.65, 0.7"})
    done, kept = make(tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "width 2" in line]
    assert re.match(r" +width 2 +0\.5 to 0\.7 +0\.65 to 0\.7 +0\.6 +0\.502 to 0\.691 +not reproduced +\d", line), line
    assert make(tmp_path)[0].returncode == 0  # it is known by now
    assert f"A number  (first)\n  Somebody 2019, theorem 3\n  $ python {tmp_path.name}/told.py\n" in done.stdout
    assert "\n0 of 1 figures reproduced, 1 not reproduced.\n" in done.stdout
    row = kept["width 2"]
    assert (row["verdict"], row["interval"], row["published"]) == ("not reproduced", [0.65, 0.7], "0.5 to 0.7")
    assert row["ours_interval"] == pytest.approx(proportion_confint(60, 100, method="wilson"), rel=1e-5)
    assert (row["ours"], row["experiment"], row["source"]) == (0.6, "first", "Somebody 2019, theorem 3")
    assert row["cpu_seconds"] > 0


def test_a_figure_within_its_interval_passes_and_a_later_run_says_what_has_changed(tmp_path):
    prepare(tmp_path)
    done, kept = make(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n1 of 1 figures reproduced.\n" in done.stdout
    assert kept["width 2"]["verdict"] == "reproduced"
    prepare(tmp_path, script='print("width 2: 1 of 100")')
    done, kept = make(tmp_path)
    assert re.search(r"^first: width 2: not reproduced, on \d{4}-\d\d-\d\d reproduced$", done.stdout, re.MULTILINE)
    assert kept["width 2"]["ours"] == 0.01


def test_missing_data_are_reported_with_the_command_to_get_them_and_reuse_no_earlier_result(tmp_path):
    prepare(tmp_path, {"more": 'needs = "/nowhere"\ninstall = "apt-get install somewhere"'})
    old = {"experiment": "first", "claim": "width 2", "verdict": "reproduced", "ours": 0.6}
    text = json.dumps({"schema": 1, "rows": [old]})
    (tmp_path / "reproduced.json").write_text(text, encoding="utf-8")
    done, kept = make(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "/nowhere is not there; to install it: apt-get install somewhere" in done.stdout
    assert "\n0 of 1 figures reproduced, 1 not run.\n" in done.stdout
    assert kept == {"width 2": old}


def test_a_command_that_fails_is_reported_and_the_others_continue_unless_one_is_requested(tmp_path):
    script = "import pathlib, sys\nif not pathlib.Path(sys.argv[0]).with_name('again').exists():\n"
    script += "    pathlib.Path(sys.argv[0]).with_name('again').touch()\n    sys.exit(3)\nprint('width 2: 60 of 100')"
    prepare(tmp_path, {}, {"name": "second"}, script=script)
    done, kept = make(tmp_path)
    assert done.returncode == 1
    assert "its command ended with exit status 3" in done.stdout
    assert "\n1 of 2 figures reproduced, 1 failed.\n" in done.stdout
    assert kept["width 2"]["experiment"] == "second"
    done, _ = make(tmp_path, "--only", "first")
    assert "\n1 of 1 figures reproduced.\n" in done.stdout
    kept = json.loads((tmp_path / "reproduced.json").read_text(encoding="utf-8"))["rows"]
    assert [row["experiment"] for row in kept] == ["first", "second"]


def test_an_unknown_name_is_refused_with_those_there_are(tmp_path):
    prepare(tmp_path)
    done = subprocess.run([sys.executable, tmp_path / "reproduce.py", "--only", "x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no experiment x: there are first" in done.stderr


def test_a_number_that_is_not_printed_is_not_reproduced():
    claim = reproduce.Claim("width 9, 9 layers", "0.5", (0.0, 1.0))
    row = reproduce.judge(claim, {})
    assert (row["verdict"], row["why"]) == ("not reproduced", "no such number is told")


def test_an_invalid_number_is_not_reproduced():
    row = reproduce.judge(reproduce.Claim("loss", "converges", (0.0, 2.0)), reproduce.figures("loss: nan nan\n"))
    assert (row["verdict"], row["ours"]) == ("not reproduced", None)


def test_numbers_are_read_from_lines_with_their_intervals():
    found = reproduce.figures("epoch 1\na, b: 25 of 100\nc: 1e-9\nd: x\ne: 63.1 64.8 62.9\n")
    assert set(found) == {"a, b", "c", "e"}
    assert (found["a, b"].low, found["a, b"].high) == pytest.approx(proportion_confint(25, 100, method="wilson"))
    assert found["c"].value == 1e-9
    assert math.isnan(found["c"].low)
    oracle = DescrStatsW([63.1, 64.8, 62.9])
    assert found["e"].value == pytest.approx(oracle.mean)
    assert (found["e"].low, found["e"].high) == pytest.approx(oracle.tconfint_mean())


def test_numbers_are_read_from_a_study():
    told = {"activation": "elu", "n": 10, "mean": 68.2, "sd": 1.6, "difference": 2.5, "ci": [1.0, 4.0]}
    told |= {"baseline_mean": 65.7, "baseline_sd": 1.2}
    found = reproduce.figures(json.dumps({"verdicts": [told]}))
    assert found["elu, difference"] == reproduce.Figure(2.5, 1.0, 4.0)
    assert (found["elu, mean"].low, found["elu, mean"].high) == pytest.approx((67.06, 69.34), abs=0.01)
    assert (found["baseline, mean"].low, found["baseline, mean"].high) == pytest.approx((64.84, 66.56), abs=0.01)


def test_the_stored_results_match_the_claims():
    kept = json.loads((PAPERS / "reproduced.json").read_text(encoding="utf-8"))["rows"]
    claims = [(e, claim) for e in EXPERIMENTS.values() if e.name not in NOT_RUN for claim in e.claims]
    assert [(row["experiment"], row["claim"]) for row in kept] == [(e.name, claim.label) for e, claim in claims]
    for row, (experiment, claim) in zip(kept, claims, strict=True):
        told = (row["source"], row["command"], row["published"], tuple(row["interval"]))
        assert told == (experiment.source, experiment.typed, claim.published, claim.interval)
        inside = claim.interval[0] <= row["ours"] <= claim.interval[1]
        assert row["verdict"] == ("reproduced" if inside else "not reproduced")


def test_the_documentation_says_which_claims_were_not_run_yet():
    page = (ROOT / "docs" / "reference" / "published-numbers.md").read_text(encoding="utf-8")
    said = re.findall(r"^Not run yet: `make reproduce ONLY=(.+)`\.$", page, re.MULTILINE)
    assert set(said) == NOT_RUN <= EXPERIMENTS.keys()

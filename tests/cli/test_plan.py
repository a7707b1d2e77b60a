"""``relume plan``: from a run to a plan that a person edits and looks at again."""

from __future__ import annotations

import json

import pytest
from helpers import commands

from relume.cli import Exit

relume = commands.relume


@pytest.fixture
def run(tmp_path):
    return commands.write(tmp_path / "run.relume", dead=(5, 6))


def test_a_plan_is_written_edited_and_shown_again(relume, run, tmp_path):
    status, out, said = relume("plan", run, "-o", tmp_path / "plan.json")
    assert status == Exit.DONE
    assert "4 actions for 4 of 4 dead units" in out
    assert "use leaky_relu:0.1 here instead" in out
    applying = f"--plan {tmp_path / 'plan.json'} --out after.relume train.py && relume diff {run} after.relume"
    assert f"Next: relume run {applying}" in out
    assert f"Next: relume plan {run} -o plan.json" in relume("plan", run)[1]
    assert "Wrote" in said
    told = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    told["actions"] = [told["actions"][1]]
    assert told["actions"][0]["cure"] == "swap_activation"
    told["actions"][0]["settings"]["to"] = "elu"
    (tmp_path / "plan.json").write_text(json.dumps(told), encoding="utf-8")
    shown = relume("plan", tmp_path / "plan.json")[1]
    assert "1 action for 2 of 2 dead units" in shown
    assert "use elu here instead" in shown


def test_json_equals_the_written_file(relume, run, tmp_path):
    relume("plan", run, "-o", tmp_path / "plan.json")
    assert relume("plan", run, "--json")[1] == (tmp_path / "plan.json").read_text(encoding="utf-8")


def test_a_run_without_dead_units_needs_no_cure(relume, tmp_path):
    commands.write(tmp_path / "run.relume", dead=())
    assert "Nothing to do: no unit is dead." in relume("plan", tmp_path / "run.relume")[1]


def test_an_edit_that_does_not_fit_is_a_usage_error(relume, tmp_path):
    (tmp_path / "plan.json").write_text(
        '{"is": "relume plan", "schema": 1, "of": {}, "actions": [1]}', encoding="utf-8"
    )
    status, _, said = relume("plan", tmp_path / "plan.json")
    assert status == Exit.USAGE
    assert "actions[0]" in said
    assert "[plan-damaged]" in said

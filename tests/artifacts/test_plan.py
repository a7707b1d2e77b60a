"""A plan as a file: read back as it was written, edited by a person, and refused where it does not fit."""

from __future__ import annotations

import json

import pytest

from relume.artifacts.plan import Action, CurePlan, Open, read_plan, write_plan
from relume.errors import PlanError

PLAN = CurePlan(
    {"file": "run.relume", "script": "train.py", "argv": [], "steps": 5},
    (
        Action(
            "lower_rate", "Net.a@t.py:3", tuple(range(40)), "large update 40", ("µ",), {"factor": 0.5}, "do", "relume"
        ),
    ),
    (Open("Net.b@t.py:4", (1,), "no cure"),),
)


@pytest.fixture
def file(tmp_path):
    write_plan(PLAN, tmp_path / "plan.json")
    return tmp_path / "plan.json"


def test_a_plan_is_read_back_as_it_was_written(file):
    assert read_plan(file) == PLAN


def test_a_person_can_read_it(file):
    text = file.read_text(encoding="utf-8")
    assert "µ" in text
    assert max(map(len, text.splitlines())) > 100  # the numbers of units in one line
    assert len(text.splitlines()) < 50


def test_an_edited_plan_is_read_as_edited(file):
    told = json.loads(file.read_text(encoding="utf-8"))
    told["actions"][0]["settings"]["factor"] = 0.25
    told["actions"][0]["units"] = [3]
    del told["open"]
    file.write_text(json.dumps(told), encoding="utf-8")
    plan = read_plan(file)
    assert plan.actions[0].settings == {"factor": 0.25}
    assert plan.actions[0].units == (3,)
    assert plan.open == ()


def edit(file, change):
    told = json.loads(file.read_text(encoding="utf-8"))
    change(told)
    file.write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told["actions"][0].pop("why"), r"actions\[0\] has or lacks why"),
        (lambda told: told["actions"][0].update(more=1), r"actions\[0\] has or lacks more"),
        (lambda told: told["actions"][0].update(units="all"), r"actions\[0\]\.units is 'all'; expected a list"),
        (lambda told: told["actions"][0].update(units=[True]), r"actions\[0\]\.units"),
        (lambda told: told["actions"][0].update(site=4), r"actions\[0\]\.site is 4; expected a string"),
        (lambda told: told["actions"][0].update(settings=[]), r"actions\[0\]\.settings"),
        (lambda told: told["open"].append("x"), r"open\[1\]"),
        (lambda told: told.pop("actions"), "actions"),
        (lambda told: told.pop("of"), "of"),
        (lambda told: told.update({"is": "something"}), 'begins with "is"'),
    ],
)
def test_an_entry_that_does_not_fit_is_named(file, change, said):
    edit(file, change)
    with pytest.raises(PlanError, match=said) as refused:
        read_plan(file)
    assert refused.value.slug == "plan-damaged"


def test_a_plan_of_a_newer_relume_is_refused(file):
    edit(file, lambda told: told.update(schema=99))
    with pytest.raises(PlanError, match=r"schema 99.*Upgrade"):
        read_plan(file)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_file_that_is_not_a_plan_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(PlanError, match=r"a\.json cannot be read as a plan"):
        read_plan(tmp_path / "a.json")


def test_an_older_plan_is_replaced_and_another_file_is_not(file):
    write_plan(CurePlan({"file": "b"}), file)
    assert read_plan(file).of == {"file": "b"}
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(PlanError, match="is not a plan"):
        write_plan(PLAN, file)
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_plan_that_cannot_be_written_says_why(tmp_path):
    with pytest.raises(PlanError, match="No such file"):
        write_plan(PLAN, tmp_path / "gone" / "plan.json")

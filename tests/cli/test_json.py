"""``--json``: what each command prints fits its schema, and what refuses says so in JSON."""

from __future__ import annotations

import json

import jsonschema
import pytest
from helpers import commands, made_runs, made_study, schemas

from relume.artifacts.plan import to_json
from relume.artifacts.save import save
from relume.doctor.plan import plan
from relume.reports.formats import render

relume = commands.relume


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    commands.write(tmp_path / "run.relume", dead=range(20))
    save(made_runs.small_recording(), tmp_path / "small.relume")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ("findings", ["report", "run.relume"]),
        ("findings", ["report", "small.relume"]),
        ("findings", ["report", "run.relume", "--format=json"]),
        ("check", ["check", "run.relume", "--max-dead", "1%"]),
        ("check", ["check", "run.relume", "--max-dead", "99%", "--fail-on", "dead_unit"]),
        ("diff", ["diff", "run.relume", "small.relume"]),
        ("diff", ["diff", "run.relume", "run.relume"]),
        ("plan", ["plan", "small.relume"]),
        ("list", ["list"]),
        ("deviations", ["list", "--deviations"]),
        ("explain", ["explain", "prelu"]),
        ("explain", ["explain", "dead_unit"]),
    ],
    ids=" ".join,
)
def test_the_json_of_every_command_fits_its_schema(relume, schema, arguments):
    _, out, _ = relume(*arguments, *(["--json"] if "--format=json" not in arguments else []))
    schemas.fits(schema, json.loads(out))


@pytest.mark.parametrize("make", [made_runs.small, made_runs.hostile, made_runs.empty])
def test_findings_of_any_run_fit_the_schema(make):
    schemas.fits("findings", json.loads(render("json", "run", make())))
    schemas.fits("plan", json.loads(to_json(plan(make(), "run.relume"))))


@pytest.mark.parametrize("make", [made_study.study, made_study.troubled, made_study.waiting])
def test_any_study_fits_the_schema(make):
    schemas.fits("study", json.loads(render("json", "study", [make()])))
    schemas.fits("studies", json.loads(render("json", "study", [make(), make()])))


@pytest.mark.parametrize(
    ("code", "status", "arguments"),
    [
        ("recording-absent", 4, ["report", "none.relume"]),
        ("checkpoint-absent", 4, ["audit", "none.pt"]),
        ("unknown-rule", 4, ["check", "run.relume", "--fail-on", "gremlins"]),
        ("usage", 4, ["report", "--no-such-option"]),
        ("plan-damaged", 4, ["plan", "broken.json"]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_refusal_is_one_object_on_stdout_and_one_line_on_stderr(relume, folder, code, status, arguments):
    (folder / "broken.json").write_text('{"is": "relume plan", "schema": 1}', encoding="utf-8")
    got, out, err = relume(*arguments, "--json")
    told = json.loads(out)
    schemas.fits("error", told)
    assert (got, told["error"]["exit"], told["error"]["code"]) == (status, status, code)
    assert f"[{code}]" not in told["error"]["message"]
    assert told["error"]["message"].splitlines()[0] in err


@pytest.mark.parametrize("arguments", [["report", "none.relume"], ["run", "none.py", "--json"]])
def test_without_json_a_refusal_prints_nothing_on_stdout(relume, arguments):
    assert relume(*arguments)[1] == ""


def test_a_key_or_a_type_that_the_schema_lacks_is_found():
    told = json.loads(render("json", "run", made_runs.small()))
    schemas.fits("findings", told)
    site = told["sites"][0]
    for changed in (site | {"new": 1}, site | {"dead": 3}, {key: site[key] for key in site if key != "units"}):
        with pytest.raises(jsonschema.ValidationError):
            schemas.fits("findings", told | {"sites": [changed]})

"""Names from a damaged or hostile file: no report sends them to a terminal, a browser or GitHub as commands."""

from __future__ import annotations

import re

import pytest
from helpers import made_runs

from relume.artifacts.save import save
from relume.doctor.difference import differ
from relume.doctor.reading import findings_of
from relume.reports.formats import REPORTS, render
from relume.reports.run import terminal

NAMES = {
    "escape": "\x1b[2J\x1b]0;title\x07 red\x9b31m",
    "lines": "two\r\n::error file=a.py::lines\u2028\u2029",
    "markup": "<script>alert(1)</script> | **x** @someone",
    "turned": "gpj\u202e.exe",
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def hostile(name, folder):
    """The findings of a file of a run in which everything that a script names has this name."""
    record = made_runs.site(0, key=name, module=name, call=name, file=name, layer=name, model=name)
    meta = {"script": name, "argv": [name], "torch": name}
    save(made_runs.recording(record, meta=meta, not_observed=[(name, name, name)]), folder / "run.relume")
    return findings_of(folder / "run.relume")


def texts(name, folder):
    run = hostile(name, folder)
    made = {entry: render(entry, "run", run) for entry, form in REPORTS.items() if form.run}
    return made | {"terminal": terminal.to_text(run)}


def differences(name, folder):
    made = differ(made_runs.run(made_runs.site(0, dead=0)), hostile(name, folder))
    names = ("before.relume", "after.relume")
    return {"json": render("json", "diff", made), "md": render("md", "diff", made, names)}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("of", [texts, differences])
def test_no_report_contains_a_control_character(of, kind, tmp_path):
    found = {form: CONTROL.findall(text) for form, text in of(NAMES[kind], tmp_path).items()}
    assert not any(found.values()), found


def test_a_name_cannot_become_a_github_command_or_an_html_element(tmp_path):
    lines = texts(NAMES["lines"], tmp_path)["github"].split("\n")
    assert len(lines) == len(texts("plain", tmp_path)["github"].split("\n"))
    assert all(line.startswith("::warning") for line in lines if line)
    made = texts(NAMES["markup"], tmp_path)
    assert "<script>alert" not in made["html"]
    assert "<script>alert" not in made["md"].replace("`<script>alert(1)</script>", "")

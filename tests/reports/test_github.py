"""Annotations, read as GitHub's runner reads them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from helpers import made_records as made

from relume.artifacts.recording import Recording
from relume.doctor.check import check
from relume.doctor.diagnosis import diagnose
from relume.reports.run.github import of_findings, of_verdict


def run(*records):
    return diagnose(Recording({"script": "t", "finished": True}, [made.CLOCK], list(records), [], [], []))


def site(key="net.1", record=None, **changes):
    record = record or made.record()
    record.site = replace(record.site, **{"key": key} | changes)
    return record


def parsed(line):
    """(command, properties, message) by the rules of the runner: ActionCommand.TryParseV2."""
    assert "\n" not in line
    assert "\r" not in line
    command, properties, message = re.fullmatch(r"::(\w+) (.*?)::(.*)", line).groups()
    pairs = dict(pair.split("=", 1) for pair in properties.split(","))
    for escape, plain in {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}.items():
        pairs = {name: value.replace(escape, plain) for name, value in pairs.items()}
        message = message if escape in ("%3A", "%2C") else message.replace(escape, plain)
    return command, pairs, message


def test_a_finding_is_an_annotation_on_its_line():
    (line,) = of_findings(run(site()))
    command, properties, message = parsed(line)
    assert command == "warning"
    assert properties == {"file": "train.py", "line": "8", "title": "RLM002 born_dead"}
    assert message.startswith("Net.1: 1 of 4 units (25 %) never fired")
    assert "Units 0." in message


def test_severities_have_their_levels_and_the_worst_comes_first():
    broken = site("b", made.record(magnitude=(np.nan, 1, 1, 1)))
    few = site("few", made.record(examples=100))
    lines = [parsed(line) for line in of_findings(run(few, site(), broken))]
    assert [(command, p["title"]) for command, p, _ in lines] == [
        ("error", "RLM008 non_finite"), ("warning", "RLM002 born_dead"), ("notice", "RLM002 born_dead"),
    ]  # fmt: skip


def test_characters_that_would_end_a_property_or_a_line_are_escaped():
    hostile = "a:b,c%0A::error::\r\nd.py"
    (line,) = of_findings(run(site(file=hostile, module="x::y\n::warning::z")))
    _, properties, message = parsed(line)
    assert properties["file"] == hostile
    assert message.startswith("x::y\n::warning::z: 1 of 4")


def test_files_are_named_from_the_root_of_the_repository():
    (line,) = of_findings(run(site(file="../src/net.py")), folder="jobs/nightly")
    assert parsed(line)[1]["file"] == "jobs/src/net.py"


def test_an_unknown_line_is_omitted():
    (line,) = of_findings(run(site(line=0)))
    assert "line" not in parsed(line)[1]


def test_too_many_dead_units_are_annotated_on_the_run_and_at_each_site_with_dead_units():
    verdict = check(run(site("a"), site("b", made.record(fired=(5, 5)), line=9), site("c", line=10)), max_dead=0.1)
    lines = [parsed(line) for line in of_verdict(verdict)]
    assert [(command, p.get("line"), p["title"]) for command, p, _ in lines] == [
        ("error", line, "relume: too many dead units") for line in (None, "8", "10")
    ]
    assert lines[0][2] == "2 of 10 units are dead (20 %, limit 10 %)."
    assert lines[1][2].startswith("Net.1: 1 of 4 units are dead here.")


def test_failures_of_sites_and_rules_are_on_their_lines():
    verdict = check(run(site("a")), max_dead=0.1, per_site=True, fail_on=["born_dead"])
    lines = [parsed(line)[1] for line in of_verdict(verdict)]
    assert lines == [
        {"file": "train.py", "line": "8", "title": "relume: too many dead units"},
        {"file": "train.py", "line": "8", "title": "RLM002 born_dead"},
    ]


def test_a_passed_check_has_no_annotation_and_an_unwatched_run_has_one():
    assert of_verdict(check(run(site()), max_dead=0.5)) == []
    (line,) = of_verdict(check(run()))
    assert parsed(line)[1] == {"title": "relume: nothing was judged"}

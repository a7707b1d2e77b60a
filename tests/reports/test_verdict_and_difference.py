"""Verdicts and differences as a person reads them in a terminal of 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from helpers import made_records as made
from rich.console import Console

from relume.artifacts.recording import Recording
from relume.doctor.check import check
from relume.doctor.diagnosis import diagnose
from relume.doctor.difference import differ
from relume.reports.run import difference as difference_report
from relume.reports.run import verdict as verdict_report

N = made.N


def site(key, fired=(0, 5, 500, N), activation="relu", examples=N, **changes):
    record = made.record(activation, fired, examples=examples)
    record.site = replace(record.site, **{"key": key, "module": key} | changes)
    return record


def run(*records, meta=None, not_observed=()):
    meta = {"script": "t.py", "finished": True, "overhead": 0.02} | (meta or {})
    return diagnose(Recording(meta, [made.CLOCK], list(records), [], [], list(not_observed)))


def lines(renderable, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    console.print(renderable)
    found = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert max(map(len, found)) <= width
    return found


def squeezed(found):
    return " ".join(" ".join(found).split())


# ---- verdict -------------------------------------------------------------------------------------------------------


def test_a_passed_check_is_one_line():
    found = lines(verdict_report.render(check(run(site("a", (5, 5))), max_dead=0.005)))
    assert found == ["PASS  0 of 2 units dead (limit 0.5 %)"]


def test_a_failed_check_is_reported_with_site_source_and_evidence():
    verdict = check(run(site("relu1"), site("relu2", (0, 0), line=9)), max_dead=0.1, fail_on=["born_dead"])
    found = lines(verdict_report.render(verdict))
    assert squeezed(found[:2]) == ("FAIL 3 of 6 units dead (50 %, limit 10 %); RLM002 born_dead at 2 sites")
    text = squeezed(found)
    assert "max_dead the whole run 3 of 6 units are dead (50 %, limit 10 %)" in text
    assert "Dead units by site: relu2 train.py:9 2 of 2 units, 100 % relu1 train.py:8 1 of 4 units, 25 %" in text
    assert "RLM002 born_dead relu1 train.py:8 1 of 4 units" in text


def test_the_report_says_what_weakens_the_verdict():
    verdict = check(run(site("a", (5, 5), examples=100), not_observed=[("x", "y", "z")]))
    text = squeezed(lines(verdict_report.render(verdict)))
    assert text.startswith("FAIL nothing was judged what failed")
    assert "Note: 1 of 1 site not judged: fewer than 300 examples seen." in text
    assert "Note: 1 thing could not be observed" in text


def test_many_failures_are_counted():
    verdict = check(run(*[site(f"s{n}") for n in range(50)]), max_dead=0.01, fail_on=["born_dead"])
    found = lines(verdict_report.render(verdict))
    assert "… and 31 more; --json has all." in found
    assert "  … and 30 more; --json has all." in found


# ---- difference ----------------------------------------------------------------------------------------------------


def told(before, after, **options):
    return lines(difference_report.render(differ(before, after), ("a.relume", "b.relume")), **options)


def test_two_runs_are_shown_side_by_side():
    before = run(site("relu1", (0, 5, 500, N)), site("old", (5,)))
    after = run(site("relu1", (700, 0, 500, N)), site("new", (5, 5)), meta={"overhead": None})
    found = told(before, after)
    assert found[1].split() == "A a.relume 2 1 of 5 20 % 100 20 2 %".split()
    assert found[2].split() == "B b.relume 2 1 of 6 16.7 % 100 20 ·".split()
    assert found[4].split() == "site source units dead died lived fires shift".split()
    assert found[5].split() == "relu1 train.py:8 4 1 → 1 1 1 25 % → 60 % 0: +70 %".split()
    text = squeezed(found)
    assert "relu1 (train.py:8) dead in B, not in A: unit 1 relu1 (train.py:8) dead in A, not in B: unit 0" in text
    assert "Units correspond only if both runs started from the same weights" in text
    assert "Only in A, a.relume: old (1 unit)" in text
    assert "Only in B, b.relume: new (2 units)" in text


def test_moved_and_changed_sites_are_named_as_such():
    before = run(site("m@1", (0, 5), module="m", layer="l"))
    after = run(site("m@2", (0, 5, 5), "leaky_relu", module="m", layer="l", line=9, call="F.leaky_relu", examples=100))
    row = squeezed(told(before, after, width=120)[5:6])
    assert row.startswith("~m nn.ReLU → F.leaky_relu train.py:8 → train.py:9 2 → 3 1 → 0")


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_number_is_cut_off(width):
    before = run(site("encoder.layers.10.activation", [0] * 4096, file="src/deep/model_of_long_name.py", line=1234))
    after = run(site("encoder.layers.10.activation", [N] * 4096, file="src/deep/model_of_long_name.py", line=1234))
    wide, found = "".join(told(before, after, width=300)), told(before, after, width=width)
    assert sum(map("".join(found).count, "0123456789+%→")) == sum(map(wide.count, "0123456789+%→"))
    if width >= 80:
        assert "4,096 → 0" in squeezed(found)
        assert "0: +100 %" in squeezed(found)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([site("a")], [site("b")], "they have no site in common"),
        ([], [site("b")], "no activation was watched in A."),
        ([site("a")], [], "no activation was watched in B."),
        ([], [], "no activation was watched in A and B."),
    ],
)
def test_runs_that_cannot_be_compared_are_named_as_such(before, after, said):
    assert f"These runs cannot be compared: {said}" in squeezed(told(run(*before), run(*after)))


def test_names_with_markup_are_shown_as_they_are():
    hostile = site("[red]x[/red]", (0, 5))
    assert "[red]x[/red]" in squeezed(told(run(hostile), run(hostile)))
    verdict = check(run(hostile), fail_on=["born_dead"])
    assert "[red]x[/red]" in squeezed(lines(verdict_report.render(verdict), width=100))

"""The report as a person reads it."""

from __future__ import annotations

import io

import pytest
from helpers import made_records as made
from rich.console import Console

from relume.artifacts.recording import Clock, Recording
from relume.doctor.diagnosis import diagnose
from relume.reports.run import terminal
from relume.reports.run.github import of_findings
from relume.reports.run.html.story import summary
from relume.reports.run.markdown import to_markdown
from relume.reports.run.wording import overhead


def text(*records, meta=None, not_observed=(), clocks=(made.CLOCK,)):
    return terminal.to_text(diagnose(Recording(meta or {}, list(clocks), list(records), [], [], list(not_observed))))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"overhead": 0.048, "overhead_ns": 98e6, "budget": 0.02, "allowance_ns": 25e7},
         "Overhead: 0.098 s, 4.8 % of training time (budget 2 % or 0.25 s)"),
        ({"overhead": 0.0189, "overhead_ns": 64e9, "budget": 0.02}, "Overhead: 1.9 % of training time (budget 2 %)"),
        ({"overhead": 0.2, "overhead_ns": 1e8, "budget": 0.02, "every": 1}, "Overhead: 0.1 s, 20 % of training time"),
        ({"overhead": 0.021}, "Overhead: 2.1 % of training time"),
        ({"overhead": 0.043, "overhead_ns": 5e9, "budget": 0.02},
         "Overhead: 4.3 % of training time (budget 2 %; 20 µs per step are allowed)"),
        ({}, ""),
    ],
)  # fmt: skip
def test_overhead_is_a_share_and_seconds_while_they_are_few(facts, said):
    assert overhead(facts) == said


def test_the_report_names_units_line_bound_and_advice():
    said = text(made.record())
    assert "1 of 4 units is dead, in Net.1 (train.py:8); looked at 20 of 100 steps" in said
    assert "train.py:8" in said
    assert "RLM002 born_dead  Net.1 at train.py:8\n    1 of 4 units (25 %) never fired" in said
    assert "true rate below 0.3 %" in said
    assert "→" in said


def test_a_column_without_a_number_is_omitted():
    assert "stuck high" not in text(made.record())
    assert "stuck high" in text(made.record("relu6", flat=(0, 0, 0, made.N)))


def test_provisional_counts_are_marked():
    assert "~1" in text(made.record(examples=100))


@pytest.mark.parametrize(
    ("meta", "clocks", "expected"),
    [
        ({"script": "a.py"}, (), "was cut off"),
        ({}, (), "did not import PyTorch, TensorFlow, Keras or JAX"),
        ({"jax": "0.10"}, (), "in JAX, a function under jax.jit"),
        ({"exit": 1}, (), "ended with exit status 1 before its first training step"),
        ({"torch": "2.13"}, (), "took no training step"),
        ({"torch": "2.13"}, (Clock(0, "SGD", "optimizer", 5, 1),), "no supported activation"),
    ],
)
def test_a_run_without_sites_says_why(meta, clocks, expected):
    assert expected in " ".join(text(meta=meta, clocks=clocks).split())


def test_names_with_markup_are_shown_as_they_are():
    hostile = made.record()
    object.__setattr__(hostile.site, "module", "[red]<b>x</b>")
    findings = diagnose(Recording({}, [made.CLOCK], [hostile], [], [], [("[bold]<i>", "a:1", "w")]))
    assert "[red]<b>x</b>" in terminal.to_text(findings)
    assert "[bold]<i>" in terminal.to_text(findings)


def test_many_findings_are_counted_not_all_printed():
    records = [made.record() for _ in range(30)]
    for number, record in enumerate(records):
        object.__setattr__(record.site, "key", f"site {number}")
    said = text(*records)
    assert said.count("RLM002") == 12
    assert "and 18 more findings" in said


def test_a_finding_about_a_whole_site_names_no_units():
    record = made.record(fired=(500,) * 4)
    record.statistics = {"gradient_first": 1e-6, "gradient": 1.0}
    said = text(record)
    assert "RLM011 exploding_gradient" in said
    assert "\n    units" not in said
    findings = diagnose(Recording({}, [made.CLOCK], [record], [], [], []))
    assert "Units" not in to_markdown(findings)
    assert "Units" not in of_findings(findings)[0]


def test_facts_without_a_column_are_noted_in_a_line():
    record = made.record(fired=(1, 500, 500, made.N))  # a rare unit and one that is always on
    record.statistics = {"offset": 20.0, "peak": 90.0, "rms": 1.0}
    said = " ".join(text(record).split())
    assert "RLM015 input_offset Net.1 at train.py:8: the mean of the input of 0 is 20 times its variation." in said
    assert "RLM016 wide_range" in said
    assert "RLM003" not in said
    assert "RLM004" not in said
    assert text(record, record, record).count("RLM015") == 1
    assert "(and 2 more sites; --json has all)" in " ".join(text(record, record, record).split())


def test_of_many_sites_the_worst_are_shown_and_the_others_are_counted():
    records = [made.record(fired=(500,) * 4) for _ in range(18)] + [made.record()]
    for number, record in enumerate(records):
        object.__setattr__(record.site, "key", f"site {number}")
        object.__setattr__(record.site, "line", 100 + number)
    said = text(*records)
    rows = [line for line in said.splitlines() if "nn.ReLU" in line]
    assert len(rows) == 15
    table = said[said.index("examples") :]
    assert table.index("train.py:118") < table.index("train.py:100")
    assert "… and 4 more sites" in said


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_lines_fit_and_wrapped_lines_are_indented(width):
    record = made.record()
    object.__setattr__(record.site, "module", "encoder.layers.11.activation")
    findings = diagnose(Recording({}, [made.CLOCK], [record], [], [], []))
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal.render(findings))
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    below = lines[next(i for i, line in enumerate(lines) if line.startswith("RLM002")) + 1 :]
    told = below[: below.index(next(line for line in below if not line.strip()))]
    assert all(line.startswith(("    ", "  →")) or line.startswith(" ") for line in told[1:])


def test_one_advice_is_given_once_for_all_its_sites():
    records = [made.record() for _ in range(3)]
    for number, record in enumerate(records):
        object.__setattr__(record.site, "key", f"site {number}")
    said = text(*records)
    assert said.count("RLM002 born_dead") == 3
    alone = [line for line in text(made.record()).splitlines() if "→" in line]
    assert len(alone) == 3
    assert [line for line in said.splitlines() if "→" in line] == alone


def test_a_crash_is_reported_in_every_format():
    findings = diagnose(
        Recording({"exit": 1, "script": "a.py", "finished": True}, [made.CLOCK], [made.record()], [], [], [])
    )
    told = "the script ended with exit status 1 after 100 steps"
    assert told in " ".join(terminal.to_text(findings).split())
    assert told[1:] in to_markdown(findings)
    assert any(told[1:] in caution for caution in summary(findings, {findings.sites[0].site.key: "x"}).cautions)

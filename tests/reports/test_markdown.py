"""The Markdown report, read by a parser that knows GitHub's tables."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import made_records as made
from markdown_it import MarkdownIt

from relume.artifacts.recording import Recording
from relume.doctor.diagnosis import diagnose
from relume.reports.run.markdown import MOST_SITES, cell, code, to_markdown

PARSER = MarkdownIt("commonmark").enable("table")
HOSTILE = [
    "a|b",
    "`x`",
    "``",
    "a`",
    "*b*_c_",
    "<b>x</b>",
    "@someone",
    "[l](u)",
    "a\nb",
    "a\\|b",
    "\\",
    "| --- |",
    "~~s~~",
]


def site(key="net.1", **changes):
    record = made.record()
    record.site = replace(record.site, **{"key": key} | changes)
    return record


def markdown(*records, meta=None, not_observed=()):
    meta = {"script": "train.py", "finished": True} | (meta or {})
    return to_markdown(diagnose(Recording(meta, [made.CLOCK], list(records), [], [], list(not_observed))))


def rows(text):
    """The cells of the table as a reader of the page sees them."""
    page = PARSER.render(text)
    lines = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [html.unescape(re.sub(r"<[^>]*>", "", c)) for c in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", line)]
        for line in lines
    ]


def test_the_report_has_headline_table_findings_and_what_was_not_observed():
    said = markdown(site(), meta={"overhead": 0.021}, not_observed=[("F.mish", "a.py:3", "it is not watched")])
    assert said.startswith(
        "### relume: 1 of 4 units is dead, in Net.1 (train.py:8)\n\nLooked at 20 of 100 steps, 1,000 samples. "
    )
    assert "Overhead: 2.1 % of training time." in said
    assert rows(said) == [
        ["site", "source", "units", "dead", "rare", "always on", "fires", "examples"],
        ["Net.1 nn.ReLU", "train.py:8", "4", "1", "1", "1", "25 %", "1,000"],
    ]
    page = PARSER.render(said)
    assert (
        "<strong>RLM002 born_dead</strong> <code>Net.1</code> at <code>train.py:8</code>: 1 of 4 units (25 %)" in page
    )
    assert "true rate below 0.3 %" in page
    assert "<summary>Not observed: 1</summary>" in page
    assert "<code>F.mish</code> at <code>a.py:3</code>: it is not watched." in page
    assert said.endswith("</details>\n")


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_one_cell_without_markup(name):
    said = markdown(site(module=name, call="c", file=name), not_observed=[(name, name, name)])
    heads, cells = rows(said)
    shown = " ".join(name.split()).replace("\\|", "/|")
    assert len(cells) == len(heads) == 8
    assert cells[0].split() == f"{shown} c".split()
    assert cells[1] == f"{shown}:8"
    page = PARSER.render(said)
    assert not re.search(r"<(b|em|a |s|del)\b", page.replace("<summary>", ""))
    outside = re.sub(r"<code>.*?</code>", "", page)
    assert "@someone" not in outside, "GitHub would send a message"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_code_span_shows_its_name(name):
    shown = re.fullmatch(r"<p><code>(.*)</code></p>", PARSER.render(code(name)).strip())
    assert html.unescape(shown[1]).strip() == " ".join(name.split())
    assert "\n" not in cell(name)


def test_provisional_counts_are_marked_without_strikethrough():
    said = markdown(made.record(examples=100), made.record(examples=100))
    assert "\\~1" in said
    assert rows(said)[1][3] == "~1"
    assert "Provisional where marked ~" in said


def test_a_cut_off_run_a_fault_and_the_files_of_the_run_are_reported():
    said = markdown(site(), meta={"finished": False, "fault": "E: x|y", "parts": ["a.relume", "a.rank1.relume"]})
    assert "**The run is not finished, or it was cut off.**" in said
    assert "**The watching ended early:** `E: x|y`." in said
    assert "Recordings of this run: `a.relume`, `a.rank1.relume`." in said


def test_a_run_without_sites_says_why():
    said = markdown(meta={})
    assert said == (
        "### relume: No activation was watched.\n\n"
        "The script did not import PyTorch, TensorFlow, Keras or JAX.\n"
    )  # fmt: skip


def test_many_sites_fit_a_comment_and_are_counted():
    records = []
    for number in range(300):
        record = made.record(fired=np.zeros(4096, int))
        record.site = replace(
            record.site, key=f"site{number}", module=f"encoder.layers.{number}.feed_forward.activation"
        )
        records.append(record)
    said = markdown(*records, not_observed=[("F.mish", f"a.py:{n}", "w" * 80) for n in range(300)])
    assert len(said) < 65_536
    assert len(rows(said)) == MOST_SITES + 1
    assert f"and {300 - MOST_SITES} more sites" in said
    assert "and 288 more findings" in said
    assert "and 288 more;" in said

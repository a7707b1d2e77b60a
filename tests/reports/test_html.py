"""The HTML report of a run as text: what it says, what it escapes, how large it may become."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers import made_runs as made

from relume.artifacts.findings import Finding
from relume.errors import MissingExtra
from relume.reports.run.html import source
from relume.reports.run.html.charts import distribution
from relume.reports.run.html.drawing import LETTERS, MOST_CELLS, MOST_RATE, UNKNOWN, bar, grid
from relume.reports.run.html.page import notebook, run_page
from relume.reports.run.html.source import Sources
from relume.reports.run.html.story import shown
from relume.reports.run.html.table import MOST_BYTES
from relume.reports.run.states import STATES, codes, counts, histogram, ranges
from relume.theme import safe_json

KEYS = [state.key for state in STATES]


class Page(HTMLParser):
    """What a page shows, its elements, and the data in its scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.data, self._in = [], [], {}, []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._in.append(dict(attributes).get("id", tag))

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._in.pop()

    def handle_data(self, data):
        if not self._in:
            self.words.append(data)
        elif self._in[-1] == "rows":
            self.data = json.loads(data)


@pytest.fixture(scope="module")
def small():
    return Page(run_page(made.small()))


def test_the_report_begins_with_words(small):
    assert "4 of 32 units are dead" in small.text
    assert (
        "The dead units are in 2 of 3 sites: block0.relu1 (train.py:11), 2 of 8; block0.relu2 (train.py:12), 2 of 16."
        in small.text
    )
    assert "2 never fired; the others died between steps 29 and 60." in small.text
    assert "Of the others, 1 is rare and 1 is always on." in small.text
    assert "Judged on the latest 64 to 1,000 examples of each site. relume looked at 20 of 100 steps" in small.text
    assert "Provisional (marked ~, fewer than 300 examples): 1 of 3 sites." in small.text


def test_the_report_has_the_advice_with_its_command_and_lists_what_was_not_observed(small):
    assert "Why, and when it is a false alarm: relume explain RLM001" in small.text
    assert "F.mish at train.py:40 : it is not watched yet." in small.text
    assert "learning rate" in small.text
    assert "Data table: Dead units" in small.text


def test_the_advice_for_the_most_units_comes_first_with_its_lines():
    run = made.small()
    keys = [judged.site.key for judged in run.sites]
    dying = [Finding("RLM009", "dying_trend", "warning", key, (1,), "falls", "lower the rate") for key in keys[:2]]
    dead = Finding("RLM001", "dead_unit", "warning", keys[2], (1, 2, 3), "silent", "start anew")
    text = Page(run_page(replace(run, findings=(*dying, dead)))).text
    assert text.index("RLM001 dead unit · warning") < text.index("RLM009 dying trend · warning")
    assert "At block0.relu0 (train.py:10), block0.relu1 (train.py:11)" in re.sub(r" (?=[,)])|(?<=\() ", "", text)


def test_a_healthy_run_says_so_without_advice():
    page = Page(run_page(made.run(made.site(0, dead=0, rare=0, on=0))))
    assert "None of 8 units is dead" in page.text
    assert "Nothing. No rule found a problem." in page.text


def test_a_run_without_a_site_says_why():
    page = Page(run_page(made.empty()))
    assert "No activation was watched" in page.text
    assert page.data["rows"] == []


def test_names_of_every_kind_stay_text():
    text = run_page(made.hostile())
    page = Page(text)
    assert sum(tag == "script" for tag, _ in page.elements) == text.count("</script>")
    assert not any(tag in ("img", "b") and "onerror" in attributes for tag, attributes in page.elements)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "two lines and\N{REPLACEMENT CHARACTER} a turn\N{REPLACEMENT CHARACTER}" in page.text
    assert max(map(len, page.text.split())) <= 520
    assert len(page.data["rows"]) == len(made.HOSTILE)


@pytest.mark.parametrize("network", ["many", "wide"])
def test_the_report_of_a_large_network_is_small(network):
    text = run_page(made.many(10_000) if network == "many" else made.wide(40))
    page = Page(text)
    assert len(text.encode()) <= MOST_BYTES + 200 < 1_500_000
    assert len(page.data["rows"]) == page.data["sites"] == (10_000 if network == "many" else 40)
    assert sum(tag == "details" and "site" in (a.get("class") or "").split() for tag, a in page.elements) == 12


def test_rows_without_room_are_omitted_and_counted(monkeypatch):
    monkeypatch.setattr("relume.reports.run.html.table.MOST_BYTES", 0)
    page = Page(run_page(made.small()))
    assert page.data["rows"] == []
    assert page.data["sites"] == 3


def test_the_page_makes_no_request_and_shows_no_path(small, tmp_path):
    text = run_page(made.small(), Sources([tmp_path]))
    for _, attributes in Page(text).elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert not (attributes.get(name) or "").startswith(("http", "//", "/", "file"))
    visible = re.sub(r'<script type="text/plain" id="vega">.*?</script>', "", text, flags=re.DOTALL)
    assert str(tmp_path) not in visible
    assert str(Path.cwd()) not in visible
    assert "url(http" not in visible


def test_the_source_is_shown_whole_with_the_units_of_each_line(tmp_path):
    (tmp_path / "train.py").write_text("".join(f"line {n} <b>\n" for n in range(1, 30)))
    page = run_page(made.small(), Sources([tmp_path]))
    assert all(f"line {n} &lt;b&gt;" in page for n in range(1, 30))
    (healthy, lost, few) = re.findall(r'<code class="marked ([^"]*)">.*?<span class="n">(\d+)</span>', page)
    assert healthy == ("healthy", "10")
    assert lost == ("dead found", "11")
    assert few == ("dead found", "12")
    assert '<a href="#site-2">2 dead, 1 rare, 1 always on, 4 healthy</a>' in page
    assert 'class="marked' not in run_page(made.small(), Sources([tmp_path / "elsewhere"]))


def test_sites_of_one_line_share_its_bar_and_the_file_that_lost_most_comes_first(tmp_path):
    for name in ("one.py", "other.py"):
        (tmp_path / name).write_text("x\n" * 20)
    sites = [made.site(0, file="one.py", line=3, dead=1), made.site(1, file="other.py", line=7, dead=2)]
    sites.append(made.site(2, file="other.py", line=7, dead=3))
    first, second = Sources([tmp_path]).files(made.run(*sites).sites)
    assert (first.name, second.name) == ("other.py", "one.py")
    (mark,) = [line.mark for line in first.lines if line.mark]
    assert mark.counts == first.total.counts == (0, 5, 0, 2, 2, 7)
    assert mark.sites == (2, 3)


def test_files_without_room_are_omitted(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MOST_BYTES", 50)
    (tmp_path / "small.py").write_text("x\n" * 12)
    (tmp_path / "large.py").write_text("x" * 49 + "\n")
    sites = made.run(made.site(0, file="small.py", line=1), made.site(1, file="large.py", line=1)).sites
    assert [file.name for file in Sources([tmp_path]).files(sites)] == ["small.py"]


@pytest.mark.parametrize("name", ["../secret.py", "/secret.py", "train.txt", "a\0b.py", "x" * 5000 + ".py"])
def test_only_python_in_the_folders_is_read(name, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in (tmp_path / "secret.py", folder / "train.txt"):
        path.write_text("secret = 1\n")
    name = str(tmp_path / "secret.py") if name.startswith("/") else name
    assert Sources([folder]).read(name) == []


def test_a_unit_is_shown_as_the_word_that_matters_most():
    judged = made.small().sites[1]
    judged = replace(judged, non_finite=(7, 0), rare=(2, 0), saturated=(6,), dead=(0, 1), always_on=(3,))
    found = [KEYS[code] for code in codes(judged)]
    assert found == ["broken", "dead", "rare", "on", "healthy", "healthy", "stuck", "broken"]
    assert counts(codes(judged)) == (2, 1, 1, 1, 1, 2)


def test_a_grid_has_each_unit_once():
    states = np.random.default_rng(0).integers(0, len(STATES), 1000).astype(np.uint8)
    drawn = grid(states, [None] * 1000)
    cells = {}
    for state, path, _ in drawn.paths:
        for start, row, length in re.findall(r"M(\d+) (\d+)h(\d+)", path):
            for column in range(int(start), int(start) + int(length)):
                cells[int(row) * drawn.columns + column] = state
    assert [cells[unit] for unit in range(1000)] == [KEYS[code] for code in states]
    assert len(cells) == 1000


def test_a_grid_of_very_many_units_shows_the_worst_of_each_few():
    states = np.full(10_000, len(STATES) - 1, np.uint8)
    states[5_000] = KEYS.index("dead")
    drawn = grid(states, np.linspace(1, 0, 10_000).tolist())
    assert drawn.together == 3
    assert drawn.columns * drawn.rows >= 10_000 / 3
    assert 10_000 / 3 <= MOST_CELLS
    assert {state: path.count("M") for state, path, _ in drawn.paths}["dead"] == 1
    assert len(drawn.rates) == 2 * len(range(0, 10_000, 3))


def test_the_rates_of_a_grid_are_read_back_and_none_above_0_becomes_0():
    told = grid(np.zeros(5, np.uint8), [0.0, 1e-9, 0.5, 1.0, None]).rates
    codes = [64 * LETTERS.index(told[i]) + LETTERS.index(told[i + 1]) for i in range(0, len(told), 2)]
    assert codes == [0, 1, MOST_RATE // 2, MOST_RATE, UNKNOWN]


def test_a_bar_is_full():
    parts = bar((0, 3, 0, 1, 0, 4))
    assert [(part.state, part.start, part.length) for part in parts] == [
        ("dead", 0.0, 37.5), ("rare", 37.5, 12.5), ("healthy", 50.0, 50.0),
    ]  # fmt: skip


def test_rates_are_counted_into_bins_and_the_silent_apart():
    found = histogram([0.0, 0.0, 0.001, 0.049, 0.05, 1.0, None])
    assert (found[0], found[1], found[2], found[-1]) == (2, 2, 1, 1)
    assert sum(found) == 6


def test_the_densities_of_a_sparse_code_are_counted_by_their_log10():
    (judged,) = made.run(made.site(units=8, dead=0, rare=0, on=0, code=True)).sites
    rates = (0.0, 0.0, 2e-5, 3e-5, 2e-4, 0.05, 1.0, None)
    chart = distribution("rates", "net.0", replace(judged, firing_rate=rates))
    drawn = {where: units for where, units in chart.rows if units}
    assert drawn == {
        "never": 2,
        "1.8e-05 to 3.2e-05 of the tokens": 2,
        "0.00018 to 0.00032 of the tokens": 1,
        "0.032 to 0.056 of the tokens": 1,
        "0.56 to 1 of the tokens": 1,
    }
    assert "2 of 8 units never fired in the run." in chart.description


def test_a_provisional_code_says_how_many_tokens_it_needs():
    """Its units fire on about half of the samples; a third as often, three times as many examples are needed."""
    report = made.run(made.site(units=8, dead=0, rare=7, on=0, code=True))
    (judged,) = report.sites
    assert judged.provisional
    assert judged.needed == pytest.approx(300 / (sum(judged.firing_rate) / 8), abs=1)
    assert f"(marked ~, fewer than {judged.needed:,} examples): all sites." in run_page(report)


def test_long_ranges_and_names_are_cut():
    assert ranges(range(0, 200, 2)).endswith("118 and 40 more")
    assert ranges([]) == "none"
    assert len(shown("y" * 100_000)) < 200


def test_data_cannot_end_its_script():
    assert "</" not in safe_json({"name": "</script><!--"})


@pytest.mark.parametrize("name", ["small", "hostile", "empty", "many"])
def test_a_notebook_shows_the_same_without_scripts_and_links(name):
    text = notebook(getattr(made, name)())
    page = Page(text)
    assert {"script", "a", "img", "iframe", "button"}.isdisjoint(tag for tag, _ in page.elements)
    assert len(text.encode()) < 200_000
    expected = {
        "small": ["4 of 32 units are dead", "RLM001 dead unit at block0.relu1", "Not observed: 1"],
        "hostile": ["18 of 72 units are dead", "<script>alert(1)</script>"],
        "empty": ["No activation was watched"],
        "many": ["20,000 of 160,000 units are dead", "The 100 sites that lost most", "site 10,000"],
    }  # fmt: skip
    for words in expected[name]:
        assert words in page.text


def test_a_notebook_without_altair_has_its_numbers(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    text = notebook(made.small())
    assert "<figure>" not in text
    assert "Data table: Dead units" in text
    with pytest.raises(MissingExtra, match="pip install 'relume\\[report\\]'"):
        run_page(made.small())

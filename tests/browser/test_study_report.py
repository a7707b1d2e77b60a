"""The HTML report of studies in a browser: three widths, two themes, sorted tables."""

from __future__ import annotations

import pytest
from helpers import made_study as made

from relume.reports.study.html.page import study_page

WIDTHS = (390, 820, 1440)


STUDIES = {
    "seven": lambda: [made.study()],
    "troubled": lambda: [made.troubled()],
    "waiting": lambda: [made.waiting()],
    "both": lambda: [made.study(name="first"), made.troubled()],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder, known = tmp_path_factory.mktemp("studies"), {}

    def write(name):
        if name not in known:
            known[name] = folder / f"{name}.html"
            known[name].write_text(study_page(STUDIES[name]()), encoding="utf-8")
        return known[name]

    return write


@pytest.fixture
def live(opened, written):
    def open_live(name, **keywords):
        page = opened(written(name), **keywords)
        page.wait_for_selector("html[data-charts=drawn]")
        return page

    return open_live


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_the_page_and_axe_finds_no_violation(live, misplaced, violations, width, scheme):
    page = live("seven", width=width, scheme=scheme)
    assert page.told.errors == []
    assert page.told.requests == []
    assert page.locator(".drawing .live svg").count() == page.locator("figure.chart").count() == 9
    assert misplaced(page) == []
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert misplaced(page, "button, figure, summary, h1, h2, h3, .panel, .scroll, p, blockquote") == []
    if (scheme, width) in (("light", 390), ("dark", 1440)):
        assert violations(page) == []


@pytest.mark.parametrize("name", ["troubled", "waiting", "both"])
def test_other_studies_are_readable_too(live, misplaced, violations, name):
    page = live(name, width=390)
    assert page.told.errors == []
    assert misplaced(page, "button, figure, summary, h1, h2, h3, .panel, .scroll, p, blockquote") == []
    assert violations(page) == []


def test_without_scripts_the_pictures_are_there(opened, written):
    page = opened(written("seven"), scripts=False)
    drawings = page.locator(".drawing > svg")
    assert drawings.count() == 9
    box = drawings.first.bounding_box()
    assert box["width"] > 600
    assert "elu is better than the script's ReLU" in page.locator("h1").inner_text()


def test_the_forest_has_two_intervals_and_a_point_for_each_contender(live):
    page = live("seven")
    drawn = page.locator("#study-1-differences .live svg")
    widths = drawn.locator("line").evaluate_all("lines => lines.map((line) => line.getAttribute('stroke-width'))")
    assert (widths.count("5"), widths.count("1.5")) >= (6, 6)
    groups = drawn.locator(".mark-symbol").evaluate_all(
        "groups => groups.map((g) => g.querySelectorAll('path').length)"
    )
    assert sorted(groups) == [6, 60]  # the means, and a ring for each pair of seeds


def test_paper_shows_whole_charts(live, cut_on_paper):
    assert cut_on_paper(live("seven")) == []


def test_a_table_is_sorted(live):
    page = live("seven")
    table = page.locator("table.told").first
    table.get_by_role("button", name="difference [95 %]").click()
    names = table.locator("tbody th").all_inner_texts()
    assert names[0] != "baseline (ReLU)" or names[-1] == "baseline (ReLU)"
    table.get_by_role("button", name="quality").click()
    assert table.locator("tbody th").all_inner_texts() == sorted(table.locator("tbody th").all_inner_texts())

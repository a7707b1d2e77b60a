"""The page of ``relume diff`` in a browser: three widths, two themes, no request, no fault of accessibility."""

from __future__ import annotations

import pytest
from helpers import commands

from relume.doctor.difference import differ
from relume.doctor.reading import findings_of
from relume.reports.run.html.difference import difference_page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("difference")
    sides = []
    for name, dead in (("main <b>.relume", [1, 2, 3]), ("pr.relume", [3, 4, 5, 6])):
        commands.write(folder / name, dead=dead)
        sides.append(findings_of(str(folder / name)))
    made = folder / "diff.html"
    made.write_text(difference_page(differ(*sides), ("main <b>.relume", "pr.relume"), *sides), encoding="utf-8")
    return made


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_axe_finds_no_violation(opened, page_file, misplaced, violations, width, scheme):
    page = opened(page_file, width=width, scheme=scheme)
    assert page.told.errors == []
    assert page.told.requests == []
    assert page.locator("h1").inner_text() == "+2 dead units since main <b>.relume"
    assert misplaced(page) == []
    assert violations(page) == []


def test_a_unit_is_described_in_each_run(opened, page_file):
    page = opened(page_file, width=1440)
    first, second = page.locator("#site-1 .units").all()
    for place, said in ((first, "Unit 1: dead"), (second, "Unit 1: healthy")):
        place.locator("svg.grid").focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert place.locator(".reading").inner_text().startswith(said)

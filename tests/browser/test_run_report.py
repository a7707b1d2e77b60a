"""The HTML report of a run in a browser: read, sorted, searched and turned dark; at three widths, with and without
scripts.
"""

from __future__ import annotations

import pytest
from helpers import made_runs as made

from relume.reports.run.html.page import run_page
from relume.reports.run.html.source import Sources

WIDTHS = (390, 820, 1440)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def written(folder):
    """``written("small")`` → the report of that run, made once."""
    (folder / "train.py").write_text("x = act(x)  # <b>\n" * 40, encoding="utf-8")
    known = {}

    def write(name):
        if name not in known:
            known[name] = folder / f"{name}.html"
            sized = {"sixty": lambda: made.many(60, 4), "large": lambda: made.wide(1, 9000)}
            findings = sized[name]() if name in sized else getattr(made, name)()
            commands = [("relume check run.relume --max-dead 1%", "a gate for CI")]
            known[name].write_text(run_page(findings, Sources([folder]), commands), encoding="utf-8")
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
    page = live("small", width=width, scheme=scheme)
    assert page.told.errors == []
    assert page.told.requests == []
    assert misplaced(page) == []
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert misplaced(page, "button, figure, summary, h1, h2, h3, h4, .panel, .scroll, p") == []
    if (scheme, width) in (("light", 390), ("dark", 1440)):  # its colors do not change with the width
        assert violations(page) == []


@pytest.mark.parametrize("name", ["hostile", "sixty", "empty"])
def test_other_runs_are_readable_too(opened, written, misplaced, violations, name):
    page = opened(written(name), width=390)
    page.on("dialog", lambda dialog: page.told.errors.append(dialog.message))
    if name != "empty":
        page.wait_for_selector("html[data-charts=drawn]")
    assert page.told.errors == []
    assert page.told.requests == []
    assert misplaced(page) == []
    assert violations(page) == []


def test_without_scripts_the_pictures_and_the_worst_sites_are_there(opened, written, misplaced):
    page = opened(written("sixty"), scripts=False)
    assert page.locator("html.scripted").count() == 0
    assert page.locator("#sites tbody tr").count() == 25
    assert page.locator("#find").is_hidden()
    assert "The 25 sites with the most lost units, of 60" in page.locator("main").inner_text()
    drawings = page.locator("details[open] .drawing > svg")
    assert drawings.count() == 12
    box = drawings.first.bounding_box()
    assert box["width"] > 300
    assert box["height"] > 150
    assert (
        page.locator("path[class^=cell-]")
        .first.evaluate("element => getComputedStyle(element).stroke")
        .startswith("url")
    )
    assert misplaced(page) == []


def test_charts_are_vegas_when_they_are_seen(live):
    page = live("small")
    assert page.locator("#deaths-0 .live svg").count() == 1
    assert page.locator("#rates-of-1 .live").count() == 0
    page.locator("#site-1 > summary").click()
    page.wait_for_selector("#rates-of-1 .live svg")
    assert page.locator("#rates-of-1 .drawing > svg").count() == 0
    box = page.locator("#rates-of-1 .live svg").bounding_box()
    assert box["width"] > 300
    assert page.told.errors == []


def test_the_data_table_of_a_chart_has_the_numbers_of_the_run(live):
    page = live("small")
    page.locator("#deaths-0 details summary").click()
    rows = [row.all_inner_texts()[0].split() for row in page.locator("#deaths-0 tbody tr").all()]
    assert rows == [["0", "0"], ["30", "1"], ["40", "2"], ["50", "1"], ["60", "2"], ["100", "2"]]


def test_sites_are_sorted_searched_and_paged(live):
    page = live("sixty")

    def column(place):
        return page.locator(f"#sites tbody tr > :nth-child({place})").all_inner_texts()

    first = column(1)
    assert len(first) == 25
    assert page.locator("#span").inner_text() == "1 to 25 of 60"
    page.locator("#on").click()
    page.locator("#on").click()
    assert page.locator("#span").inner_text() == "51 to 60 of 60"
    assert page.locator("#on").is_disabled()
    page.get_by_role("button", name="no.").click()
    assert column(1) == [str(number) for number in range(1, 26)]
    page.get_by_role("button", name="dead").click()
    assert page.locator("#sites th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert column(5) == sorted(column(5), key=lambda text: -int(text.replace("·", "0")))
    page.locator("#find").fill("layers.5.mlp.act8")
    assert page.locator("#found").inner_text() == "1 found"
    assert column(2) == ["encoder.layers.5.mlp.act8 nn.ReLU"]
    page.locator("#find").fill("none of that name")
    assert page.locator("#span").inner_text() == "0 to 0 of 0"
    assert page.told.errors == []


def test_a_unit_says_its_state_and_rate_under_the_pointer_and_by_the_keyboard(live):
    page = live("small")
    grid, told = page.locator("#site-2 .units svg.grid"), page.locator("#site-2 .reading")
    rates = made.small().sites[1].firing_rate

    def says(unit, state):
        return f"Unit {unit}: {state}, fires on {100 * rates[unit]:.1f} % of the samples."

    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 4.5 / 8, box["y"] + box["height"] / 2)
    assert told.inner_text() == says(4, "healthy")
    grid.focus()
    page.keyboard.press("Home")
    assert told.inner_text() == "Unit 0: dead, fires on 0 % of the samples."
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert told.inner_text() == says(2, "rare")
    page.keyboard.press("ArrowRight")
    assert told.inner_text() == "Unit 3: always on, fires on 100 % of the samples."
    assert grid.get_attribute("aria-valuetext") == "Unit 3: always on, fires on 100 % of the samples"
    assert (grid.get_attribute("role"), grid.get_attribute("aria-valuenow")) == ("slider", "3")
    page.keyboard.press("ArrowDown")  # there is no second row
    page.keyboard.press("End")
    assert told.inner_text() == says(7, "healthy")
    assert page.locator("#site-2 .units title").count() == 0
    assert page.told.errors == []


def test_a_unit_has_its_story(live):
    page = live("small")
    grid, told = page.locator("#site-2 .units svg.grid"), page.locator("#site-2 .told")
    grid.focus()
    page.keyboard.press("Home")
    assert "It died between steps 29 and 30" in told.inner_text() or "It died at step 30" in told.inner_text()
    assert "the learning rate" in told.inner_text()
    steps = page.locator("#site-2 .story-line").get_attribute("d")
    ends = [float(part.partition("V")[0]) for part in steps.split("H")[1:]]
    assert ends == [120, 240, 320, 400]  # of 400 for 100 steps
    heights = [float(part.partition("H")[0]) for part in steps.split("V")[1:]]
    assert heights == [72, 72, 72]  # and it began higher
    deaths = [path.get_attribute("d") for path in page.locator("#site-2 .story-death").all()]
    assert [float(path.split()[0][1:]) for path in deaths] == [124, 124]  # at the rate, and at the pre-activations
    zero = float(page.locator("#site-2 .story-zero").get_attribute("d").split()[1].partition("H")[0])
    band = page.locator("#site-2 .story-band").get_attribute("d").strip("MZ").split("L")
    top = [float(point.split()[1]) for point in band[:5]]
    assert top == sorted(top)  # it sinks
    assert top[1] < zero < top[3]
    page.keyboard.press("End")
    assert page.locator("#site-2 .story-death").count() == 0
    assert "died" not in told.inner_text()
    assert page.locator("#site-1 .told").count() == 0  # nothing is known of its history
    assert page.told.errors == []


def test_a_cell_of_several_units_says_the_worst_of_them(live):
    page = live("large")
    grid = page.locator("#site-1 .units svg.grid")
    grid.focus()
    judged = made.wide(1, 9000).sites[0]
    page.keyboard.press("ArrowDown")
    first = 3 * 96
    span, rates = f"{first} to {first + 2}", judged.firing_rate[first : first + 3]
    rate = f"{100 * min(rates):.1f} %"
    state = "rare" if min(rates) < 0.01 else "healthy"
    assert page.locator("#site-1 .reading").inner_text() == (
        f"Units {span}: the worst is {state}, the rarest fires on {rate} of the samples."
    )


def test_without_scripts_a_state_names_its_units(opened, written):
    page = opened(written("small"), scripts=False)
    assert page.locator("#site-2 .units title").all_text_contents() == [
        "dead: 0–1",
        "rare: 2",
        "always on: 3",
        "healthy: 4–7",
    ]
    assert page.locator("#site-2 .reading").is_hidden()


@pytest.mark.parametrize("name", ["small", "sixty"])
def test_paper_shows_whole_charts(live, cut_on_paper, name):
    assert cut_on_paper(live(name)) == []


def test_a_link_to_a_site_opens_it(opened, written):
    page = opened(written("small"), fragment="#site-1")
    assert page.locator("#site-1").get_attribute("open") is not None
    assert page.locator("#site-1 .grid").is_visible()


def test_the_theme_is_switched_with_the_keyboard(live):
    page = live("small")
    color = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(color)
    page.locator("button.theme").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(color) != before
    assert page.locator("button.theme").get_attribute("aria-pressed") == "true"


def test_the_source_and_the_command_are_shown_as_text(live):
    page = live("small")
    line = page.locator(".source .marked").nth(1)
    assert line.inner_text() == "11x = act(x)  # <b>  2 dead, 1 rare, 1 always on, 4 healthy"
    assert "relume check run.relume --max-dead 1%" in page.locator("main").inner_text()


def test_keys_go_through_the_lines_with_findings_and_a_click_opens_the_site(live):
    page = live("small")
    page.locator(".file > summary").click()  # closed
    at = []
    for key in "nnnpp":
        page.keyboard.press(key)
        at.append(page.locator(".source .now .n").all_inner_texts())
    assert at == [["11"], ["12"], ["11"], ["12"], ["11"]]
    assert page.locator(".source .now").is_visible()
    page.locator("#site-2").evaluate("site => { site.open = false; }")
    page.keyboard.press("Enter")
    page.wait_for_selector("#site-2[open]")
    assert page.url.endswith("#site-2")

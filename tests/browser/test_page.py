"""The interactive page as a reader has it: what loads, where it lies, and what its controls do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relume import page
from relume.activations import ACTIVATIONS
from relume.page.contents import CHAPTERS

WIDTHS = (390, 820, 1440)
READY = "relume.ready"


@pytest.fixture
def shown(opened, page_file):
    def show(fragment="", **keywords):
        found = opened(page_file, fragment=fragment, **keywords)
        found.wait_for_function(READY)
        return found

    return show


def slide(shown, selector, value):
    """Move a slider as a hand does: the value, then the event."""
    shown.locator(selector).evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', {bubbles: true})); }",
        str(value),
    )


def rows(shown, chart, name):
    """What a chart draws now."""
    return shown.evaluate(f"relume.charts.views['{chart}'].data('{name}')")


def settled(shown):
    """After what was asked for a moment ago is drawn and stands in the address."""
    shown.wait_for_timeout(500)


# ---- how it opens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_without_an_error_or_a_request_and_everything_is_in_its_place(shown, violations, misplaced, width):
    found = shown(width=width, scheme="light")
    assert found.locator(".drawing .live svg").count() == 5
    for scheme in ("light", "dark"):
        found.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert misplaced(found) == []
        assert violations(found) == []
    found.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert misplaced(found) == []
    assert violations(found) == []
    assert found.told.errors == []
    assert found.told.requests == []


def test_it_opens_in_the_dark_as_in_the_light(shown):
    found = shown(scheme="dark")
    assert found.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
    assert found.told.errors == []
    assert found.told.requests == []


def test_the_first_drawing_is_there_within_two_seconds(shown):
    found = shown()
    painted = found.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert 0 < painted < 2000


def test_without_scripts_the_pictures_and_tables_are_there_and_the_controls_are_not(opened, page_file, misplaced):
    found = opened(page_file, scripts=False, width=820)
    assert found.locator(".drawing > svg:visible").count() == 5
    for name in page.STILLS:
        assert found.locator(f"#{name} svg").is_visible()
    told = found.locator("#guide p").all_inner_texts()
    assert told == [f"{chapter.title}. {chapter.text}" for chapter in CHAPTERS]
    assert found.locator("button:visible, input:visible, select:visible").count() == 0
    assert found.locator("#facts tbody tr").count() == len(ACTIVATIONS)
    assert misplaced(found) == []


def test_the_still_pictures_of_the_lesson_are_what_it_draws(shown):
    found = shown("#guide=5")
    for name in page.STILLS:
        drawn = found.evaluate(f"relume.lessonView.svg('{name}', relume.page.session, relume.data.unit)")
        kept = (Path(page.__file__).parent / "assets" / f"lesson-{name}.svg").read_text(encoding="utf-8")
        assert kept.strip() == drawn, "make picture draws them anew"


def test_paper_gets_the_charts_in_light_colors(shown):
    found = shown(scheme="dark")
    found.emulate_media(media="print")
    assert found.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert found.locator("#play").is_hidden()
    assert found.locator("#guide p:visible").count() == len(CHAPTERS)
    assert found.locator("#plane-left svg").is_visible()
    assert found.locator("#value .live svg").is_visible()
    legend = found.locator("#curves .legend li:visible").all_inner_texts()
    assert [words.strip() for words in legend] == ["ReLU", "LeakyReLU", "ELU", "GELU"]
    found.set_viewport_size({"width": 718, "height": 1000})  # A4 within Chromium's margins
    widths = "[...document.querySelectorAll('table')].filter((t) => t.checkVisibility()).map((t) => t.clientWidth)"
    assert max(found.evaluate(widths)) < 690


# ---- curves --------------------------------------------------------------------------------------------------------


def test_choosing_an_activation_draws_it_and_offers_its_sliders(shown):
    found = shown()
    assert found.locator("[data-activation=celu].sliders").is_hidden()
    found.get_by_label("CELU", exact=True).check()
    found.get_by_label("GELU", exact=True).uncheck()
    settled(found)
    assert found.locator("[data-activation=celu].sliders").is_visible()
    assert {row["curve"] for row in rows(found, "value", "curves")} == {"relu", "leaky_relu", "elu", "celu"}
    assert found.locator("#reading tbody th").all_inner_texts() == ["ReLU", "LeakyReLU", "ELU", "CELU"]
    assert "show=relu,leaky_relu,elu,celu" in found.url


def test_the_last_activation_cannot_be_taken_away(shown):
    found = shown("#show=elu")
    found.get_by_label("ELU", exact=True).click()
    assert found.get_by_label("ELU", exact=True).is_checked()


def test_a_slider_moves_the_curve_the_numbers_and_the_address(shown):
    found = shown()
    slide(found, "#elu-alpha", 2)
    slide(found, "#x", -1)
    settled(found)
    drawn = {row["x"]: row["y"] for row in rows(found, "value", "curves") if row["curve"] == "elu"}
    assert drawn[-1] == pytest.approx(2 * (np.exp(-1) - 1), abs=1e-12)
    assert found.locator("output[for=elu-alpha]").inner_text() == "2"
    assert found.locator("#elu-alpha").get_attribute("aria-valuetext") == "2"
    reading = {row[0]: row[1:] for row in table(found, "#reading")}
    assert reading["ELU"] == ["−1.264", "0.7358"]
    assert reading["ReLU"] == ["0", "0"]
    assert "elu.alpha=2" in found.url
    assert "x=-1" in found.url
    behind = {row[0]: row[3] for row in table(found, "#value table")}
    assert behind["−1"] == "−1.264"


def table(shown, selector):
    return shown.evaluate(
        "(selector) => [...document.querySelector(selector).tBodies[0].rows]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))",
        selector,
    )


def test_rrelu_is_a_band_and_its_mean_and_its_ends_stay_in_order(shown):
    found = shown("#show=rrelu")
    slide(found, "#rrelu-lower", 0.6)
    settled(found)
    assert found.evaluate("relume.page.state.parameters.rrelu") == {"lower": 0.6, "upper": 0.6}
    slide(found, "#rrelu-lower", 0.2)
    settled(found)
    at = next(row for row in rows(found, "slope", "curves") if row["curve"] == "rrelu" and row["x"] == -2)
    assert (at["low"], at["high"]) == (0.2, 0.6)
    assert at["y"] == pytest.approx(0.4)


def test_a_slope_that_jumps_is_two_pieces_with_a_dot(shown):
    found = shown("#show=relu,relu6,elu")
    dots = {(row["curve"], row["x"], row["y"]) for row in rows(found, "slope", "curves") if row["dot"]}
    assert dots == {("relu", 0, 0), ("relu6", 0, 0), ("relu6", 6, 0)}
    pieces = {row["piece"] for row in rows(found, "slope", "curves") if row["curve"] == "relu6"}
    assert pieces == {0, 1, 2}


def test_the_pointer_reads_off_the_curves_and_a_drag_keeps_the_reading(shown):
    found = shown()
    found.locator("#value .drawing").scroll_into_view_if_needed()
    box = found.locator("#value .drawing").bounding_box()
    found.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    hovered = rows(found, "slope", "probe")[0]["x"]
    assert hovered != 1
    assert found.locator("#at-x").inner_text() == f"{hovered:g}".replace("-", "−")
    assert found.evaluate("relume.page.state.x") == 1
    found.mouse.down()
    found.mouse.move(box["x"] + box["width"] / 2 - 150, box["y"] + 40, steps=3)
    found.mouse.up()
    found.mouse.move(5, 5)
    settled(found)
    kept = rows(found, "value", "probe")[0]["x"]
    assert kept < hovered
    assert found.evaluate("relume.page.state.x") == kept
    assert float(found.locator("#x").input_value()) == kept
    assert f"x={kept:g}" in found.url


def test_back_to_the_defaults(shown):
    found = shown("#elu.alpha=3&rrelu.upper=0.5")
    found.locator("#usual").click()
    settled(found)
    assert found.locator("output[for=elu-alpha]").inner_text() == "1"
    assert "alpha" not in found.url
    assert found.evaluate("relume.page.state.parameters.rrelu.upper") == 1 / 3


# ---- the address ---------------------------------------------------------------------------------------------------


def test_a_link_opens_what_it_says(shown):
    found = shown(
        "#show=prelu,gelu&prelu.weight=-0.5&gelu.approximate=tanh&x=2.5&mean=-1&sd=0.5&init=own&scale=1.1&seed=7"
    )
    assert found.locator("#choose input:checked").count() == 2
    assert found.locator("#gelu-approximate").input_value() == "tanh"
    state = found.evaluate("relume.page.state")
    assert state["parameters"]["prelu"] == {"weight": -0.5}
    assert [state[key] for key in ("x", "mean", "sd", "init", "scale", "seed")] == [2.5, -1, 0.5, "own", 1.1, 7]
    found.reload()
    found.wait_for_function(READY)
    assert found.evaluate("relume.page.state") == state


def test_an_address_that_changes_often_is_written_seldom(shown):
    found = shown()
    written = found.evaluate("""async () => {
      const slider = document.querySelector("#x");
      const usual = history.replaceState.bind(history);
      let count = 0;
      history.replaceState = (...all) => { count += 1; usual(...all); };
      for (let i = 0; i < 300; i++) {
        slider.value = -4 + i / 50;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        if (i % 10 === 0) await new Promise((done) => setTimeout(done, 5));
      }
      await new Promise((done) => setTimeout(done, 500));
      return [count, location.hash];
    }""")
    assert 1 <= written[0] < 30
    assert written[1] == "#x=2"
    assert found.told.errors == []


@pytest.mark.parametrize(
    "fragment",
    [
        "#show=nothing&elu.alpha=x&x=&init=best&net=no&at=-5&do=1.kill",
        "#constructor=1&relu.__proto__=2&net=__proto__&celu.alpha=0&do=10.act.nothing,9.lr.0",
        "#%E0%A4%A",
        "#elu.alpha=1e999&gelu.approximate=<b>&at=1e9999&seed=0.5",
    ],
)
def test_a_mistyped_link_still_opens_with_the_defaults(shown, fragment):
    found = shown(fragment)
    assert found.told.errors == []
    state = found.evaluate("relume.page.state")
    assert state["show"] == ["relu", "leaky_relu", "elu", "gelu"]
    assert (state["guide"], state["net"]) in ((1, "dying"), (0, "healthy"))
    assert state["parameters"]["gelu"] == {"approximate": "none"}
    assert state["parameters"]["celu"]["alpha"] > 0
    assert state["seed"] == 1


def test_a_link_that_is_followed_while_the_page_is_open_changes_it(shown):
    found = shown()
    found.evaluate("location.hash = '#show=tanh&net=born'")
    found.wait_for_function("relume.page.state.net === 'born'")
    settled(found)
    assert found.locator("#reading tbody th").all_inner_texts() == ["Tanh"]


# ---- tables --------------------------------------------------------------------------------------------------------


def test_the_family_sorts_by_gain(shown):
    found = shown()
    gain = found.locator("#facts th button", has_text="Gain")
    gain.click()
    names = [row[0] for row in table(found, "#facts")]
    expected = sorted(
        (a for a in ACTIVATIONS.values() if a.elementwise), key=lambda a: round(a.gain(**a.defaults()), 3)
    )
    assert names == [*(a.title for a in expected), "Softmax"]
    gain.click()
    assert table(found, "#facts")[0][0] == expected[-1].title
    assert gain.locator("..").get_attribute("aria-sort") == "descending"


def test_a_table_that_gets_other_rows_stays_sorted_and_its_new_headings_sort(shown):
    found = shown()
    found.locator("#moments th button", has_text="Variance").click()
    slide(found, "#mean", -2)
    settled(found)
    variances = [float(row[2]) for row in table(found, "#moments")]
    assert variances == sorted(variances)
    found.get_by_label("Tanh", exact=True).check()
    settled(found)
    found.locator("#value summary").click()
    heading = found.locator("#value th button", has_text="Tanh")
    heading.click()
    heading.click()
    behind = table(found, "#value table")
    assert behind[0][-1] == "1"
    assert behind[-1][0] == "−5"
    assert heading.locator("..").get_attribute("aria-sort") == "descending"


# ---- by hand and by keyboard ---------------------------------------------------------------------------------------


def test_everything_can_be_reached_and_moved_by_the_keyboard(shown):
    found = shown()
    found.keyboard.press("Tab")
    assert found.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(400):
        found.keyboard.press("Tab")
        here = found.evaluate("document.activeElement === document.body ? '' : document.activeElement.id || 'unnamed'")
        if not here:
            break
        reached.add(here)
    wanted = {
        "leaky_relu-negative_slope",
        "elu-alpha",
        "gelu-approximate",
        "usual",
        "x",
        "next",
        "play",
        "step",
        "reset",
    }
    wanted |= {"lr", "left", "right", "scrub", "preset", "swap", "copy", "mean", "sd", "init", "scale", "redraw"}
    assert wanted <= reached
    found.locator("#x").focus()
    before = found.evaluate("relume.page.state.x")
    found.keyboard.press("ArrowRight")
    assert found.evaluate("relume.page.state.x") == pytest.approx(before + 0.05)
    found.locator("#elu-alpha").focus()
    found.keyboard.press("ArrowLeft")
    assert 0.9 < found.evaluate("relume.page.state.parameters.elu.alpha") < 1
    found.locator("#choose input[value=tanh]").focus()
    found.keyboard.press("Space")
    settled(found)
    assert "tanh" in found.url
    found.locator("#next").focus()
    found.keyboard.press("Enter")
    assert found.locator("#guide [aria-current=step]").inner_text() == "2 Too fast"


def test_the_focus_is_seen(shown):
    found = shown()
    found.locator("#x").focus()
    found.keyboard.press("Tab")
    found.keyboard.press("Shift+Tab")
    assert found.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_who_wants_less_motion_gets_none(shown):
    assert shown(motion="reduce").evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_a_step_in_the_navigation_keeps_the_address(shown):
    found = shown("#elu.alpha=2")
    found.locator("nav a", has_text="Depth").click()
    assert "elu.alpha=2" in found.url
    assert found.evaluate("document.activeElement.id") == "deep"
    assert found.locator("#deep-title").bounding_box()["y"] < 300

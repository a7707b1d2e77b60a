"""The lesson of the page, driven by its controls: units die, come back, and a link brings all of it back."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from relume.page.contents import CHAPTERS, SHOWN, UNIT

SECONDS = 90
WORDS_A_SECOND = 4
"""Silent reading of plain prose in English: 238 words a minute. Brysbaert 2019, doi 10.1016/j.jml.2019.104047."""


@pytest.fixture
def shown(opened, page_file):
    def show(fragment="", **keywords):
        found = opened(page_file, fragment=fragment, **keywords)
        found.wait_for_function("relume.ready")
        return found

    return show


def dead(shown, side="left"):
    return int(shown.locator(f"#dead-{side}").inner_text())


def loss(shown, side=0):
    return shown.evaluate("(side) => relume.page.session.networks[side].loss", side)


def step(shown):
    return shown.evaluate("relume.page.session.step")


def run(shown, steps):
    shown.evaluate("(steps) => relume.page.session.go(relume.page.session.step + steps)", steps)
    shown.locator("#step").click()


def addressed(shown, text):
    """Wait until the address holds it."""
    shown.wait_for_function("(text) => location.hash.includes(text)", arg=text)


def slide(shown, selector, value):
    shown.locator(selector).evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
    )


def lamps(shown, side):
    return shown.locator(f"#lamps-{side} button").evaluate_all("(all) => all.map((lamp) => lamp.className)")


# ---- the five steps ------------------------------------------------------------------------------------------------


def test_the_five_steps_go_from_healthy_networks_to_a_dead_one_and_a_cured_one(shown):
    found = shown()
    seen = []
    for number, chapter in enumerate(CHAPTERS, 1):
        assert found.locator("#guide [aria-current=step]").inner_text().split(maxsplit=1) == [
            str(number),
            chapter.title,
        ]
        assert found.locator("#guide p:visible").inner_text() == chapter.text
        assert step(found) == chapter.end
        seen.append((dead(found), dead(found, "right"), lamps(found, "right").count("silent")))
        assert all(math.isfinite(loss(found, side)) for side in (0, 1))
        found.locator("#next").click()
    assert seen[0] == (0, 0, 0)
    assert [left for left, _, _ in seen[1:]] == [6, 6, 6, 6]
    assert all(right == 0 for _, right, _ in seen)
    assert seen[3][2] >= 4
    assert seen[4][2] == 0
    assert found.locator("#guide [aria-current=step]").inner_text().startswith("1")


def test_at_the_end_of_the_lesson_the_left_network_is_stuck_and_the_right_one_has_learned(shown):
    found = shown("#guide=5")
    assert dead(found) > 0
    assert dead(found, "right") == 0
    assert math.isfinite(loss(found))
    assert loss(found, 1) < 0.2 < loss(found)
    assert found.locator("#correct-right").inner_text() == "80"
    assert int(found.locator("#correct-left").inner_text()) < 72


def test_the_unit_that_the_lesson_follows_slides_left_loses_its_gradient_and_comes_back_on_the_right(shown):
    found = shown("#guide=4")
    assert f"unit {UNIT + 1}:" in found.locator("#guide p:visible").inner_text()
    before = f"relume.page.session.networks.map(({{ units }}) => Math.max(...units[{UNIT}].before))"
    assert max(found.evaluate(before)) < 0
    assert [found.locator(f"#fires-{side}").inner_text() for side in ("left", "right")] == ["0 of 80"] * 2
    assert found.locator("#gradient-left").inner_text() == "0"
    assert float(found.locator("#gradient-right").inner_text()) > 0
    found.locator("#next").click()
    assert found.locator("#fires-left").inner_text() == "0 of 80"
    assert int(found.locator("#fires-right").inner_text().split()[0]) > 10


def test_the_five_steps_take_less_than_ninety_seconds(shown):
    playing = sum((chapter.end - chapter.start) / chapter.speed for chapter in CHAPTERS)
    reading = sum(len(chapter.text.split()) for chapter in CHAPTERS) / WORDS_A_SECOND
    assert playing + reading < SECONDS
    found = shown(motion="no-preference")  # the first one plays by itself, for less than the five seconds of WCAG 2.2.2
    assert (CHAPTERS[0].end - CHAPTERS[0].start) / CHAPTERS[0].speed < 5
    found.wait_for_function(f"relume.page.session.step === {CHAPTERS[0].end}")
    found.wait_for_function("document.querySelector('#play').textContent === 'Play'")
    found.locator("#next").click()
    assert CHAPTERS[1].start <= step(found) < CHAPTERS[1].end
    assert found.locator("#play").inner_text() == "Pause"
    found.wait_for_function(f"relume.page.session.step === {CHAPTERS[1].end}")
    addressed(found, "guide=2")
    assert dead(found) == 6


@pytest.mark.parametrize("number", range(1, 6))
def test_each_guided_step_is_a_link(shown, number):
    found = shown(f"#guide={number}&unit=2")
    assert step(found) == CHAPTERS[number - 1].end
    assert found.locator("#lamps-left [aria-checked=true]").get_attribute("aria-label").startswith("Unit 2: ")
    addressed(found, "unit=2")


# ---- what the reader does alone ------------------------------------------------------------------------------------


def test_a_unit_is_chosen_by_a_click_by_arrow_keys_and_in_the_plane_on_both_sides(shown):
    found = shown("#guide=5")
    found.locator("#lamps-right button").nth(2).click()
    for side in ("left", "right"):
        assert found.locator(f"#lamps-{side} button").nth(2).get_attribute("aria-checked") == "true"
    assert found.locator("#lesson .unit").first.inner_text() == "3"
    found.keyboard.press("ArrowRight")
    assert found.evaluate("document.activeElement.parentElement.id") == "lamps-right"
    addressed(found, "unit=4")
    assert found.locator("#lamps-left button[tabindex='0']").count() == 1
    at = found.evaluate("""() => { // a point on the line of the eighth unit, from 0 to 1
      const { weight, bias } = relume.page.session.networks[1];
      const [x, y, b] = [weight[14], weight[15], bias[7]];
      const t = -b / (x * x + y * y);
      return [(t * x / 1.8 + 1) / 2, (1 - t * y / 1.8) / 2];
    }""")
    assert all(0 < one < 1 for one in at)
    box = found.locator("#plane-right").bounding_box()
    found.mouse.click(box["x"] + at[0] * box["width"], box["y"] + at[1] * box["height"])
    addressed(found, "unit=8")


def test_scrubbing_by_the_slider_or_by_dragging_loses_nothing(shown):
    found = shown("#guide=5")
    end = loss(found)
    slide(found, "#scrub", 110)
    assert (step(found), dead(found)) == (110, 0)
    assert found.locator("#guide p:visible").count() == 0
    assert found.locator("#free").is_visible()
    box = found.locator("#time").bounding_box()
    found.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60)
    found.mouse.down()
    found.mouse.move(box["x"] + box["width"], box["y"] + 60, steps=4)
    found.mouse.up()
    assert step(found) == CHAPTERS[-1].end
    assert loss(found) == end
    found.locator("#scrub").focus()
    found.keyboard.press("ArrowLeft")
    assert step(found) == CHAPTERS[-1].end - 1
    addressed(found, f"at={CHAPTERS[-1].end - 1}")


def test_a_learning_rate_too_high_kills_only_on_the_left_and_drops_the_recorded_future(shown):
    found = shown("#net=healthy&at=100")
    assert dead(found) == 0
    slide(found, "#lr", 0.3)
    assert found.evaluate("relume.page.session.networks.map(({ lr }) => lr)") == [2, 2]
    run(found, 30)
    assert dead(found) > 0
    assert dead(found, "right") == 0
    slide(found, "#scrub", 50)
    slide(found, "#lr", -1)
    assert found.evaluate("relume.page.session.deeds") == ["50.lr.0.1"]
    assert found.evaluate("relume.page.session.history.length") == 51


def test_revival_changes_no_output_and_the_units_learn_again(shown):
    found = shown("#net=dying&at=300")
    assert dead(found) == 6
    predict = "relume.network.DATA.map(({ x }) => relume.page.session.networks[0].output(x))"
    before, lost = found.evaluate(predict), loss(found)
    found.locator("#revive").click()
    assert dead(found) == 0
    assert found.locator("#revive").is_disabled()
    assert found.evaluate(predict) == pytest.approx(before, abs=1e-12)
    run(found, 500)
    assert loss(found) < lost / 4


def test_dead_units_get_no_gradient_and_live_ones_do(shown):
    found = shown("#net=dying&at=300")
    told = found.evaluate("""() => {
      const [net] = relume.page.session.networks;
      const kept = [...net.weight];
      const states = net.units.map(({ state }) => state);
      net.train();
      return states.map((state, u) => [state, [0, 1].every((i) => net.weight[2 * u + i] === kept[2 * u + i])]);
    }""")
    assert all(same for state, same in told if state == "dead")
    assert any(not same for state, same in told if state == "fires")


def test_given_the_rights_activation_the_dead_units_of_the_left_network_recover(shown):
    found = shown("#net=dying&at=200")
    stuck = loss(found)
    found.locator("#swap").click()
    assert dead(found) == 0
    assert lamps(found, "left").count("silent") == 6
    run(found, 1000)
    assert loss(found) < stuck / 3
    addressed(found, "200.act.leaky_relu~0.2")


def test_each_side_accepts_any_activation_of_the_family_from_the_first_step_and_stays_finite(shown):
    found = shown("#net=dying&at=150")
    found.locator("#right").select_option(label="GELU")
    assert step(found) == 150
    addressed(found, "right=gelu~none")
    found.locator("#right").select_option(label="PReLU")
    options = found.locator("#right option").count()
    run(found, 30)  # its slope is learned
    assert found.locator("#right option").count() == options
    assert found.locator("#right").input_value() == "prelu~0.25"
    ends = found.evaluate("""() => Object.fromEntries(relume.family.names().map((name) => {
      const story = new relume.session.Session("dying", [], ["relu", name]);
      story.go(600);
      const cure = new relume.session.Session("dying", [`200.act.${name}`]);
      cure.go(1200);
      const [network] = cure.networks;
      return [name, [story.networks[1].loss, cure.step, network.count("dead", "stuck"), network.loss]];
    }))""")
    assert len(ends) == len(SHOWN)
    assert all(last == 1200 and math.isfinite(told) and math.isfinite(lost) for told, last, _, lost in ends.values())
    _, _, gone, stuck = ends["relu"]
    assert gone == 6
    assert stuck > 0.5
    for name in ("leaky_relu", "prelu", "rrelu", "elu", "gelu"):
        assert ends[name][2] == 0, (name, ends)
        assert ends[name][3] < stuck / 3, (name, ends)


# Link of the docs → least and most dead units of the left network at its end, least and greatest loss there.
ENDS = {
    "#guide=4": (6, 6, 0.5, 1),
    "#net=healthy": (0, 0, 0, 0.06),
    "#net=dying&at=400": (6, 6, 0.5, 1),
    "#net=born": (3, 8, 0.5, 1),
    "#net=revived&at=1000": (0, 0, 0, 0.1),
    "#net=dying&at=1200&do=200.act.elu~1": (0, 0, 0, 0.1),
    "#net=dying&at=1200&do=200.act.relu": (6, 6, 0.5, 1),
    "#net=dying&at=600&right=leaky_relu~0.01": (6, 6, 0.5, 1),
}


def test_each_link_of_the_docs_ends_as_it_says(shown):
    text = (Path(__file__).parents[2] / "docs/how-to/use-the-page.md").read_text(encoding="utf-8")
    links = re.findall(r"`(#(?:net|guide)=[^`]*)`", text)
    assert sorted(links) == sorted(ENDS)
    found = shown()
    address = found.evaluate("location.href.split('#')[0]")
    for link in links:
        found.goto("about:blank")
        found.goto(address + link)
        found.wait_for_function("relume.ready")
        least, most, low, high = ENDS[link]
        run(found, 800)
        assert least <= dead(found) <= most, link
        assert low <= loss(found) <= high, link
        assert math.isfinite(loss(found, 1)), link
    assert found.told.errors == []


def test_the_presets_match_the_links(shown):
    found = shown()
    for preset in found.locator("#preset option").evaluate_all("(all) => all.map(({ value }) => value)"):
        found.locator("#preset").select_option(preset)
        addressed(found, f"net={preset}")
        assert step(found) == 0
        assert dead(found) == (3 if preset == "born" else 0)


def test_a_link_brings_back_all_that_was_done(shown):
    found = shown("#net=dying&at=200&left=elu~2")
    slide(found, "#lr", -2)
    run(found, 20)
    found.locator("#swap").click()
    run(found, 30)
    addressed(found, f"at={step(found)}")
    expected, link = [loss(found), loss(found, 1)], found.locator("#link").input_value()
    found.goto("about:blank")
    found.goto(link)
    found.wait_for_function("relume.ready")
    assert [loss(found), loss(found, 1)] == expected
    assert found.locator("#left").input_value() == "leaky_relu~0.2"
    assert found.evaluate("relume.page.state.left") == "elu~2"


def test_play_continues_pause_stops_and_start_over_begins_again(shown):
    found = shown("#net=healthy")
    start = loss(found)
    found.locator("#play").click()
    found.wait_for_function("relume.page.session.step > 20")
    assert found.locator("#play").inner_text() == "Pause"
    assert found.locator("#step").is_disabled()
    found.locator("#play").click()
    at = step(found)
    addressed(found, f"at={at}")
    assert found.locator("#said").inner_text().startswith(f"Step {at}: left, 0 of 8 units dead")
    found.locator("#step").click()
    assert step(found) == at + 1
    found.locator("#reset").click()
    assert loss(found) == start
    found.wait_for_function("!location.hash.includes('at=')")


def test_a_loss_that_is_not_a_number_ends_the_run_and_says_so(shown):
    found = shown("#net=healthy&left=elu~1e300&at=2000")
    assert found.evaluate("relume.page.session.broken")
    assert "NaN or infinite" in found.locator("#ended").inner_text()
    assert re.search("loss (nan|∞)", found.locator("#said").inner_text())
    assert found.locator("#step").is_disabled()
    assert found.locator("#play").is_disabled()
    found.locator("#left").select_option("relu")
    assert found.locator("#ended").is_hidden()
    assert found.locator("#play").is_enabled()
    assert found.told.errors == []


def test_the_data_tables_of_the_lesson_say_what_is_drawn(shown):
    found = shown("#guide=4")
    each = "[...document.querySelector(name).tBodies[0].rows]"
    cells = f"(name) => {each}.map((row) => [...row.cells].map((cell) => cell.textContent))"
    units = found.evaluate(cells, "#units")
    assert len(units) == 8
    gone = [row for row in units if row[1].startswith("dead")]
    assert len(gone) == dead(found) == 6
    assert all(row[2] == "0 of 80" and row[3] == "0" for row in gone)
    assert all(not row[4].startswith("dead") and row[6] != "0" for row in units)
    steps = found.evaluate(cells, "#over-time")
    assert (steps[0][0], steps[-1][0]) == ("0", str(CHAPTERS[3].end))
    assert (steps[-1][2], steps[-1][4]) == ("6", "0")


def test_the_states_of_units_are_shown_by_shape_too(shown):
    found = shown("#guide=4")
    marks = found.locator("#lamps-left button").all_inner_texts()
    assert [mark == "✕" for mark in marks] == [name == "dead" for name in lamps(found, "left")]
    assert "○" in found.locator("#lamps-right button").all_inner_texts()
    lines = found.locator("#plane-left path[stroke-dasharray]").count()
    assert 1 <= lines <= dead(found)  # the others have left the plane
    assert found.locator("#plane-right path[stroke-dasharray]").count() == 0

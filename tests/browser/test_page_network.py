"""The network of the page, driven by its buttons: units die, revive, and a link brings all of it back."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from relume.page.contents import SHOWN


@pytest.fixture
def shown(opened, page_file):
    def show(fragment="", **keywords):
        found = opened(page_file, fragment=fragment, **keywords)
        found.wait_for_function("relume.ready")
        return found

    return show


def dead(shown):
    return int(shown.locator("#net-dead").inner_text().split()[0])


def loss(shown):
    return shown.evaluate("relume.page.session.network.loss")


def run(shown, steps):
    shown.evaluate("(steps) => relume.page.session.run(relume.page.session.step + steps)", steps)
    shown.locator("#step").click()


def addressed(shown, text):
    """Wait until the address holds it."""
    shown.wait_for_function("(text) => location.hash.includes(text)", arg=text)


def rate(shown, value):
    shown.locator("#lr").evaluate(
        "(input, value) => { input.value = Math.log10(value); input.dispatchEvent(new Event('input')); }", value
    )


# Preset, step, least and most dead units there, least and greatest loss.
STORIES = [
    ("healthy", 0, 0, 0, 1, 10),
    ("healthy", 600, 0, 0, 0, 0.001),
    ("dying", 119, 0, 0, 0, 0.02),
    ("dying", 400, 6, 24, 0.1, 1),
    ("dying", 2000, 6, 24, 0.1, 1),
    ("born", 0, 12, 24, 0.1, 1),
    ("born", 2000, 12, 24, 0.3, 1),
    ("revived", 299, 6, 24, 0.1, 1),
    ("revived", 300, 0, 0, 0.1, 1),
    ("revived", 1000, 0, 1, 0, 0.002),
]


def test_the_presets_tell_their_stories(shown):
    told = shown().evaluate(
        """(stories) => stories.map(([preset, step]) => {
          const session = new relume.session.Session(preset);
          session.run(step);
          return [session.network.count("dead", "stuck"), session.network.loss];
        })""",
        [story[:2] for story in STORIES],
    )
    for (preset, step, least, most, low, high), (gone, lost) in zip(STORIES, told, strict=True):
        assert least <= gone <= most, (preset, step)
        assert low <= lost <= high, (preset, step)


def test_a_preset_is_a_button_and_a_link(shown):
    found = shown()
    found.locator("#presets button", has_text="Born dead").click()
    assert dead(found) > 12
    assert found.locator("#presets [aria-pressed=true]").all_inner_texts() == ["Born dead"]
    addressed(found, "net=born")
    assert found.locator("#link").input_value().endswith("#net=born")
    found.evaluate("location.hash = '#net=dying&at=300'")
    found.wait_for_function("relume.page.session.preset === 'dying'")
    assert found.locator("#net-step").inner_text() == "300"


def test_play_goes_on_pause_stops_and_reset_begins_anew(shown):
    found = shown()
    start = loss(found)
    found.locator("#play").click()
    found.wait_for_function("relume.page.session.step > 20")
    assert found.locator("#play").inner_text() == "Pause"
    assert found.locator("#step").is_disabled()
    found.locator("#play").click()
    at = found.evaluate("relume.page.session.step")
    addressed(found, f"at={at}")
    found.wait_for_timeout(150)
    assert found.evaluate("relume.page.session.step") == at
    assert found.locator("#net-said").inner_text().startswith(f"Step {at}: loss")
    found.locator("#step").click()
    assert found.locator("#net-step").inner_text() == str(at + 1)
    assert loss(found) < start
    found.locator("#reset").click()
    assert loss(found) == start
    found.wait_for_function("!location.hash.includes('at=')")


def test_a_learning_rate_too_high_kills_and_revival_changes_no_output(shown):
    found = shown("#net=healthy&at=120")
    assert dead(found) == 0
    assert found.locator("#revive").is_disabled()
    rate(found, 0.5)
    run(found, 100)
    assert dead(found) >= 10
    predict = "[...relume.page.session.network.predict(relume.page.session.network.x)]"
    before, lost = found.evaluate(predict), loss(found)
    rate(found, 0.03)
    found.locator("#revive").click()
    assert dead(found) == 0
    assert found.evaluate(predict) == pytest.approx(before, abs=1e-12)
    assert found.evaluate("relume.page.session.network.units.every((unit) => unit.fires > 0)")
    run(found, 500)
    assert loss(found) < lost / 10


def test_dead_units_get_no_gradient_and_live_ones_do(shown):
    found = shown("#net=dying&at=300")
    told = found.evaluate("""() => {
      const net = relume.page.session.network;
      const kept = net.layers.map(({ weight }) => [...weight]);
      const states = net.units.map(({ layer, unit, state }) => [layer, unit, state]);
      net.train();
      return states.map(([layer, unit, state]) => {
        const { inputs, weight } = net.layers[layer];
        const same = [...weight].slice(unit * inputs, (unit + 1) * inputs)
          .every((w, i) => w === kept[layer][unit * inputs + i]);
        return [layer, state, same];
      });
    }""")
    assert all(same for _, state, same in told if state == "dead")
    assert any(not same for _, state, same in told if state == "fires")


def test_another_activation_takes_the_weights_over_and_wakes_the_dead(shown):
    found = shown("#net=born&leaky_relu.negative_slope=0.2")
    stuck = loss(found)
    found.locator("#net-activation").select_option("leaky_relu")
    assert dead(found) == 0
    assert found.locator("#net-silent").inner_text() != "0"
    run(found, 1000)
    assert loss(found) < 0.8 * stuck  # the dead network's loss does not move
    addressed(found, "0.act.leaky_relu~0.2")


def test_activations_with_a_slope_below_zero_cure_the_dying_network_and_relu_does_not(shown):
    ends = shown().evaluate("""() => Object.fromEntries(relume.family.names().map((name) => {
      const session = new relume.session.Session("dying", [`200.act.${name}`]);
      session.run(1200);
      return [name, [session.step, session.network.count("dead", "stuck"), session.network.loss]];
    }))""")
    assert len(ends) == len(SHOWN)
    assert all(step == 1200 and math.isfinite(lost) for step, _, lost in ends.values()), ends
    _, gone, stuck = ends["relu"]
    assert gone > 6
    assert stuck > 0.1
    for name in ("leaky_relu", "prelu", "elu", "gelu"):
        assert ends[name][1] == 0, (name, ends)
        assert ends[name][2] < stuck / 2, (name, ends)


# Link of the docs → least and most dead units at its end, least and greatest loss there.
ENDS = {
    "#net=healthy": (0, 0, 0, 0.001),
    "#net=dying&at=400": (6, 24, 0.1, 1),
    "#net=born": (12, 24, 0.3, 1),
    "#net=revived&at=1000": (0, 1, 0, 0.001),
    "#net=dying&at=1200&do=200.act.elu~1": (0, 0, 0, 0.005),
    "#net=dying&at=1200&do=200.act.relu": (6, 24, 0.1, 1),
}


def test_each_link_of_the_docs_ends_as_it_says(shown):
    text = (Path(__file__).parents[2] / "docs/how-to/use-the-page.md").read_text(encoding="utf-8")
    links = re.findall(r"`(#net=[^`]*)`", text)
    assert sorted(links) == sorted(ENDS)
    for link in links:
        found = shown(link)
        run(found, 1000)
        least, most, low, high = ENDS[link]
        assert least <= dead(found) <= most, link
        assert low <= loss(found) <= high, link
        assert found.told.errors == []


def test_a_link_brings_back_all_that_was_done(shown):
    found = shown("#net=dying&at=200")
    found.locator("#revive").click()
    rate(found, 0.02)
    run(found, 20)
    found.locator("#net-activation").select_option("elu")
    run(found, 30)
    addressed(found, f"at={found.evaluate('relume.page.session.step')}")
    expected, link = loss(found), found.locator("#link").input_value()
    found.goto("about:blank")
    found.goto(link)
    found.wait_for_function("relume.ready")
    assert loss(found) == expected
    assert found.locator("#net-activation").input_value() == "elu"
    assert found.locator("#network-title").bounding_box()["y"] < 400


def test_a_loss_that_is_no_number_ends_the_run_and_says_so(shown):
    found = shown("#do=0.act.elu~1e300&at=2000")
    assert found.evaluate("relume.page.session.broken")
    assert "no longer a number" in found.locator("#net-ended").inner_text()
    assert found.locator("#net-loss").inner_text() in ("nan", "∞")
    assert found.locator("#step").is_disabled()
    assert found.locator("#play").is_disabled()
    found.locator("#reset").click()
    assert found.locator("#net-ended").is_hidden()
    assert found.locator("#play").is_enabled()
    assert found.told.errors == []


def test_the_tables_behind_the_network_say_what_is_drawn(shown):
    found = shown("#net=dying&at=300")
    each = "[...document.querySelector(name).tBodies[0].rows]"
    cells = f"(name) => {each}.map((row) => [...row.cells].map((cell) => cell.textContent))"
    units = found.evaluate(cells, "#units")
    assert len(units) == 24
    assert sum(row[1].startswith("dead") for row in units) == dead(found)
    assert all(row[2] == "0 of 48" and row[3] == "0" for row in units if row[1].startswith("dead"))
    learned = found.evaluate(cells, "#learned")
    assert [row[0] for row in (learned[0], learned[-1])] == ["−2", "2"]
    assert len({row[2] for row in learned}) > 5
    steps = found.evaluate(cells, "#over-time")
    assert (steps[0][0], steps[-1][0]) == ("0", "300")
    assert steps[-1][2] == str(dead(found))


def test_the_states_of_units_are_told_by_shape_too(shown):
    found = shown("#net=dying&at=300")
    tiles = found.locator("#network-units g")
    assert tiles.count() == 24
    broken = found.locator("#network-units g:has(rect[stroke-dasharray])").count()
    assert broken == dead(found)
    drawn = found.locator("#network-units g:has(rect[stroke-dasharray]) path[d*='l14,14']")
    assert drawn.count() == broken
